"""put_once: one winner, whole content, nothing left aside, and disk errors that a person can read."""

from __future__ import annotations

import errno
import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from cache.errors import StoreError
from cache.objects import put_once, same

RACERS = 4
ROUNDS = 25


def content(racer: int, number: int) -> list[bytes]:
    return [f"{racer} {number} ".encode() * 5000, b"end"]


def race(folder: Path, racer: int, barrier: Barrier, results: multiprocessing.SimpleQueue) -> None:
    for number in range(ROUNDS):
        barrier.wait()
        if put_once(folder / f"{number}" / "object", content(racer, number)):
            results.put((number, racer))


def test_of_racing_processes_exactly_one_wins_and_its_content_is_whole(tmp_path: Path) -> None:
    """The trap: an exists-check followed by a rename let 793 writers win 500 races."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(RACERS), context.SimpleQueue()
    racers = [context.Process(target=race, args=(tmp_path, r, barrier, results)) for r in range(RACERS)]
    for process in racers:
        process.start()
    for process in racers:
        process.join(60)
        assert process.exitcode == 0
    winners = []
    while not results.empty():
        winners.append(results.get())
    assert sorted(number for number, _ in winners) == list(range(ROUNDS))
    for number, racer in winners:
        assert (tmp_path / f"{number}" / "object").read_bytes() == b"".join(content(racer, number))
    assert not list(tmp_path.rglob("*.part"))


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "a" / "object"
    assert put_once(file, [b"first"])
    assert not put_once(file, [b"second"])
    assert file.read_bytes() == b"first"
    assert [p.name for p in file.parent.iterdir()] == ["object"]


@pytest.mark.parametrize("at", ["write", "fsync", "link"])
def test_a_disk_error_is_a_message_and_leaves_nothing_aside(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def parts() -> object:
        yield b"begin"
        if at == "write":
            full()
        yield b"end"

    if at != "write":
        monkeypatch.setattr(os, at, full)
    with pytest.raises(StoreError, match=r"object: No space left on device.*same command again"):
        put_once(tmp_path / "object", parts())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        put_once(tmp_path / "file" / "object", [b"x"])


def test_an_exception_between_the_parts_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> object:
        yield b"begin"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_once(tmp_path / "object", parts())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parts", "equal"),
    [
        ([b"abcdef"], True),
        ([b"abc", memoryview(b"def")], True),
        ([b"abc", bytearray(b"deX")], False),
        ([b"abcde"], False),
        ([b"abcdefg"], False),
        ([], False),
    ],
)
def test_same_compares_all_of_it(parts: list[bytes], equal: bool, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abcdef")
    assert same(tmp_path / "f", parts) is equal
    assert not same(tmp_path / "gone", parts)
