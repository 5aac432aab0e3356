"""Damage what people and other programs write for ps3d-rt, and what browsers ask its page, until the time is up.

    python benchmarks/fuzz_texts.py 600
    python benchmarks/fuzz_texts.py 60 --only watch.toml,request --seed 7

The same as fuzz_readers.py, whose loop it is, over model.json, zipped bundles, watch.toml, samples.csv, metadata.json,
phases.json, run.json, the state of a run and of a watch, and requests. A request goes to the server of the page as the
bytes of a connection, in the process that tries them; there a finding is also an answer of 500 and above, none in 10 s,
one without the headers against framing, and one that shows a file from outside of the output.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from zipfile import ZIP_DEFLATED, ZipFile

import anyio.to_thread
import h11
import uvicorn
from uvicorn.server import ServerState

from fuzz_readers import Make, Program, main, trial
from ps3d_rt.batch.listing import list_samples
from ps3d_rt.batch.summary import row_of
from ps3d_rt.comparison import read_list
from ps3d_rt.errors import InputError
from ps3d_rt.io.phases import read_phases
from ps3d_rt.io.samples import find_samples
from ps3d_rt.io.zip_folder import unzip_folder
from ps3d_rt.model import ModelBundle, load_model, write_bundle
from ps3d_rt.run_folder import known_precision
from ps3d_rt.run_record import read_record
from ps3d_rt.serve.app import build_app
from ps3d_rt.serve.guard import Access
from ps3d_rt.serve.run import Address, ImpatientProtocol, config_for
from ps3d_rt.watch.config import read_config
from ps3d_rt.watch.lock import read_heartbeat
from ps3d_rt.watch.queue import Queue

SECRET = "a secret beside the output"
CSRF = "of-this-page"
ANSWER_SECONDS = 10.0
MODEL = ModelBundle(
    name="tiny",
    patch=(16, 16, 16),
    target_size_voxels=8.0,
    border_thickness_voxels=1.0,
    members=("a.onnx",),
    precisions={"int8": ("a.int8.onnx",)},
    gates={"int8": {"passed": True, "f1": 0.9}},
    mirror_axes=(0, 2),
    sha256={"a.onnx": "c2ca", "a.int8.onnx": "0b1d"},
    provenance={"data": ["simulated"], "scores": {"f1": 0.8}},
)
RUN: dict[str, Any] = {
    "schema_version": 2,
    "date": "2026-11-28T18:55:37+00:00",
    "scan": {"name": "ore", "source": "ore.tif", "shape": [9, 9, 9], "dtype": "uint16", "spacing_mm": [0.1, 0.1, 0.1]},
    "engine": {"name": "openvino", "precision": "bf16", "patch": [64, 64, 64]},
    "model": {"name": "default", "sha256": "c2ca"},
    "parameters": {"particle_size_mm": 0.24, "zoom": [1.0, 1.0, 1.0]},
    "patches": {"lattice": 8, "planned": 8, "computed": 8, "skipped": 0},
    "seconds": {"network": 16.2, "all": 72.2},
    "versions": {"ps3d-rt": "0.1.0"},
    "particle_size": {"how": "given", "mismatch": False, "trials": []},
    "size_distribution": {"d50_by_volume_mm": 0.3},
    "particles": 25,
    "dropped": {"particles": 9},
    "warnings": ["the spacing is not in the file"],
}
PHASES = {
    "schema_version": 1,
    "unit": "gray",
    "phases": [
        {"name": "quartz", "low": 100.0, "high": 200.0, "density_g_per_cm3": 2.65},
        {"name": "pyrite", "low": 200.0, "high": 900.0, "density_g_per_cm3": None},
    ],
}
TOML = """free_gib = 5.0
state = ""
[scan]
spacing = [0.01, 0.01, 0.02]
particle_size = "auto"
model = "default"
workers = 1
[arrival]
poll_seconds = 10.0
marker = "{name}.done"
slices = 3
[retry]
tries = 3
backoff_seconds = 60.0
[log]
mib = 10.0
keep = 5
"""
LISTING = "path,spacing,particle_size,name,model\na.npy,0.01,auto,first,\nb/c.npy,0.01 0.02 0.03,0.3,,default\n"
METADATA = {"a": {"spacing": 0.01, "particle_size": 0.3}, "b": {"spacing": [0.1, 0.2, 0.3], "particle_size": 1}}
COMPARED = "output,sample,role,mass\na,first,feed,1.5\nb,second,concentrate,0.5\n"
REQUESTS = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:8765\r\nAccept: text/html\r\n\r\n",
    "GET /state?x=1 HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n\r\n",
    "GET /results/done/report.html HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=0-9\r\nIf-None-Match: x\r\n\r\n",
    "GET /results/done/..%2f..%2fsecret.txt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET /results/%2e%2e/secret.txt HTTP/1.1\r\nHost: [::1]:80\r\nCookie: ps3d_rt_token=x; a=b\r\n\r\n",
    f"POST /scans/1/up HTTP/1.1\r\nHost: 127.0.0.1\r\nx-ps3d-csrf: {CSRF}\r\nContent-Length: 2\r\n\r\n{{}}",
    f"POST /queue/resume HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nx-ps3d-csrf: {CSRF}\r\n"
    "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    "Content-Length: 10\r\n\r\ntoken=abcd",
    "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n",
    "HEAD /page.js HTTP/1.0\r\n\r\n",
)


def text(name: str, content: Any) -> Make:
    """Write one file and damage it; what is no text is written as JSON."""

    def make(folder: Path) -> tuple[Path, Path]:
        said = content if isinstance(content, str) else json.dumps(content, indent=1)
        (folder / name).write_bytes(said.encode())
        return folder / name, folder / name

    return make


def bundle(folder: Path) -> tuple[Path, Path]:
    """Make a bundle, and damage its description."""
    (folder / "a.onnx").write_bytes(b"weights")
    files = {name: folder / "a.onnx" for name in MODEL.networks}
    written = write_bundle(folder / "tiny.ps3d", MODEL, files)
    return written.path / "model.json", written.path / "model.json"


def zipped(folder: Path) -> tuple[Path, Path]:
    """Make a zipped bundle."""
    manifest, _ = bundle(folder)
    with ZipFile(folder / "z.ps3d", "w", ZIP_DEFLATED) as target:
        for file in sorted(manifest.parent.iterdir()):
            target.write(file, f"tiny.ps3d/{file.name}")
    shutil.rmtree(manifest.parent)
    return folder / "z.ps3d", folder / "z.ps3d"


def published(folder: Path) -> tuple[Path, Path]:
    """Make a folder in the published layout, and damage its list."""
    for place in ("images", "instance_seg"):
        (folder / place).mkdir()
        for name in METADATA:
            (folder / place / f"{name}.npy").write_bytes(b"1")
    return text("metadata.json", METADATA)(folder)


def state_of_a_run(folder: Path) -> tuple[Path, Path]:
    """Make what a stopped run has left, and damage what it says of itself."""
    identity = {"ps3d-rt run": {"engine": {"choice": "int8"}, "model": {"sha256": "c2ca"}}}
    return text("identity.json", identity)(folder)


def request(number: int) -> Make:
    """Write a request beside an output with a page, and damage it."""

    def make(folder: Path) -> tuple[Path, Path]:
        (folder / "request").write_bytes(REQUESTS[number].encode())
        return folder / "request", folder / "request"

    return make


SEEDS: dict[str, Make] = {
    "model.json": bundle,
    "bundle.zip": zipped,
    "watch.toml": text("watch.toml", TOML),
    "samples.csv": text("samples.csv", LISTING),
    "compare.csv": text("compare.csv", COMPARED),
    "metadata.json": published,
    "phases.json": text("phases.json", PHASES),
    "run.json": text("run.json", RUN),
    "identity.json": state_of_a_run,
    "heartbeat.json": text("heartbeat.json", {"host": "ct7", "pid": 7, "number": 12}),
    **{f"request {number}": request(number) for number in range(len(REQUESTS))},
}


def read_model(path: Path) -> str:
    """Load a bundle, and write what it says again."""
    try:
        found = load_model(path.parent)
    except InputError as error:  # a rule of a field names the model
        raise InputError(f"{path.name}: {error}") from error
    json.dumps(found.to_json(), indent=2)
    return " ".join(found.warnings)


def read_zip(path: Path) -> str:
    """Unpack a zipped bundle."""
    with TemporaryDirectory(dir=path.parent) as folder:
        unzip_folder(path, Path(folder), "a .ps3d folder", 2**20)
    return ""


def read_listing(path: Path) -> str:
    """List the samples of a batch; each has a problem or can be run."""
    found = list_samples(path.parent)
    if any(sample.problem is None and sample.path is None for sample in found):
        raise AssertionError("neither a scan nor a problem")
    json.dumps([sample.name for sample in found]).encode()
    return " ".join(sample.problem or "" for sample in found)


def read_metadata(path: Path) -> str:
    """List the samples of a batch and those to train with."""
    said = read_listing(path)
    [*find_samples(path.parent)]
    return said


def read_run(path: Path) -> str:
    """Read a record, and all that others take from it."""
    record = read_record(path)
    row_of("ore", record)
    json.dumps(record.to_json())
    return ""


def read_identity(path: Path) -> str:
    """Read what a stopped run says of itself."""
    known_precision(path.parent, MODEL)
    return ""


READ: dict[str, Callable[[Path], str]] = {
    "model.json": read_model,
    "z.ps3d": read_zip,
    "watch.toml": lambda path: str(read_config(path).scan.options().model),
    "samples.csv": read_listing,
    "compare.csv": lambda path: str(len(read_list(path))),
    "metadata.json": read_metadata,
    "phases.json": lambda path: str(len(read_phases(path).phases)),
    "run.json": read_run,
    "identity.json": read_identity,
    "heartbeat.json": lambda path: str(len(read_heartbeat(path.parent))),
}


class Wire(asyncio.Transport):
    """The server's end of a connection that leads nowhere: keeps what is answered."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 8765)})
        self.answer, self.closed = b"", False

    def write(self, data: Any) -> None:
        self.answer += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@dataclass(frozen=True)
class Page:
    """The page of an output with one scan, beside a secret, in an event loop of its own."""

    config: uvicorn.Config
    loop: asyncio.AbstractEventLoop
    state: ServerState

    def ask(self, asked: bytes) -> bytes:
        """Give the whole answer to what a client sends before it hangs up; empty if there is none."""
        with patch.object(anyio.to_thread, "run_sync", at_once):  # threads only cost time where one asks at a time
            return self.loop.run_until_complete(self._answer(asked))

    async def _answer(self, asked: bytes) -> bytes:
        protocol, wire = ImpatientProtocol(self.config, self.state, {}, self.loop), Wire()
        protocol.connection_made(wire)
        if asked:  # no connection tells of nothing, and h11 takes it for the end
            protocol.data_received(asked)
        # What is asked to its end is answered; for the rest of a body the server would wait.
        while self.state.tasks and not wire.closed and protocol.conn.their_state is not h11.SEND_BODY:
            await self._wait()
        protocol.connection_lost(None)
        while self.state.tasks:
            await self._wait()
        return wire.answer

    async def _wait(self) -> None:
        if not (await asyncio.wait(self.state.tasks, timeout=ANSWER_SECONDS))[0]:
            raise AssertionError(f"no answer in {ANSWER_SECONDS:g} s")


async def at_once(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
    """Call a function where another thread would."""
    return function(*args)


@cache
def page(folder: Path) -> Page:
    """Make an output with one scan below ``folder``, and its page."""
    (folder / "out" / "done").mkdir(parents=True)
    (folder / "out" / "done" / "report.html").write_text("<html>a report</html>")
    (folder / "secret.txt").write_text(SECRET)
    queue = Queue(folder / "out" / ".watch")
    queue.add("in/done.npy", "1", "done")
    loop = asyncio.new_event_loop()
    config = config_for(build_app(folder / "out", queue, Access(csrf=CSRF)), Address())
    config.load()
    return Page(config, loop, ServerState())


def wrong_with(answer: bytes) -> str | None:
    """Say what an answer must not be; None if it may."""
    head, _, _ = answer.partition(b"\r\n\r\n")
    status = int(head[9:12]) if head.startswith(b"HTTP/1.1 ") else 0
    if status >= 500 or SECRET.encode() in answer:
        return f"answered {answer[:2000]!r}"
    if status not in (0, 400) and b"x-frame-options: DENY" not in head:  # 400: the server itself found it to be none
        return f"no headers in {head[:2000]!r}"
    return None


def ask(path: Path) -> str:
    """Send a request to the page; what is wrong with the answer is an error that is none of ours."""
    if (wrong := wrong_with(page(path.parent.parent / "page").ask(path.read_bytes()))) is not None:
        raise AssertionError(wrong)
    return ""


def attempt(opened: Path) -> str | None:
    """Try a damaged text or request."""
    return trial(opened, READ.get(opened.name, ask))


def texts() -> Program:
    """Give what this script tries."""
    return Program("fuzz_texts", __doc__ or "", SEEDS, attempt)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], texts))
