"""Reads every row of a store, says which is missing, torn or flipped, and plans just those again. Overwrites
nothing.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from cache.errors import StoreError
from cache.store import FeatureStore


class Finding(NamedTuple):
    """One thing that is wrong: the file, the image it concerns ("" for a whole file), and what."""

    path: Path
    id: str
    problem: str


def verify(store: FeatureStore) -> list[Finding]:
    """Every row of every feature is read and compared with its commit's checksum; every commit with its digest.

    Images with a damaged row get a new plan, so that the next `precompute` makes just those again; until then they are
    findings and a reader's errors. A store that cannot be written to is only reported on.
    """
    store = FeatureStore.open(store.path)  # what was read before proves nothing of the disk now
    found = [
        Finding(path, "", "the commit cannot be read: its block counts as not encoded") for path in store.damaged()
    ]
    damaged: set[str] = set()
    for name in map(str, store.features(everywhere=False)):
        features = store.select_any([name])
        for row, image_id in enumerate(features.ids):
            problem = features.problem(name, row)
            if problem:
                damaged.add(image_id)
                found.append(Finding(features.file(name, row), image_id, f"{name}: {problem}"))
    with contextlib.suppress(StoreError):
        store.replan(damaged)
    return found
