"""Reads every row of a store, says which is missing, torn or flipped, and plans just those again. Overwrites
nothing.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from cache import index
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
    store = FeatureStore.open(store.path, believe=False)  # what was read before proves nothing of the disk now
    found = _findings(store)
    damaged = {finding.id for finding in found if finding.id}
    now = FeatureStore.open(store.path, believe=False) if damaged else store
    if any(now.state.spans[0].get(i) != store.state.spans[0].get(i) for i in damaged):
        store, found = now, _findings(now)  # compacted meanwhile: what seems to be missing is elsewhere
        damaged = {finding.id for finding in found if finding.id}
    if store.damaged():
        index.drop(store.path / "index")  # it would vouch for a commit that has to be made again
    with contextlib.suppress(StoreError):
        store.replan(damaged)
    return found


def _findings(store: FeatureStore) -> list[Finding]:
    found = [
        Finding(path, "", "the commit cannot be read: its block counts as not encoded") for path in store.damaged()
    ]
    for name in map(str, store.features(everywhere=False)):
        features = store.select_any([name])
        for row, image_id in enumerate(features.ids):
            problem = features.problem(name, row)
            if problem:
                found.append(Finding(features.file(name, row), image_id, f"{name}: {problem}"))
    return found
