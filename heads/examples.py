"""Rows that a head reads: features with labels. Never fits, never scores, never touches a store.

`FeatureSource` is a protocol: whatever offers these methods will do, and this room need not know where the
rows lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from heads.errors import DataError

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class FeatureSource(Protocol):
    """Rows of named features, wherever they lie. A name is `tap:what`; *what* is `map` or the name of a
    summary."""

    @property
    def ids(self) -> Sequence[str]:
        """The rows, in order."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The features that every row has."""
        ...

    def table(self, name: str) -> NDArray[np.float32]:
        """A summary: (n, d)."""
        ...

    def batches(self, name: str, rows: Iterable[Rows]) -> Iterator[list[tuple[Rows, NDArray[np.float16]]]]:
        """One batch for each array of rows: groups (positions into that array, maps (g, h, w, C)), one for
        each grid."""
        ...

    def channels(self, name: str) -> int:
        """Channels of a map, or width of a summary."""
        ...

    def grids(self, name: str) -> NDArray[np.int64]:
        """The grid of every row's map: (n, 2), height and width."""
        ...

    def take(self, rows: Rows) -> FeatureSource:
        """The given rows, in the given order."""
        ...


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows of features with what people said of them. Rows may come in any order and from several datasets.

    Attributes:
        features: the features of the rows.
        ids: (n,) unique; the same as `features.ids`.
        quality: (n,) higher is better; NaN where unknown, which only `predict` accepts.
        std: (n,) standard deviation of the votes, NaN where unknown.
        votes: (n,) number of votes, NaN where unknown.
        dataset: (n,) or one name for all rows.
        group: (n,) rows of one group may not stand on both sides of a split.
        reference: (n,) id of the undistorted image, "" where there is none.

    Raises:
        DataError: lengths differ, ids repeat, or the features belong to other rows.
    """

    features: FeatureSource
    ids: list[str]
    quality: Floats
    std: Floats
    votes: Floats
    dataset: list[str] | str
    group: list[str]
    reference: list[str]

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name in ("quality", "std", "votes", "group", "reference", "dataset"):
            value = getattr(self, name)
            if not isinstance(value, str) and len(value) != n:
                raise DataError(
                    f"Expected {n} values of {name}, one for each id; found {len(value)}. Join them by id again."
                )
        if len(self._positions) != n:
            raise DataError(f"Expected unique ids, found {n - len(self._positions)} repeated. Name every row once.")
        if list(self.features.ids) != self.ids:
            raise DataError(
                f"Expected features of the same {n} rows in the same order as the labels, found "
                f"{len(self.features.ids)} other "
                "rows. Join features and labels by id."
            )

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids: Iterable[str]) -> Rows:
        """Positions of the given ids, in the order given: (m,).

        Raises:
            DataError: an id is not among these rows.
        """
        asked = list(ids)
        unknown = [name for name in asked if name not in self._positions]
        if unknown:
            raise DataError(
                f"Expected ids of these {len(self)} rows, found {len(unknown)} others, such as "
                f"{unknown[0]!r}. "
                "Encode the missing images, or leave them out of the split."
            )
        return np.array([self._positions[name] for name in asked], dtype=np.int64)

    def __getitem__(self, key: Sequence[str] | Sequence[int] | Rows | NDArray[np.bool_] | slice) -> Examples:
        """Some of the rows: by ids, positions, a mask or a slice, in the order given.

        Raises:
            DataError: an id, a position or a mask of other rows than these.
        """
        whole = np.arange(len(self), dtype=np.int64)
        asked = whole[key] if isinstance(key, slice) else np.asarray(key)
        if asked.dtype.kind not in "biu":
            rows = self.rows(str(name) for name in asked)
        else:
            try:
                rows = whole[asked]
            except IndexError as error:
                raise DataError(f"Expected positions among {len(self)} rows: {error}. Use `rows(ids)`.") from error
        return Examples(
            features=self.features.take(rows),
            ids=[self.ids[i] for i in rows],
            quality=self.quality[rows],
            std=self.std[rows],
            votes=self.votes[rows],
            dataset=self.dataset if isinstance(self.dataset, str) else [self.dataset[i] for i in rows],
            group=[self.group[i] for i in rows],
            reference=[self.reference[i] for i in rows],
        )
