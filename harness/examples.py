"""The only joiner of features and labels: a dataset's rows and a store's rows become `Examples`. Never fits or
scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.datasets.manifest import column, select
from harness.errors import NotFoundError

if TYPE_CHECKING:
    from cache.rows import Features
    from cache.store import FeatureStore
    from harness.datasets.dataset import Dataset
    from harness.datasets.scale import QualityMap
    from heads.base import Examples


MISSING = "image missing"


@dataclass(frozen=True)
class Joined:
    """A dataset and a store of it, joined: what is fitted and scored from.

    Attributes:
        quality_map: turns this dataset's MOS into quality.
    """

    data: Dataset
    store: FeatureStore
    features: Features
    quality_map: QualityMap

    @cached_property
    def examples(self) -> Examples:
        """The labelled rows that have features; see `join`."""
        return join(self.data, self.features, self.quality_map)

    def lost(self, ids: list[str]) -> dict[str, str]:
        """Of the asked ids, those without features -> why; see `lost`."""
        return lost(self.data, ids, self.features, dict(self.store.failures()))


def join(dataset: Dataset, features: Features, quality_map: QualityMap) -> Examples:
    """The labelled rows that have features, in the order of their ids.

    Rows without a label (references, NaN labels) and rows without features (missing, failed or not yet encoded) are
    left out here and counted by `accounts`.

    Args:
        quality_map: turns MOS as published into quality (higher is better, 0..1 on closed scales).

    Raises:
        NotFoundError: not one row is in both.
    """
    from heads.base import Examples

    labelled = dataset.labelled
    frame = select(labelled, np.isin(column(labelled, "id"), features.ids))  # sorted by id, as every manifest is
    if frame.empty:
        raise NotFoundError(
            f"{dataset.name}: {len(dataset.labelled)} labelled images and {len(features.ids)} rows of features, and "
            "not one id "
            "in both. Was the store made from another tree of this dataset? Run `harness precompute` on this one."
        )
    position = {image_id: i for i, image_id in enumerate(features.ids)}
    ids = [str(i) for i in frame["id"]]
    rows = np.array([position[i] for i in ids], dtype=np.int64)
    return Examples(
        features=features.take(rows),
        ids=ids,
        quality=np.asarray(quality_map.to_quality(frame["mos"].to_numpy(dtype=np.float64)), dtype=np.float64),
        std=frame["std"].to_numpy(dtype=np.float64),
        votes=frame["votes"].to_numpy(dtype=np.float64),
        dataset=[dataset.name] * len(ids),
        group=[str(g) for g in frame["group"]],
        reference=[str(r) for r in frame["reference"]],
    )


def lost(dataset: Dataset, ids: list[str], features: Features, failures: dict[str, str]) -> dict[str, str]:
    """Of the asked ids, those without features -> why: missing image, the store's own reason, or not encoded."""
    have = set(features.ids)
    present = set(dataset.manifest.loc[dataset.manifest["present"], "id"])
    why: dict[str, str] = {}
    for image_id in ids:
        if image_id not in have:
            why[image_id] = (
                MISSING
                if image_id not in present
                else failures.get(image_id, "not encoded (run harness precompute again)")
            )
    return why
