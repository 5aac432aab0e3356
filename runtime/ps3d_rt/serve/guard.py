"""Who may ask the page for what: pure checks, and the layer that applies them to every request."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE, CSRF_HEADER = "ps3d_rt_token", "x-ps3d-csrf"
MOST_BODY_BYTES = 4096
BODY_SECONDS = 10.0
_MOST_PATH = 2048
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)
"""A report has scripts of its own: in a sandbox they belong to no site, and can ask the page for nothing."""
HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Who may ask."""

    token: str | None = None
    """None: whoever can reach the address, which is this machine's own then."""
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    """Of this server; only the page itself knows it."""

    def host_is_ours(self, host: str) -> bool:
        """Whether a request was made to this machine by name: without a token, others' names must not lead here.

        >>> [Access().host_is_ours(h) for h in ("127.0.0.1:8765", "localhost", "[::1]:1", "evil.example", "")]
        [True, True, True, False, False]
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return bool(name) and (self.token is not None or is_loopback(name))

    def knows(self, request: Request) -> bool:
        """Whether a request carries the token, in a cookie or as a bearer."""
        if self.token is None:
            return True
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
        return self.is_token(given)

    def is_token(self, given: str) -> bool:
        """Compare in a time that tells nothing."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def is_from_page(self, request: Request) -> bool:
        """Whether the page itself asks, and not another site in the same browser."""
        given = request.headers.get(CSRF_HEADER, "")
        return same_origin(request) and hmac.compare_digest(given.encode(), self.csrf.encode())


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only.

    >>> [is_loopback(h) for h in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "192.168.0.5", "127.0.0.1.evil.example")]
    [True, True, True, False, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def same_origin(request: Request) -> bool:
    """Whether a browser says that a request comes from a page of this server; other programs say nothing."""
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    try:
        return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    except ValueError:
        return False


class Guard:
    """Applies the checks to every request, and the headers to every answer."""

    def __init__(self, app: ASGIApp, access: Access, body_seconds: float = BODY_SECONDS) -> None:
        self._app, self._access, self._body_seconds = app, access, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refused = self._refusal(Request(scope))
        body = b"" if refused else await self._body(receive)
        if body is None:
            refused = PlainTextResponse("The request is too large or too slow.", 413)

        pending = [body or b""]

        async def read() -> Message:
            if pending:
                return {"type": "http.request", "body": pending.pop(), "more_body": False}
            return await receive()  # that the client has gone

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                have = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in have]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await (refused or self._app)(scope, read, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        path = request.scope["path"]  # request.url would take the host apart, which may be none
        if len(request.scope["raw_path"]) + len(request.scope["query_string"]) > _MOST_PATH:
            return PlainTextResponse("The address is too long.", 414)
        if not self._access.host_is_ours(request.headers.get("host", "")):
            return PlainTextResponse("This host is not served; ask for the address that ps3d-rt printed.", 421)
        if path in ("/login", "/page.css", "/icon.svg"):
            return None if same_origin(request) else PlainTextResponse("From another site.", 403)
        if not self._access.knows(request):
            wants_page = request.method == "GET" and path == "/"
            return Response(None, 303, {"location": "/login"}) if wants_page else PlainTextResponse("No token.", 401)
        if request.method not in ("GET", "HEAD") and not self._access.is_from_page(request):
            return PlainTextResponse("Not asked by the page.", 403)
        return None

    async def _body(self, receive: Receive) -> bytes | None:
        """Read a body of a few bytes; None if it is larger, or does not come."""
        body: bytes = b""
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    message = await receive()
                    body += message.get("body", b"")
                    if message["type"] == "http.disconnect" or len(body) > MOST_BODY_BYTES:
                        return None
                    if not message.get("more_body", False):
                        return body
        except TimeoutError:
            return None
