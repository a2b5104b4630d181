"""Encoding in this process: images decoded ahead, blocks written behind, each committed as soon as it is whole. Owns no
format and no plan.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from cache.encode import Block, Encoded, Item, Meter, encode_blocks
from harness import console
from harness.errors import HarnessError

if TYPE_CHECKING:
    from cache.blocks import BlockTask
    from cache.encoders.base import Encoder
    from cache.features import FeatureName
    from cache.store import FeatureStore
    from cache.views import View
    from harness.console import Progress

ROUNDS = 3


def run(
    store: FeatureStore,
    features: Sequence[FeatureName],
    ids: Sequence[str],
    root: Path,
    sources: Mapping[str, str],
    encoder: Encoder,
    view: View,
    batch_size: int | None,
    bar: Progress,
) -> int:
    """Encodes what is pending of these ids and commits block by block; returns how many images were encoded.

    A kill loses at most the block in flight and the one being written. A block whose bytes another writer left behind
    in another form is planned anew by the store and met again in the next round.

    Args:
        sources: where each image is from, for encoders that read facts.

    Raises:
        HarnessError: blocks stay pending: another writer works on the same store with other settings.
    """
    meter, start, encoded = Meter(), time.perf_counter(), 0
    for _ in range(ROUNDS):
        tasks = store.pending(features, ids)
        if not tasks:
            break
        encoded += _encode(store, tasks, root, sources, encoder, view, batch_size, bar, meter)
    seconds = time.perf_counter() - start
    if encoded:
        console.say(
            f"{encoded} images, {encoded / seconds:.3g} images/s on {encoder.device}; the encoder waited "
            f"{max(0.0, 1 - meter.busy / seconds):.1%} of the time"
        )
    if store.pending(features, ids):
        raise HarnessError(
            f"{store.path}: blocks are still pending after {ROUNDS} rounds. Does another process write to this "
            "store with another "
            "--batch-size? What is committed is kept: run the same command again when it is done."
        )
    return encoded


def _encode(
    store: FeatureStore,
    tasks: Sequence[BlockTask],
    root: Path,
    sources: Mapping[str, str],
    encoder: Encoder,
    view: View,
    batch_size: int | None,
    bar: Progress,
    meter: Meter,
) -> int:
    """One round: all tasks, the writing of each behind the encoding of the next; two blocks are in memory at most."""
    blocks = [
        Block(
            [Item(i.id, root / i.path, i.sha256, i.width, i.height, sources.get(i.id, "")) for i in task.items],
            task.features,
        )
        for task in tasks
    ]
    grid = encoder.spec.grid_of(view)
    encoded = failed = 0
    rows: list[Encoded] = []
    left = iter(tasks)
    task = next(left)
    writing: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="write") as writer:  # left by an error, it ends its block first
        for row in encode_blocks(blocks, encoder, view, batch_size=batch_size, meter=meter):
            rows.append(row)
            failed += row.status != "ok"
            bar.advance(note=f"{failed} failed" if failed else "")
            if len(rows) < len(task.items):
                continue
            if writing is not None:
                writing.result()
            writing = writer.submit(store.write, task, rows, grid)
            encoded, rows, task = encoded + len(rows), [], next(left, task)
        if writing is not None:
            writing.result()
    return encoded
