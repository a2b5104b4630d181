"""Rows that were just encoded and never stored; face and numbers are those of `Features`. Reads and writes no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cache.features import parse_feature
from cache.forms import as_read

Rows = NDArray[np.int64]
Batch = list[tuple[Rows, NDArray[np.float16]]]


class EncodedRow(Protocol):
    """An encoded image; see `cache.encode.Encoded`."""

    @property
    def id(self) -> str: ...
    @property
    def features(self) -> Mapping[str, NDArray[Any]]: ...


def gather(grids: Sequence[tuple[int, int]], get: Callable[[int], NDArray[np.float16]]) -> Batch:
    """Maps of equal grid stacked: (positions, (g, h, w, C)) a grid, in the order of first appearance."""
    groups: dict[tuple[int, int], list[int]] = {}
    for position, grid in enumerate(grids):
        groups.setdefault(grid, []).append(position)
    return [(np.array(members, dtype=np.int64), np.stack([get(j) for j in members])) for members in groups.values()]


class InMemory:
    """Rows of features by id, in the order in which they were encoded."""

    def __init__(self, rows: Sequence[EncodedRow], names: Sequence[str]) -> None:
        self._rows = list(rows)
        self.names = list(names)
        self.ids = [row.id for row in rows]

    def __len__(self) -> int:
        return len(self.ids)

    def _value(self, name: str, row: int) -> NDArray[Any]:
        feature = parse_feature(name)
        return as_read(feature.what, self._rows[row].features[str(feature)])

    def channels(self, name: str) -> int:
        """Channels of a map, width of a summary."""
        return int(self._value(name, 0).shape[-1])

    def grids(self, name: str) -> NDArray[np.int64]:
        """(n, 2): height and width of every row's map."""
        return np.array([self._value(name, i).shape[:2] for i in range(len(self.ids))], dtype=np.int64).reshape(-1, 2)

    def take(self, rows: Rows) -> InMemory:
        """The given rows, in the given order."""
        return InMemory([self._rows[i] for i in rows], self.names)

    def table(self, name: str) -> NDArray[np.float32]:
        """A summary, (n, d) float32."""
        return np.stack([self._value(name, i) for i in range(len(self.ids))]).astype(np.float32)

    def batches(self, name: str, rows: Iterable[Rows]) -> Iterator[Batch]:
        """As `Features.batches`."""
        for wanted in rows:
            maps = [self._value(name, int(i)) for i in wanted]
            yield gather([(m.shape[0], m.shape[1]) for m in maps], lambda j, m=maps: m[j])
