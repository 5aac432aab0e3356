"""The operator's page, and everything that somebody may try on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ps3d_rt.errors import InputError
from ps3d_rt.watch import states
from ps3d_rt.watch.queue import Queue
from ps3d_rt.watch.states import Retries, State

testclient = pytest.importorskip("starlette.testclient", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")
from ps3d_rt.serve.app import build_app  # noqa: E402
from ps3d_rt.serve.guard import COOKIE, MOST_BODY_BYTES, Access  # noqa: E402
from ps3d_rt.serve.run import Address  # noqa: E402

TOKEN = "0123456789abcdef-secret"
ACCESS = Access(csrf="only the page knows")
ASKED = {"x-ps3d-csrf": ACCESS.csrf}


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """One scan of each: waiting, failed, done; and a secret beside the output."""
    (tmp_path / "secret.txt").write_text("the secret")
    with Queue(tmp_path / "out" / ".watch") as queue:
        for name in ("wait", "fail", "done"):
            queue.add(f"in/{name}.npy", "1", name)
        ids = {entry.name: entry.id for entry in queue.entries(State.QUEUED)}
        for name in ("done", "fail"):
            queue.set_priority(ids[name], 5 if name == "done" else 4)
        for name in ("done", "fail"):
            assert queue.take().name == name  # type: ignore[union-attr]
        queue.change(ids["done"], states.done, {"particles": 7, "d50_by_volume_mm": 0.1, "warnings": 0})
        queue.change(ids["fail"], lambda was: states.failed(was, "<b>broken</b>", Retries(tries=1), time.time()))
        (tmp_path / "out" / "done").mkdir()
        (tmp_path / "out" / "done" / "report.html").write_text("<html>report</html>")
        yield queue


def client(queue: Queue, tmp_path: Path, access: Access = ACCESS) -> Any:
    app = build_app(tmp_path / "out", queue, access)
    return testclient.TestClient(app, base_url="http://127.0.0.1:8765", follow_redirects=False)


def test_the_page_shows_every_scan_with_what_became_of_it(queue: Queue, tmp_path: Path) -> None:
    web = client(queue, tmp_path)
    state = web.get("/state").json()
    assert state["counts"] == {"queued": 1, "running": 0, "done": 1, "failed": 1, "removed": 0}
    assert state["done"][0]["particles"] == 7
    assert state["failed"][0]["reason"] == "<b>broken</b>"
    assert ACCESS.csrf in web.get("/").text
    assert 'ps3d_rt_scans{state="failed"} 1' in web.get("/metrics").text
    assert web.get("/results/done/report.html").text == "<html>report</html>"


def test_buttons_move_scans_and_refuse_what_cannot_be(queue: Queue, tmp_path: Path) -> None:
    web = client(queue, tmp_path)
    ids = {name: queue.named(name).id for name in ("wait", "fail", "done")}  # type: ignore[union-attr]
    assert web.post(f"/scans/{ids['fail']}/retry", headers=ASKED).status_code == 200
    assert web.post(f"/scans/{ids['wait']}/up", headers=ASKED).status_code == 200
    assert [(entry.name, entry.priority) for entry in queue.entries(State.QUEUED)] == [("fail", 4), ("wait", 1)]
    assert web.post(f"/scans/{ids['wait']}/remove", headers=ASKED).status_code == 200
    assert web.post(f"/scans/{ids['done']}/remove", headers=ASKED).status_code == 409
    assert web.post("/scans/999/retry", headers=ASKED).status_code == 404
    assert web.post(f"/scans/{2**64}/up", headers=ASKED).status_code == 404
    assert web.post(f"/scans/{ids['done']}/explode", headers=ASKED).status_code == 404
    web.post("/queue/pause", headers=ASKED)
    assert queue.take() is None
    web.post("/queue/resume", headers=ASKED)
    assert queue.take() is not None


@pytest.mark.parametrize(
    "path",
    [
        "/results/../secret.txt",
        "/results/%2e%2e/secret.txt",
        "/results/..%2f..%2fsecret.txt/report.html",
        "/results/done/..%2f..%2fsecret.txt",
        "/results/done/%252e%252e%252fsecret.txt",
        "/results/done/..%5c..%5csecret.txt",
        "/results/.watch/queue.sqlite",
        "/results/%2ewatch/report.html",
        "/results/done/report.html%00.jpg",
        "/results/done//etc/passwd",
        "//etc/passwd",
        "/results/DONE%20/../../secret.txt",
        "/page.js/../../app.py",
    ],
)
def test_no_path_leads_out_of_the_output(queue: Queue, tmp_path: Path, path: str) -> None:
    answer = client(queue, tmp_path).get(path)
    assert answer.status_code in (400, 404)
    assert "the secret" not in answer.text


def test_a_link_that_leads_out_is_not_followed(queue: Queue, tmp_path: Path) -> None:
    try:
        (tmp_path / "out" / "done" / "run.json").symlink_to(tmp_path / "secret.txt")
        (tmp_path / "out" / "done" / "particles.csv").symlink_to("particles.csv")
    except OSError:
        pytest.skip("no links here")
    assert client(queue, tmp_path).get("/results/done/run.json").status_code == 404
    assert client(queue, tmp_path).get("/results/done/particles.csv").status_code == 404, "a link to itself"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ps3d-csrf": "guessed"},
        {**ASKED, "origin": "http://evil.example"},
        {**ASKED, "origin": "null"},
        {**ASKED, "origin": "http://[::1"},
        {**ASKED, "sec-fetch-site": "cross-site"},
        {**ASKED, "sec-fetch-site": "same-site"},
    ],
)
def test_another_site_cannot_press_a_button(queue: Queue, tmp_path: Path, headers: dict[str, str]) -> None:
    assert client(queue, tmp_path).post("/queue/pause", headers=headers).status_code == 403
    assert queue.setting("paused") is None


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.5", "", "a@b", "[::1", "[x]"])
def test_a_name_that_was_made_to_lead_here_is_refused(queue: Queue, tmp_path: Path, host: str) -> None:
    assert client(queue, tmp_path).get("/state", headers={"host": host}).status_code == 421


def test_large_requests_are_refused(queue: Queue, tmp_path: Path) -> None:
    web = client(queue, tmp_path)
    body = b"x" * (MOST_BODY_BYTES + 1)
    assert web.post("/queue/pause", headers=ASKED, content=body).status_code == 413
    assert web.get("/state?" + "x" * 5000).status_code == 414
    assert queue.setting("paused") is None


def test_without_the_token_nothing_is_told(queue: Queue, tmp_path: Path) -> None:
    access = Access(TOKEN, "csrf")
    web = client(queue, tmp_path, access)
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": f"{COOKIE}=x"},
    ):
        for path in ("/state", "/metrics", "/results/done/report.html", "/page.js"):
            assert web.get(path, headers=headers).status_code == 401
        assert web.post("/queue/pause", headers={**headers, "x-ps3d-csrf": "csrf"}).status_code == 401
    assert web.get("/").headers["location"] == "/login"
    assert web.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert web.post("/login", data={"token": "wrong"}).status_code == 401
    answer = web.post("/login", data={"token": TOKEN})
    assert answer.status_code == 303
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
    assert web.get("/state").status_code == 200


@pytest.mark.parametrize("path", ["/", "/state", "/nowhere", "/results/done/report.html"])
def test_every_answer_is_kept_out_of_frames_and_is_what_it_says(queue: Queue, tmp_path: Path, path: str) -> None:
    headers = client(queue, tmp_path).get(path).headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert ("sandbox" in headers["content-security-policy"]) == path.endswith("report.html")


def test_an_address_that_others_reach_needs_a_token() -> None:
    Address.parse("127.0.0.1:80").check(None)
    Address.parse("0.0.0.0:80").check(TOKEN)
    for token in (None, "", "short"):
        with pytest.raises(InputError, match="PS3D_RT_TOKEN"):
            Address.parse("0.0.0.0:80").check(token)
    for text in ("", "x:y", "1.2.3.4:0", "1.2.3.4:70000"):
        with pytest.raises(InputError):
            Address.parse(text).check(None)
