"""Rows of features from several places, joined by id: two views of the same images, two encoders. Reads through its
parts; owns no file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cache.memory import Batch, Rows
from cache.rows import Features


class Part(Protocol):
    """What is joined: `Features`, or rows in memory."""

    ids: list[str]
    names: list[str]

    def channels(self, name: str) -> int: ...
    def grids(self, name: str) -> NDArray[np.int64]: ...
    def take(self, rows: Rows) -> Self: ...
    def table(self, name: str) -> NDArray[np.float32]: ...
    def batches(self, name: str, rows: Iterable[Rows]) -> Iterator[Batch]: ...


class Joined[P: Part]:
    """The rows that every part has, sorted by id, with the face of one part.

    Attributes:
        names: `<encoder>@<view>/<tap>:<what>`, part by part.

    Args:
        parts: `<encoder>@<view>` -> its rows.
    """

    def __init__(self, parts: Mapping[str, P]) -> None:
        shared = sorted(set[str].intersection(*(set(part.ids) for part in parts.values())))
        self._set({prefix: part.take(_positions(part.ids, shared)) for prefix, part in parts.items()}, shared)

    def _set(self, parts: dict[str, P], ids: list[str]) -> None:
        self.parts, self.ids = parts, ids
        self.names = [f"{prefix}/{name}" for prefix, part in parts.items() for name in part.names]

    def __len__(self) -> int:
        return len(self.ids)

    def _at(self, name: str) -> tuple[P, str]:
        prefix, _, plain = name.rpartition("/")
        return self.parts[prefix], plain

    def channels(self, name: str) -> int:
        """Channels of a map, width of a summary."""
        part, plain = self._at(name)
        return part.channels(plain)

    def grids(self, name: str) -> NDArray[np.int64]:
        """(n, 2): height and width of every row's map."""
        part, plain = self._at(name)
        return part.grids(plain)

    def take(self, rows: Rows) -> Self:
        """The given rows, in the given order."""
        taken = type(self).__new__(type(self))
        taken._set({prefix: part.take(rows) for prefix, part in self.parts.items()}, [self.ids[i] for i in rows])
        return taken

    def table(self, name: str) -> NDArray[np.float32]:
        """A summary, (n, d) float32."""
        part, plain = self._at(name)
        return part.table(plain)

    def batches(self, name: str, rows: Iterable[Rows]) -> Iterator[Batch]:
        """As `Features.batches`."""
        part, plain = self._at(name)
        return part.batches(plain, rows)


class JoinedFeatures(Joined[Features]):
    """Rows of several stores."""

    @property
    def digest(self) -> str:
        """As `Features.digest`, over the parts in their order."""
        return hashlib.sha256("\n".join(part.digest for part in self.parts.values()).encode()).hexdigest()

    @property
    def contents(self) -> str:
        """As `Features.contents`, over the parts in their order."""
        return hashlib.sha256("\n".join(part.contents for part in self.parts.values()).encode()).hexdigest()


def _positions(ids: list[str], wanted: list[str]) -> Rows:
    at = {image_id: i for i, image_id in enumerate(ids)}
    return np.array([at[image_id] for image_id in wanted], dtype=np.int64)
