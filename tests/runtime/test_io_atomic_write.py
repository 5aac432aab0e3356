"""A file or folder appears complete, or what was there stays."""

from pathlib import Path

import pytest

from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write


def write(path: Path, text: str, *, overwrite: bool = True, fail: bool = False, shared: bool = False) -> None:
    """Write a folder of one file where ``path`` has no ending, else a file."""
    with atomic_write(path, overwrite=overwrite, shared=shared) as unfinished:
        if not path.suffix:
            unfinished.mkdir()
        (unfinished if path.suffix else unfinished / "content").write_text(text)
        if fail:
            raise RuntimeError("stopped")


def content(path: Path) -> str:
    return (path if path.suffix else path / "content").read_text()


@pytest.fixture(params=["deep/file.txt", "deep/folder"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    found: Path = tmp_path / request.param
    return found


def test_what_is_written_appears_alone_and_replaces_what_was_there(path: Path) -> None:
    for text in ("old", "new"):
        write(path, text)
        assert content(path) == text
        assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_leaves_what_was_there(path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        write(path, "first", fail=True)
    assert list(path.parent.iterdir()) == []
    write(path, "old")
    with pytest.raises(RuntimeError, match="stopped"):
        write(path, "new", fail=True)
    assert content(path) == "old"
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_replaced_unasked(path: Path) -> None:
    write(path, "old")
    with pytest.raises(InputError, match="exists"):
        write(path, "new", overwrite=False)
    assert content(path) == "old"


def test_what_a_killed_run_left_is_in_nobodys_way(path: Path) -> None:
    with atomic_write(path) as unfinished:
        unfinished.mkdir()
        (unfinished / "content").write_text("half")
        left = unfinished.rename(unfinished.with_name("aside"))
        unfinished.write_text("")
    path.unlink()
    left.rename(unfinished)
    write(path, "new")
    assert content(path) == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_come_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rename = tmp_path / "folder", Path.rename
    write(path, "old")

    def refuse(source: Path, target: Path) -> Path:
        if source.suffix == ".partial":
            raise PermissionError(13, "in use")
        return rename(source, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", refuse)
        with pytest.raises(PermissionError):
            write(path, "new")
    assert content(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_share_a_place_do_not_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with atomic_write(path, overwrite=True, shared=True) as one, atomic_write(path, overwrite=True, shared=True) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert content(path) == "one", "the last to end wins"
    assert list(tmp_path.iterdir()) == [path]
