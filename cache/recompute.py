"""Encodes stored images again and compares: whether what is stored is what this encoder gives. Writes nothing.

A checksum proves that the bytes are those which were written, not that they were right: a broken build, a device that
miscounts or a changed library wrote theirs with good checksums, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from cache.blocks import PlanItem
from cache.encode import Item, encode_items
from cache.errors import StoreError
from cache.features import MAP, MAP8, MAPS, VECTOR, FeatureName
from cache.forms import STEPS, as_read
from cache.identity import Identity, differences
from cache.store import FeatureStore

if TYPE_CHECKING:
    from cache.encoders.base import Encoder
    from cache.views import View

GONE = ("changed", "missing", "cannot be read")  # reasons that concern the file on the disk, not what is stored of it


class Agreement(msgspec.Struct, frozen=True):
    """One feature, stored against encoded again.

    Attributes:
        images: compared.
        equal: of these, bit for bit.
        worst: largest difference relative to the largest stored number of its image.
        tolerance: what `worst` may be.
        wrong: ids beyond it.
    """

    feature: str
    images: int
    equal: int
    worst: float
    tolerance: float
    wrong: list[str]


class Recomputed(NamedTuple):
    """What came of it: features, images whose file is another now, and images that can no longer be encoded."""

    agreements: list[Agreement]
    changed: dict[str, str]
    failed: dict[str, str]


def tolerance(what: str, precision: str) -> float:
    """How far another machine's numbers may be off, relative to an image's largest: 1e-3 (a step of float16) where the
    encoder computes in fp32, 5e-2 below; of `spectrum` and `gram` the root of that, since logarithms and roots magnify
    what is small. The same machine, torch and batch give the same bits.
    """
    of_map = 1e-3 if precision == "fp32" else 5e-2
    if what == MAP8:
        return of_map + 2 / STEPS  # what lies between two steps may go to either
    return of_map if what in (MAP, VECTOR, "moments") else math.sqrt(of_map)


def recompute(
    store: FeatureStore,
    ids: Sequence[str],
    root: Path,
    paths: Mapping[str, str],
    sources: Mapping[str, str],
    encoder: Encoder,
    view: View,
    identity: Identity,
    advance: Callable[[], object] = lambda: None,
) -> Recomputed:
    """Encodes the given images again and compares each of their features with what is stored.

    Args:
        ids: images that have features in the store.
        root, paths: where they lie now; without a path, where the plan remembers them.
        sources: where each image is from, for encoders that read facts.
        identity: of this encoder and view.

    Raises:
        StoreError: the store was made by another encoder, or a stored row is damaged.
    """
    if identity != store.identity:
        raise StoreError(
            f"{store.path} was made by another encoder than the one to compare it with "
            f"({'; '.join(differences(store.identity, identity))}). Give the same weights: --weights FILE."
        )
    items = [_as_stored(store, image_id) for image_id in ids]
    names = store.features(everywhere=False)
    asked = [
        Item(i.id, root / (paths.get(i.id) or i.path), i.sha256, i.width, i.height, sources.get(i.id, ""))
        for i in items
    ]
    again = {}
    for row in encode_items(asked, encoder, view, names):
        again[row.id] = row
        advance()
    good = {image_id: row for image_id, row in again.items() if row.status == "ok"}
    bad = {image_id: row.reason for image_id, row in again.items() if row.status != "ok"}
    return Recomputed(
        [_compare(store, name, {i: row.features[str(name)] for i, row in good.items()}) for name in names],
        {image_id: reason for image_id, reason in bad.items() if reason in GONE},
        {image_id: reason for image_id, reason in bad.items() if reason not in GONE},
    )


def _as_stored(store: FeatureStore, image_id: str) -> PlanItem:
    """The image as it was when the row that counts was made; its newest plan may know other bytes."""
    plan, block = store.state.live[image_id]
    return next(item for item in store.state.plans[plan].blocks[block] if item.id == image_id)


def _compare(store: FeatureStore, name: FeatureName, again: Mapping[str, np.ndarray]) -> Agreement:
    rows = store.select_any([str(name)])
    read = rows.map if name.what in MAPS else rows.summary
    most = tolerance(name.what, store.identity.encoder.precision)
    images = equal = 0
    worst, wrong = 0.0, []
    for i, image_id in enumerate(rows.ids):
        if image_id not in again:
            continue
        stored, found = read(str(name), i), as_read(name.what, again[image_id])
        images += 1
        if stored.shape == found.shape and stored.tobytes() == found.tobytes():
            equal += 1
            continue
        off = _difference(stored, found)
        worst = max(worst, off)
        if not off <= most:
            wrong.append(image_id)
    return Agreement(str(name), images, equal, worst, most, wrong)


def _difference(stored: np.ndarray, found: np.ndarray) -> float:
    """Largest difference relative to the largest stored number; infinite where shapes differ."""
    if stored.shape != found.shape:
        return math.inf
    one, other = stored.astype(np.float64), found.astype(np.float64)
    return float(np.abs(one - other).max() / max(float(np.abs(one).max()), 1e-6))
