"""The only joiner of features and labels: rows of datasets and of their stores become `Examples`. Never fits or
scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.datasets.manifest import column, select
from harness.errors import NotFoundError

if TYPE_CHECKING:
    from cache.joined import JoinedFeatures
    from cache.rows import Batch, Features, Rows
    from cache.store import FeatureStore
    from harness.datasets.dataset import Dataset
    from harness.datasets.scale import QualityMap
    from heads.base import Examples, FeatureSource


MISSING = "image missing"


@dataclass(frozen=True)
class Joined:
    """A dataset and stores of it, joined: what is fitted and scored from.

    Attributes:
        features: of one store, or the rows that all of several have.
        quality_map: turns this dataset's MOS into quality.
    """

    data: Dataset
    stores: list[FeatureStore]
    features: Features | JoinedFeatures
    quality_map: QualityMap

    @cached_property
    def examples(self) -> Examples:
        """The labelled rows that have features; see `join`."""
        return join(self.data, self.features, self.quality_map)

    def lost(self, ids: list[str]) -> dict[str, str]:
        """Of the asked ids, those without features -> why; see `lost`."""
        failures = {i: reason for store in reversed(self.stores) for i, reason in store.failures()}
        return lost(self.data, ids, self.features, failures)


def features_of(stores: Sequence[FeatureStore], names: Sequence[str]) -> Features | JoinedFeatures:
    """Named features: `tap:what` of one store, `encoder@view/tap:what` of several joined by id.

    Raises:
        UsageError: a feature that a store does not have.
    """
    from cache.joined import JoinedFeatures

    if len(stores) == 1:
        return stores[0].select(names)
    own = {s.prefix: [n.rpartition("/")[2] for n in names if n.startswith(f"{s.prefix}/")] for s in stores}
    return JoinedFeatures({s.prefix: s.select(own[s.prefix]) for s in stores})


def qualified(stores: Sequence[FeatureStore], store: FeatureStore, name: str) -> str:
    """A store's feature as a head that reads these stores names it."""
    return name if len(stores) == 1 else f"{store.prefix}/{name}"


def join(dataset: Dataset, features: Features | JoinedFeatures, quality_map: QualityMap) -> Examples:
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


def together(parts: Sequence[Joined]) -> Examples:
    """Rows of several datasets as one, each with its own map to quality; ids and groups become `<dataset>/<name>`."""
    from heads.base import Examples

    every = [part.examples for part in parts]

    def named(what: str) -> list[str]:
        pairs = [(part.data.name, name) for part, own in zip(parts, every, strict=True) for name in getattr(own, what)]
        return [f"{dataset}/{name}" if name else "" for dataset, name in pairs]

    ids = named("ids")
    return Examples(
        features=Stacked([own.features for own in every], ids),
        ids=ids,
        quality=np.concatenate([own.quality for own in every]),
        std=np.concatenate([own.std for own in every]),
        votes=np.concatenate([own.votes for own in every]),
        dataset=[part.data.name for part, own in zip(parts, every, strict=True) for _ in own.ids],
        group=named("group"),
        reference=named("reference"),
    )


class Stacked:
    """Rows of several sources, one below the other, under new names; a source of features like each of them.

    Args:
        sources: with the same features.
        ids: of all rows, in the order of the sources.
        rows: (n, 2) source and row in it of each row; None: all.
    """

    def __init__(
        self, sources: Sequence[FeatureSource], ids: Sequence[str], rows: NDArray[np.int64] | None = None
    ) -> None:
        self._sources = list(sources)
        self.ids = list(ids)
        self.names = list(sources[0].names)
        every = [(i, row) for i, source in enumerate(sources) for row in range(len(source.ids))]
        self._rows = np.array(every, dtype=np.int64).reshape(-1, 2) if rows is None else rows

    def take(self, rows: Rows) -> Stacked:
        """The given rows, in the given order."""
        return Stacked(self._sources, [self.ids[i] for i in rows], self._rows[rows])

    def channels(self, name: str) -> int:
        """Channels of a map, width of a summary."""
        return self._sources[0].channels(name)

    def grids(self, name: str) -> NDArray[np.int64]:
        """(n, 2): height and width of every row's map."""
        grids = np.empty((len(self.ids), 2), dtype=np.int64)
        for source, places, rows in self._split(self._rows):
            grids[places] = source.take(rows).grids(name)
        return grids

    def table(self, name: str) -> NDArray[np.float32]:
        """A summary, (n, d) float32."""
        table = np.empty((len(self.ids), self.channels(name)), dtype=np.float32)
        for source, places, rows in self._split(self._rows):
            table[places] = source.take(rows).table(name)
        return table

    def batches(self, name: str, rows: Iterable[Rows]) -> Iterator[Batch]:
        """For each array of rows one batch: (positions in it, maps (g, h, w, C) float16) a grid."""
        for wanted in rows:
            groups: dict[tuple[int, ...], Batch] = {}
            for source, places, own in self._split(self._rows[wanted]):
                for batch in source.batches(name, [own]):
                    for positions, maps in batch:
                        groups.setdefault(maps.shape[1:], []).append((places[positions], maps))
            yield [
                (np.concatenate([p for p, _ in parts]), np.concatenate([m for _, m in parts]))
                for parts in groups.values()
            ]

    def _split(self, rows: NDArray[np.int64]) -> Iterator[tuple[FeatureSource, Rows, Rows]]:
        """Each source that has some of the rows, their places among them, and their rows in it."""
        for i, source in enumerate(self._sources):
            places = np.flatnonzero(rows[:, 0] == i)
            if len(places):
                yield source, places, rows[places, 1]


def lost(
    dataset: Dataset, ids: list[str], features: Features | JoinedFeatures, failures: dict[str, str]
) -> dict[str, str]:
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
