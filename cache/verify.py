"""Reads every row of a store, says which is missing, torn, flipped or stale (of another file than there is now), and
plans just those again. Overwrites nothing, and reads no image: the caller tells what they are now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from cache import index, planning
from cache.blocks import PlanItem
from cache.errors import StoreError
from cache.store import FeatureStore


class Finding(NamedTuple):
    """One thing that is wrong: the file, the image it concerns ("" for a whole file), and what."""

    path: Path
    id: str
    problem: str


def stale(store: FeatureStore, images: Iterable[PlanItem]) -> list[Finding]:
    """Rows that were made of other bytes than their image files have now; size and time of a file prove nothing.

    A row whose file could not be read when it was to be encoded is not stale: the next `precompute` tries it anyway.

    Args:
        images: as they are now; those that could not be read have no sha256 and are not compared.
    """
    found: list[Finding] = []
    for image in images:
        row = store.state.rows.get(image.id)
        if row is not None and row.sha256 and image.sha256 and row.sha256 != image.sha256:
            failed = f" (it failed then: {row.reason})" if row.status != "ok" else ""
            found.append(Finding(Path(image.path), image.id, f"another image file than was encoded{failed}"))
    return found


def plan_stale(store: FeatureStore, images: Sequence[PlanItem]) -> None:
    """Plans images as they are now, unless that is done already; a store that cannot be written to is left."""
    live = store.state.live
    with contextlib.suppress(StoreError):
        store.plan(images, planning.is_small(store.state, (live[i.id][0] for i in images)))


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
