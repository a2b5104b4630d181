"""Encoding in this process: images decoded ahead, blocks written behind, each committed as soon as it is whole. Owns no
format and no plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cache.encode import Block, Encoded, Item, Look, Meter, encode_looks
from harness.engines.speed import Work
from harness.errors import HarnessError

if TYPE_CHECKING:
    from cache.blocks import BlockTask
    from cache.encoders.base import Encoder
    from cache.features import FeatureName
    from cache.store import FeatureStore
    from cache.views import View

ROUNDS = 3
Advance = Callable[[bool], object]


class Job(NamedTuple):
    """What is to be encoded into one store, and how.

    Attributes:
        ids: images that are planned in the store.
        root: the folder that their paths are relative to.
        batch_size: images a forward pass; None: the encoder's own.
        sources: where each image is from, for encoders that read facts.
    """

    store: FeatureStore
    features: Sequence[FeatureName]
    ids: Sequence[str]
    root: Path
    view: View
    batch_size: int | None
    sources: Mapping[str, str]

    def pending(self) -> list[BlockTask]:
        """Blocks that are not committed yet."""
        return self.store.pending(self.features, self.ids)

    def finished(self) -> None:
        """To be called at the end.

        Raises:
            HarnessError: blocks stay pending: another writer works on the same store with other settings.
        """
        if self.pending():
            raise HarnessError(
                f"{self.store.path}: blocks are still pending after {ROUNDS} rounds. Does another process write to "
                "this store with another --batch-size? What is committed is kept: run the same command again when it "
                "is done."
            )


def run(jobs: Sequence[Job], encoder: Encoder, advance: Advance) -> Work:
    """Encodes what is pending in every job's store and commits block by block; an image that several stores lack is
    decoded once for all of them.

    A kill loses at most a block in flight of each store, and the one that is being written. A block whose bytes another
    writer left behind in another form is planned anew by the store and met again in the next round.

    Args:
        jobs: over the same images, one a view.
        advance: called after each image of each job with whether it failed.

    Raises:
        HarnessError: blocks stay pending.
    """
    meter, start, images = Meter(), time.perf_counter(), 0
    for _ in range(ROUNDS):
        pending = [(job, tasks) for job in jobs if (tasks := job.pending())]
        if not pending:
            break
        images += encode(pending, encoder, advance, meter)
    for job in jobs:
        job.finished()
    seconds = time.perf_counter() - start
    return Work(images, seconds, meter.busy, seconds)


class _Lane:
    """The rows of one job on their way into its blocks."""

    def __init__(self, job: Job, tasks: Iterable[BlockTask], encoder: Encoder) -> None:
        self.job, self._grid = job, encoder.spec.grid_of(job.view)
        self._tasks, coming = tee(tasks)
        self.look = Look(encoder, job.view, map(self._block, coming), job.batch_size)
        self._task: BlockTask | None = None
        self._rows: list[Encoded] = []

    def _block(self, task: BlockTask) -> Block:
        root, sources = self.job.root, self.job.sources
        items = (Item(i.id, root / i.path, i.sha256, i.width, i.height, sources.get(i.id, "")) for i in task.items)
        return Block(list(items), task.features)

    def take(self, row: Encoded) -> Callable[[], None] | None:
        """Takes a row; gives the writing of its block where it is whole with it."""
        self._task = task = self._task or next(self._tasks)
        self._rows.append(row)
        if len(self._rows) < len(task.items):
            return None
        rows, self._rows, self._task = self._rows, [], None
        return partial(self.job.store.write, task, rows, self._grid)


def encode(
    pending: Sequence[tuple[Job, Iterable[BlockTask]]],
    encoder: Encoder,
    advance: Advance,
    meter: Meter,
    threads: int | None = None,
) -> int:
    """Encodes and writes the tasks of each job, the writing of a block behind the encoding of the next; beside the one
    that is written, a block of each job is in memory at most. Returns how many images were encoded, counted each job.

    Args:
        pending: tasks may come one by one; each is asked for shortly before the one before is done.
        threads: that decode; None: one a core.
    """
    lanes = [_Lane(job, tasks, encoder) for job, tasks in pending]
    encoded = 0
    writing: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="write") as writer:  # left by an error, it ends its block first
        for lane, row in encode_looks([lane.look for lane in lanes], threads, meter):
            encoded += 1
            advance(row.status != "ok")
            write = lanes[lane].take(row)
            if write is None:
                continue
            if writing is not None:
                writing.result()
            writing = writer.submit(write)
        if writing is not None:
            writing.result()
    return encoded
