"""The routes of the page. No path of a request becomes a path on disk: names are looked up, files are from a list."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ps3d_rt.io.names import resolved
from ps3d_rt.output import PREVIEW, REPORT
from ps3d_rt.run_folder import MARK
from ps3d_rt.serve.guard import COOKIE, REPORT_POLICY, Access, Guard
from ps3d_rt.serve.view import state_of
from ps3d_rt.watch import states
from ps3d_rt.watch.metrics import metrics
from ps3d_rt.watch.queue import Entry, Queue

FILES = {
    REPORT: "text/html; charset=utf-8",
    PREVIEW: "image/jpeg",
    MARK: "application/json",
    "particles.csv": "text/csv; charset=utf-8",
}
"""Files of an output that are given out, and what they are."""
MOST_PRIORITY = 1000


def build_app(out: Path, queue: Queue, access: Access) -> Starlette:
    """Put the app together for an output and its queue."""

    def page(request: Request) -> Response:
        text = _static("page.html").replace("CSRF", access.csrf)
        return Response(text, media_type="text/html")

    def login(request: Request) -> Response:
        return Response(_static("login.html"), media_type="text/html")

    async def log_in(request: Request) -> Response:
        given = parse_qs((await request.body()).decode("utf-8", "replace")).get("token", [""])[0]
        if not access.is_token(given):
            return PlainTextResponse("That is not the token.", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, given, httponly=True, samesite="strict", path="/")
        return answer

    def state(request: Request) -> Response:
        return JSONResponse(state_of(queue))

    def figures(request: Request) -> Response:
        return PlainTextResponse(metrics(queue, out), media_type="text/plain; version=0.0.4")

    def file(request: Request) -> Response:
        name, kind = request.path_params["name"], FILES.get(request.path_params["file"])
        entry = queue.named(name)
        path = None if entry is None or kind is None else inside(out, entry.name, request.path_params["file"])
        if path is None:
            return PlainTextResponse("There is no such file.", 404)
        policy = {"content-security-policy": REPORT_POLICY} if path.name == REPORT else {}
        return FileResponse(path, media_type=kind, headers=policy)

    def act(request: Request) -> Response:
        step = ACTIONS.get(request.path_params["action"])
        if step is None:
            return PlainTextResponse("There is no such action.", 404)
        try:
            step(queue, queue.get(request.path_params["scan"]))
        except (LookupError, OverflowError):  # a number that SQLite does not have
            return PlainTextResponse("There is no such scan.", 404)
        except states.NotAllowedError as error:
            return PlainTextResponse(str(error), 409)
        return JSONResponse({})

    def pause(request: Request) -> Response:
        queue.set("paused", "1" if request.path_params["how"] == "pause" else "0")
        return JSONResponse({})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/login", login),
            Route("/login", log_in, methods=["POST"]),
            Route("/page.js", lambda _: Response(_static("page.js"), media_type="text/javascript")),
            Route("/icon.svg", lambda _: Response(_static("icon.svg"), media_type="image/svg+xml")),
            Route("/page.css", lambda _: Response(_static("page.css"), media_type="text/css")),
            Route("/state", state),
            Route("/metrics", figures),
            Route("/results/{name}/{file}", file),
            Route("/scans/{scan:int}/{action}", act, methods=["POST"]),
            Route("/queue/{how}", pause, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, access=access)],
    )


def inside(out: Path, name: str, file: str) -> Path | None:
    """Find a file of an output; None if it is not there, or a link leads out of it."""
    path = resolved(out / name / file)
    return path if path.is_file() and resolved(out) in path.parents else None


def _prioritize(by: int) -> Callable[[Queue, Entry], object]:
    def step(queue: Queue, entry: Entry) -> object:
        return queue.set_priority(entry.id, max(-MOST_PRIORITY, min(MOST_PRIORITY, entry.priority + by)))

    return step


ACTIONS: dict[str, Callable[[Queue, Entry], object]] = {
    "retry": lambda queue, entry: queue.change(entry.id, states.retried),
    "remove": lambda queue, entry: queue.change(entry.id, states.removed),
    "up": _prioritize(1),
    "down": _prioritize(-1),
}


def _static(name: str) -> str:
    return (resources.files("ps3d_rt.serve") / "static" / name).read_text(encoding="utf-8")
