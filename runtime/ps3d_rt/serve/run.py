"""The server of the page: on this machine only, or with a token."""

from __future__ import annotations

from asyncio import Transport
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from ps3d_rt.errors import InputError
from ps3d_rt.serve.app import build_app
from ps3d_rt.serve.guard import Access, is_loopback
from ps3d_rt.watch.queue import Queue

PORT = 8765
HEAD_SECONDS = 10.0
LEAST_TOKEN = 16


@dataclass(frozen=True)
class Address:
    """Where the page is."""

    host: str = "127.0.0.1"
    port: int = PORT

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT``, ``HOST`` or ``PORT``.

        Raises:
            InputError: if it is none.

        >>> Address.parse("0.0.0.0:80"), Address.parse("9000").port, Address.parse("[::1]:9").host
        (Address(host='0.0.0.0', port=80), 9000, '::1')
        """
        host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", str(PORT))
        host = host.strip("[]") or "127.0.0.1"
        if not port.isdecimal():
            host, port = port, str(PORT)
        if not 0 < int(port) < 65536 or not host:
            raise InputError(f"the address is {text!r}; give HOST:PORT with a port from 1 to 65535.")
        return cls(host, int(port))

    def check(self, token: str | None) -> None:
        """Refuse an address that others can reach without a token that cannot be guessed.

        Raises:
            InputError: if there is none.
        """
        if not is_loopback(self.host) and (token is None or len(token) < LEAST_TOKEN):
            raise InputError(
                f"{self.host} can be reached from other machines: set the variable PS3D_RT_TOKEN to a secret of at "
                f"least {LEAST_TOKEN} characters, or serve on 127.0.0.1."
            )


class ImpatientProtocol(H11Protocol):
    """Closes a connection whose head does not come: slow clients hold no place."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self.loop.call_later(HEAD_SECONDS, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def server_for(out: Path, queue: Queue, address: Address, token: str | None) -> uvicorn.Server:
    """Make the server.

    Raises:
        InputError: if the address needs a token.
    """
    address.check(token)
    return uvicorn.Server(config_for(build_app(out, queue, Access(token)), address))


def config_for(app: Starlette, address: Address) -> uvicorn.Config:
    """Say how the page is served: little at a time, to clients that make haste."""
    return uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        http=ImpatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=64,
        timeout_keep_alive=5,
        h11_max_incomplete_event_size=16384,
    )


@contextmanager
def served(out: Path, queue: Queue, address: Address, token: str | None) -> Iterator[None]:
    """Serve in a thread, as long as the block lasts.

    Raises:
        InputError: if the address needs a token, or is taken.
    """
    server = server_for(out, queue, address, token)
    try:
        listening = server.config.bind_socket()
    except SystemExit as error:
        raise InputError(
            f"{address.host}:{address.port} is taken, or is none of this machine; choose another."
        ) from error
    thread = Thread(target=server.run, args=([listening],), daemon=True, name="page")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=5)
        listening.close()
