"""A process that kills writers in its children at the worst moment, and counts what each encodes. Run as
`killed.py TOP IMAGES`; prints, a death each: images encoded before it, images committed then, images encoded by the run
after it, and blocks that this left. Children are forked from here, where no thread has been started yet.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cache"))
import fakes
import msgspec
import torch
from crasher import child  # with what it loads once for all children, and without fsync

from cache.store import FeatureStore
from cache.views import parse_view
from harness.engines import local

torch.set_num_threads(1)


class Counting(fakes.FakeEncoder):
    """Leaves a byte in a file for each image."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
        with self.file.open("ab") as file:
            file.write(b"." * len(pixels))
        return super().encode(pixels, valid, taps)

    @property
    def count(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0


def jobs(top: Path, images: Path, views: Sequence[str]) -> list[local.Job]:
    """A store a view, planned."""
    looked, found = fakes.look(images, sorted(p.name for p in images.iterdir())), []
    for name in views:
        view = parse_view(name)
        identity = msgspec.structs.replace(fakes.identity(), view=view.identity())
        store = FeatureStore.create(top, "set", identity, {}, fakes.SPEC.taps)
        store.plan(looked, heavy=True)
        features = fakes.features("*:map", "*:moments")
        found.append(local.Job(store, features, [i.id for i in looked], images, view, None, {}))
    return found


def die_before_commit(number: int, last: int, encoder: Counting) -> None:
    """Kills this process before a commit gets its name, when as much as can be is encoded already behind it.

    Args:
        number: of the commit, from 0; `last`: how many images there are to encode.
    """
    real, commits = os.link, 0

    def link(source: str, target: str) -> None:
        nonlocal commits
        if Path(target).parent.name == "blocks":
            if commits == number:
                before = -1
                while before < encoder.count < last:  # until the encoder stands still
                    before = encoder.count
                    time.sleep(0.3)
                os.kill(os.getpid(), signal.SIGKILL)
            commits += 1
        real(source, target)

    os.link = link


def code_of(work: Callable[[], object]) -> int:
    """The exit code of work in a process of its own; negative: a signal's."""
    return os.waitstatus_to_exitcode(os.waitpid(child(work), 0)[1])


def death(top: Path, images: Path, views: Sequence[str], number: int) -> dict[str, int]:
    """What one writer left, and what the next one did; all of it in children, whose readers start threads."""
    stores, first, second, told = top / "stores", Counting(top / "first"), Counting(top / "second"), top / "told.json"

    def dies() -> None:
        planned = jobs(stores, images, views)
        die_before_commit(number, sum(len(job.ids) for job in planned), first)
        local.run(planned, first, lambda _: None)

    def mends() -> None:
        planned = jobs(stores, images, views)
        committed = sum(job.store.status().ok for job in planned)
        local.run(planned, second, lambda _: None)
        left = sum(len(job.pending()) for job in planned)
        told.write_text(json.dumps({"committed": committed, "after": second.count, "left": left}))

    code = code_of(dies)
    if code_of(mends) != 0:
        raise SystemExit(f"after commit {number}: the second writer failed")
    return {"views": len(views), "died": code == -signal.SIGKILL, "before": first.count, **json.loads(told.read_text())}


if __name__ == "__main__":
    top, images = map(Path, sys.argv[1:])
    found: list[dict[str, int]] = []
    for views in (["native"], ["native", "half"]):
        number, died = 0, True
        while died:
            place = top / f"{len(views)}-{number}"
            place.mkdir(parents=True)
            found.append(death(place, images, views, number))
            number, died = number + 1, found[-1]["died"]
    sys.stdout.write(json.dumps(found))
