"""Encoding in this process: images decoded ahead, blocks written behind, each committed as soon as it is whole. Owns no
format and no plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cache.encode import Block, Encoded, Item, Meter, encode_blocks
from harness.engines.speed import Work
from harness.errors import HarnessError

if TYPE_CHECKING:
    from cache.blocks import BlockTask
    from cache.encoders.base import Encoder
    from cache.features import FeatureName
    from cache.store import FeatureStore
    from cache.views import View

ROUNDS = 3
Advance = Callable[[int], object]


class Job(NamedTuple):
    """What is to be encoded, and how.

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


def run(job: Job, encoder: Encoder, advance: Advance) -> Work:
    """Encodes what is pending and commits block by block.

    A kill loses at most the block in flight and the one being written. A block whose bytes another writer left behind
    in another form is planned anew by the store and met again in the next round.

    Args:
        advance: called after each image with how many have failed.

    Raises:
        HarnessError: blocks stay pending.
    """
    meter, start, images = Meter(), time.perf_counter(), 0
    for _ in range(ROUNDS):
        tasks = job.pending()
        if not tasks:
            break
        images += encode(job, tasks, encoder, advance, meter)
    job.finished()
    return Work(images, time.perf_counter() - start, meter.busy)


def encode(
    job: Job,
    tasks: Iterable[BlockTask],
    encoder: Encoder,
    advance: Advance,
    meter: Meter,
    threads: int | None = None,
) -> int:
    """Encodes and writes these tasks, the writing of each behind the encoding of the next; two blocks are in memory at
    most. Returns how many images were encoded.

    Args:
        tasks: may come one by one; each is asked for shortly before the one before is done.
        threads: that decode; None: one a core.
    """
    tasks, coming = tee(tasks)
    blocks = (
        Block(
            [Item(i.id, job.root / i.path, i.sha256, i.width, i.height, job.sources.get(i.id, "")) for i in task.items],
            task.features,
        )
        for task in coming
    )
    grid = encoder.spec.grid_of(job.view)
    encoded = failed = 0
    rows: list[Encoded] = []
    task: BlockTask | None = None
    writing: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="write") as writer:  # left by an error, it ends its block first
        for row in encode_blocks(blocks, encoder, job.view, job.batch_size, threads, meter):
            task = task or next(tasks)
            rows.append(row)
            failed += row.status != "ok"
            advance(failed)
            if len(rows) < len(task.items):
                continue
            if writing is not None:
                writing.result()
            writing = writer.submit(job.store.write, task, rows, grid)
            encoded, rows, task = encoded + len(rows), [], None
        if writing is not None:
            writing.result()
    return encoded
