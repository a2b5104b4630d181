"""A process that fills stores in children and kills them: at each exact step of the disk, or after a while.

Children are forked from here, where nothing has been started yet, so that a hundred deaths take seconds. Run as
`crasher.py TOP IMAGES`; says how many died where, and the test reads what is left.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Buffer, Callable
from pathlib import Path
from typing import Any, BinaryIO

sys.path.insert(0, str(Path(__file__).parent))
import fakes
import pandas as pd  # pyarrow imports it on first use: here, once, instead of in every child
from PIL import Image

from cache import objects
from cache.compaction import compact

os.fsync = lambda _: None  # as in conftest.no_fsync
Image.init()
assert pd

PATTERNS = ["fine:map", "coarse:moments"]


class Halved:
    """A file whose every piece reaches the disk in two halves, with a step between them."""

    def __init__(self, file: BinaryIO, reach: Callable[[str], None]) -> None:
        self._file, self._reach = file, reach
        self.flush, self.fileno = file.flush, file.fileno

    def __enter__(self) -> Halved:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, piece: Buffer) -> None:
        view = memoryview(piece).cast("B")
        self._file.write(view[: len(view) // 2])
        self._file.flush()
        self._reach("half a piece")
        self._file.write(view[len(view) // 2 :])


def die_at(step: int) -> list[str]:
    """Makes the process die, as by kill -9, at that of all its steps of the disk: room taken for a file, half a piece
    of it written, all of it made durable, its name just not yet or just given by link(). Returns the steps gone by.
    """
    gone: list[str] = []
    take: Any = getattr(os, "posix_fallocate", None)  # not on every system

    def reach(kind: str) -> None:
        if len(gone) == step:
            os._exit(9)
        gone.append(kind)

    def link(source: str, target: str, real: Callable[..., None] = os.link) -> None:
        reach("no name yet")
        real(source, target)
        reach("a name")

    def fallocate(file: int, start: int, size: int) -> None:
        take(file, start, size)
        reach("room")

    def beside(path: Path, part: Path, real: Callable[..., Any] = objects._beside) -> Any:
        file = real(path, part)
        return file and Halved(file, reach)

    os.link, os.posix_fallocate, objects._beside = link, fallocate, beside
    os.fsync = lambda _: reach("durable")
    objects.LARGE = 1  # else no file of this test is large enough for its room to be taken at once
    return gone


def child(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def filled(root: Path, images: Path) -> Callable[[], object]:
    names = sorted(p.name for p in images.iterdir())
    return lambda: fakes.fill(root, images, names, PATTERNS)


def points(root: Path, images: Path) -> dict[str, Any]:
    """A store a step, each left by a writer that died there; the last writer lives, and tells which steps there are."""
    codes, told = [], root / "steps.json"
    while not codes or codes[-1] == 9:
        step, place = len(codes), root / f"{len(codes)}"

        def work(step: int = step, place: Path = place) -> None:
            gone = die_at(step)
            filled(place, images)()
            told.write_text(json.dumps(gone))

        _, status = os.waitpid(child(work), 0)
        codes.append(os.waitstatus_to_exitcode(status))
    return {"codes": codes, "steps": json.loads(told.read_text())}


def kills(root: Path, images: Path, seed: int, stores: int, writers: int) -> list[int]:
    """Stores that are killed again and again until they are whole; returns how often each was."""
    chance, counts = random.Random(seed), []
    started = time.monotonic()
    os.waitpid(child(filled(root / "time", images)), 0)
    life = time.monotonic() - started
    for number in range(stores):
        deaths = 0
        while True:
            pids = [child(filled(root / f"{number}", images)) for _ in range(writers)]
            if deaths < 6:
                time.sleep(chance.uniform(0, life))
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
            if 1 in codes:
                raise SystemExit(f"store {number}: a writer failed")
            deaths += codes.count(-signal.SIGKILL)
            if codes == [0] * writers:
                break
        counts.append(deaths)
    return counts


def compactions(root: Path, images: Path, seed: int, rounds: int) -> dict[str, int]:
    """One store on which two compactions, a writer and a writer that makes all anew are killed again and again."""
    chance, top = random.Random(seed), root / "0"
    names = sorted(p.name for p in images.iterdir())
    deaths = ends = 0
    filled(top, images)()

    def anew() -> None:
        store = fakes.new_store(top)
        store.plan(fakes.look(images, chance.sample(names, 5)), heavy=True, anew=True)
        fakes.work(store, images, fakes.features(*PATTERNS), names)

    def collect() -> None:
        compact(fakes.new_store(top))

    for number in range(rounds):
        chance.seed(number)
        pids = [child(work) for work in (anew, collect, collect, filled(top, images))]
        time.sleep(chance.uniform(0, 0.25))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        if 1 in codes:
            raise SystemExit(f"round {number}: a process failed")
        deaths, ends = deaths + codes.count(-signal.SIGKILL), ends + codes.count(0)
        store = fakes.new_store(top)
        if len(store.ids()) != len(names) - 1:
            raise SystemExit(f"round {number}: {len(names) - 1 - len(store.ids())} images lost")
        for name in store.features(everywhere=False):
            fakes.stored(store, name)  # every checksum
    return {"deaths": deaths, "ends": ends}


if __name__ == "__main__":
    top, images = map(Path, sys.argv[1:])
    found: dict[str, Any] = {"points": points(top / "points", images)}
    found |= {f"kills-{n}": kills(top / f"kills-{n}", images, seed=7, stores=3, writers=n) for n in (1, 2)}
    found["compactions"] = compactions(top / "compactions", images, seed=7, rounds=40)
    sys.stdout.write(json.dumps(found))
