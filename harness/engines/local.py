"""Encoding in this process: block after block, each committed as soon as it is whole. Owns no format and no plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cache.encode import encode_items
from harness.console import Progress

if TYPE_CHECKING:
    from cache.blocks import BlockTask
    from cache.encoders.base import Encoder
    from cache.store import FeatureStore
    from cache.views import View


def run(
    store: FeatureStore,
    tasks: Sequence[BlockTask],
    encoder: Encoder,
    view: View,
    batch_size: int | None,
    bar: Progress,
) -> dict[str, int]:
    """Encodes the tasks in order and commits each; returns counts of failed images by reason.

    A kill loses at most the block in flight; whatever was committed stays.
    """
    reasons: dict[str, int] = {}
    for task in tasks:
        rows = []
        for row in encode_items(task.items, encoder, view, task.features, batch_size=batch_size):
            rows.append(row)
            if row.status != "ok":
                reasons[row.reason] = reasons.get(row.reason, 0) + 1
            bar.advance(note=f"{sum(reasons.values())} failed" if reasons else "")
        store.write(task, rows)
    return reasons
