"""Volumes and working arrays at addresses: in memory, and on a server that speaks S3 on loopback."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import cluster_run
import ps3d_rt.plan
from cluster_run import content, free_port
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import CapabilityError, InputError, InterruptedRun
from ps3d_rt.io import ome
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.remote import remote_errors, remote_reads
from ps3d_rt.io.zarr_store import ZarrStore
from worker_tasks import wait_until

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: ps3d-rt[s3]")

VOXELS = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ps3d_rt.plan, "WORK_SHARD", ps3d_rt.plan.WORK_SHARD)
    yield
    fsspec.filesystem("memory").store.clear()


def upload(folder: Path, address: str) -> None:
    files, path = fsspec.core.url_to_fs(address)
    files.put(str(folder), path, recursive=True)


def write_image(address: str) -> None:
    group = zarr.create_group(address, attributes=ome.image_attributes("ore", [(0.01, 0.02, 0.03)]))
    level = group.create_array("0", shape=VOXELS.shape, dtype=VOXELS.dtype, chunks=(2, 5, 6))
    level[:] = VOXELS


@pytest.mark.parametrize("given", [Path("memory://bucket/ore.ome.zarr"), "memory://bucket/ore.ome.zarr"])
def test_an_image_is_opened_by_its_address(given: Any) -> None:
    write_image("memory://bucket/ore.ome.zarr")
    with open_volume(given) as volume:
        assert (volume.name, volume.shape, volume.spacing_mm) == ("ore", (4, 5, 6), (0.01, 0.02, 0.03))
        assert volume.source == "memory://bucket/ore.ome.zarr"
        assert np.array_equal(volume.read(Box((1, 0, 2), (3, 5, 6))), VOXELS[1:3, :, 2:])
        again = pickle.loads(pickle.dumps(volume))
        assert np.array_equal(np.asarray(again), VOXELS)


def test_a_plain_array_is_too_and_the_layout_of_raw_files_is_refused() -> None:
    zarr.create_array("memory://bucket/plain.zarr", data=VOXELS)
    with open_volume("memory://bucket/plain.zarr", spacing_mm=0.5) as volume:
        assert (volume.name, volume.spacing_mm) == ("plain", (0.5, 0.5, 0.5))
    with pytest.raises(InputError, match=r"memory://bucket/plain.zarr: .*for raw files"):
        open_volume("memory://bucket/plain.zarr", shape=(4, 5, 6))


def test_what_cannot_be_opened_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"memory://bucket/no.zarr: nothing is there; check the address"):
        open_volume("memory://bucket/no.zarr")
    with pytest.raises(InputError, match=r"nonsense://bucket/no.zarr: cannot be used; check the address"):
        open_volume("nonsense://bucket/no.zarr")
    for error, kind, words in (
        (ImportError("Install s3fs"), CapabilityError, r"s3fs does not load; install it: .*ps3d-rt\[s3\]"),
        (PermissionError("Forbidden"), InputError, "may not be used with these credentials; check them – Forbidden"),
        (TimeoutError(), InputError, "cannot be used; check the address, the server and the network – TimeoutError"),
    ):
        with pytest.raises(kind, match=words), remote_errors("s3://bucket/ore.zarr"):
            raise error
    with pytest.raises(CapabilityError, match="what opens gs:// is not installed"), remote_errors("gs://bucket/a"):
        raise ImportError("Install gcsfs")


def test_a_server_that_is_lost_interrupts_a_run_and_a_damaged_chunk_does_not() -> None:
    with (
        pytest.raises(InterruptedRun, match=r"does not answer any more; .*start the same command again – reset"),
        remote_reads("s3://bucket/ore.zarr"),
    ):
        raise ConnectionResetError("reset")
    with pytest.raises(ValueError, match="checksum"), remote_reads("s3://bucket/ore.zarr"):
        raise ValueError("checksum")


def test_working_arrays_lie_at_an_address_and_are_gone_at_the_end(tmp_path: Path) -> None:
    cluster_run.write_scan(tmp_path / "ore.zarr")
    cluster_run.run(tmp_path / "ore.zarr", tmp_path / "want", None)
    written = []
    run = cluster_run.run(
        tmp_path / "ore.zarr",
        tmp_path / "out",
        None,
        store="memory://work",
        on_event=lambda _: written.extend(fsspec.filesystem("memory").find("work")),
    )
    assert run["particles"] > 3
    assert content(tmp_path / "out") == content(tmp_path / "want")
    assert {name.split("/")[3] for name in written} >= {"border-core", "fragments", "foreground-score"}
    assert not fsspec.filesystem("memory").find("work")


def test_an_array_of_another_run_is_refused() -> None:
    store = ZarrStore("memory://work/run", (4, 5, 6), (4, 5, 6))
    store.create("fragments", np.uint32)
    store.write("fragments", Box.of_shape((4, 5, 6)), VOXELS)
    store.create("fragments", np.uint32)
    assert np.array_equal(store.read("fragments", Box.of_shape((4, 5, 6))), VOXELS)
    with pytest.raises(InputError, match=r"memory://work/run/fragments: .* belongs to another run"):
        store.create("fragments", np.uint8)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a server of this machine."""
    program = shutil.which("moto_server")
    if program is None:
        pytest.skip("there is no moto_server (pip install 'moto[server]'): nothing here speaks S3")
    pytest.importorskip("s3fs", reason="s3fs is not installed: ps3d-rt[s3]")
    port = free_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen([program, "-p", str(port)], stderr=subprocess.DEVNULL, env=environment) as server:
        try:
            files = fsspec.filesystem("s3", skip_instance_cache=True)
            wait_until(lambda: _made(files, "bucket"), seconds=30)
            yield "s3://bucket"
        finally:
            server.kill()


def _made(files: Any, name: str) -> bool:
    try:
        files.mkdir(name)
    except OSError:
        return False
    return True


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets that s3fs leaves to the end of the process
def test_scan_and_working_arrays_in_s3_give_the_same_bytes(bucket: str, tmp_path: Path) -> None:
    cluster_run.write_scan(tmp_path / "ore.zarr")
    cluster_run.run(tmp_path / "ore.zarr", tmp_path / "want", None)
    upload(tmp_path / "ore.zarr", f"{bucket}/ore.zarr")
    run = cluster_run.run(f"{bucket}/ore.zarr", tmp_path / "out", None, store=f"{bucket}/work")
    assert run["scan"]["source"] == "s3://bucket/ore.zarr"
    assert content(tmp_path / "out") == content(tmp_path / "want")
    assert not fsspec.filesystem("s3").find("bucket/work")
