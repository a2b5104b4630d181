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
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import fakes
import pandas as pd  # pyarrow imports it on first use: here, once, instead of in every child
from PIL import Image

from cache.compaction import compact

os.fsync = lambda _: None  # as in conftest.no_fsync
Image.init()
assert pd

PATTERNS = ["fine:map", "coarse:moments"]


def die_at(step: int) -> None:
    """Makes the process die, as by kill -9, just before (even) or after (odd) an object gets its name by link()."""
    real, count = os.link, 0

    def link(source: str, target: str) -> None:
        nonlocal count
        if count == step:
            os._exit(9)
        count += 1
        real(source, target)
        if count == step:
            os._exit(9)
        count += 1

    os.link = link


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


def points(root: Path, images: Path) -> list[int]:
    """A store a step, each left by a writer that died there; the last writer lives."""
    codes = []
    while not codes or codes[-1] == 9:
        step, place = len(codes), root / f"{len(codes)}"

        def work(step: int = step, place: Path = place) -> None:
            die_at(step)
            filled(place, images)()

        _, status = os.waitpid(child(work), 0)
        codes.append(os.waitstatus_to_exitcode(status))
    return codes


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
    found = {"points": points(top / "points", images)}
    found |= {f"kills-{n}": kills(top / f"kills-{n}", images, seed=7, stores=3, writers=n) for n in (1, 2)}
    found["compactions"] = compactions(top / "compactions", images, seed=7, rounds=40)
    sys.stdout.write(json.dumps(found))
