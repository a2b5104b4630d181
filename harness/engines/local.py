"""Encoding in this process: block after block, each committed as soon as it is whole. Owns no format and no plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cache.encode import Item, encode_items
from harness.errors import HarnessError

if TYPE_CHECKING:
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
    encoder: Encoder,
    view: View,
    batch_size: int | None,
    bar: Progress,
) -> int:
    """Encodes what is pending of these ids and commits block by block; returns how many images were encoded.

    A kill loses at most the block in flight. A block whose bytes another writer left behind in another form is planned
    anew by the store and met again in the next round.

    Raises:
        HarnessError: blocks stay pending: another writer works on the same store with other settings.
    """
    grid = encoder.spec.grid_of(view)
    encoded = failed = 0
    for _ in range(ROUNDS):
        tasks = store.pending(features, ids)
        if not tasks:
            return encoded
        for task in tasks:
            items = [Item(i.id, root / i.path, i.sha256, i.width, i.height) for i in task.items]
            rows = []
            for row in encode_items(items, encoder, view, task.features, batch_size=batch_size):
                rows.append(row)
                failed += row.status != "ok"
                bar.advance(note=f"{failed} failed" if failed else "")
            store.write(task, rows, grid)
            encoded += len(rows)
    if store.pending(features, ids):
        raise HarnessError(
            f"{store.path}: blocks are still pending after {ROUNDS} rounds. Does another process write to this "
            "store with another "
            "--batch-size? What is committed is kept: run the same command again when it is done."
        )
    return encoded
