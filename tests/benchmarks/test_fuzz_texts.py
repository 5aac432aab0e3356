"""The program that damages texts and requests: they are good before, and a few damaged ones do no harm."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # as for a script that lies there
import fuzz_readers
import fuzz_texts


@pytest.mark.parametrize("name", fuzz_texts.SEEDS)
def test_what_is_damaged_was_good_and_is_refused_in_our_words(tmp_path: Path, name: str) -> None:
    good = fuzz_readers.made(fuzz_texts.SEEDS[name], tmp_path / name)
    assert fuzz_texts.attempt(good.opened) is None
    chance = random.Random(11)
    assert [fuzz_readers.one(good, [b"other"], chance, fuzz_texts.attempt) for _ in range(4)] == [None] * 4


def test_good_requests_are_answered_and_what_they_must_not_see_is_a_finding(tmp_path: Path) -> None:
    seen = fuzz_texts.page(tmp_path).ask(fuzz_texts.REQUESTS[0].encode())
    assert seen.startswith(b"HTTP/1.1 200 OK")
    assert b"report" in fuzz_texts.page(tmp_path).ask(fuzz_texts.REQUESTS[2].replace("Range", "X").encode())
    assert fuzz_texts.page(tmp_path).ask(b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\ntok") == b"", (
        "hung up"
    )
    assert fuzz_texts.wrong_with(seen) is None
    assert fuzz_texts.wrong_with(seen + fuzz_texts.SECRET.encode()) is not None
    assert fuzz_texts.wrong_with(seen.replace(b"DENY", b"ALLOW")) is not None
    assert fuzz_texts.wrong_with(b"HTTP/1.1 500 Internal Server Error\r\n\r\n") is not None
    assert fuzz_texts.wrong_with(b"HTTP/1.1 400 Bad Request\r\n\r\nInvalid HTTP request received.") is None
    assert fuzz_texts.wrong_with(b"") is None, "the server closed the connection"
