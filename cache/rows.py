"""`Features`: rows of named features, read by memory map, checked by crc32c, gathered by equal grid. Never writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cache import format
from cache.errors import StoreError
from cache.features import MAP, parse_feature

Check = Literal["always", "first", "never"]
Rows = NDArray[np.int64]
Batch = list[tuple[Rows, NDArray[np.float16]]]
ADVICE = (
    "Run `harness stores verify`, which plans what is damaged anew, then the same `harness precompute` again: it makes "
    "just that."
)

_checked: set[tuple[str, int]] = set()  # (file, first row): what this process has found whole


class Span(NamedTuple):
    """Where one image's feature lies: plan and block, absolute row offset, grid, crc32c of its bytes."""

    plan: int
    block: int
    offset: int
    h: int
    w: int
    crc32c: int


class Features:
    """Rows of features by id, over one store; nothing is read before it is asked for.

    Attributes:
        ids: the rows.
        names: the features that every row has.
        check: when a row's checksum is compared: always, on the first read in this process, or never.
    """

    def __init__(
        self,
        folder: Path,
        ids: list[str],
        names: list[str],
        spans: dict[str, list[Span]],
        arrays: dict[str, tuple[str, str]],
        widths: dict[str, int],
        capacities: Callable[[int, str, str], int],
        identity: str,
        check: Check = "first",
    ) -> None:
        self.ids, self.names = ids, names
        self.check: Check = check
        self._folder, self._spans, self._arrays = folder, spans, arrays
        self._widths, self._capacities, self._identity = widths, capacities, identity
        self._maps: dict[tuple[str, int, int], tuple[NDArray[Any], int, str]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def digest(self) -> str:
        """sha256 of what these features mean: the store's identity and the stored names; not of which rows."""
        stored = sorted(":".join(self._arrays[n]) for n in self.names)
        return hashlib.sha256("\n".join([self._identity, *stored]).encode()).hexdigest()

    @property
    def contents(self) -> str:
        """sha256 over the ids and the checksums of their features: other rows or other numbers, another digest."""
        digest = hashlib.sha256()
        for i, image_id in sorted(enumerate(self.ids), key=lambda row: row[1]):
            checks = [self._spans[name][i].crc32c for name in sorted(self.names)]
            digest.update(f"{image_id}\0{checks}\n".encode())
        return digest.hexdigest()

    def channels(self, name: str) -> int:
        """Channels of a map, width of a summary."""
        return self._widths[name]

    def grids(self, name: str) -> NDArray[np.int64]:
        """(n, 2): height and width of every row's map."""
        return np.array([(s.h, s.w) for s in self._spans[name]], dtype=np.int64).reshape(-1, 2)

    def take(self, rows: Rows) -> Features:
        """The given rows, in the given order."""
        some = Features(
            self._folder,
            [self.ids[i] for i in rows],
            self.names,
            {n: [spans[i] for i in rows] for n, spans in self._spans.items()},
            self._arrays,
            self._widths,
            self._capacities,
            self._identity,
            self.check,
        )
        some._maps = self._maps
        return some

    def table(self, name: str) -> NDArray[np.float32]:
        """A summary, (n, d) float32.

        Raises:
            StoreError: a row's file is missing, or its bytes are not what was written.
        """
        values = np.empty((len(self.ids), self._widths[name]), dtype=np.float32)
        for i in range(len(self.ids)):
            values[i] = self.summary(name, i)
        return values

    def map(self, name: str, row: int) -> NDArray[np.float16]:
        """One map, (h, w, C) float16, a read-only view of the file."""
        span = self._spans[name][row]
        return self._read(name, row).reshape(span.h, span.w, -1)

    def summary(self, name: str, row: int) -> NDArray[np.float32]:
        """One row of a summary, (d,) float32, a read-only view of the file."""
        return self._read(name, row)[0]

    def file(self, name: str, row: int) -> Path:
        """The shard that a row lies in."""
        span = self._spans[name][row]
        return self._folder / format.array_path(*self._arrays[name], span.plan) / format.shard_name(span.block)

    def batches(self, name: str, rows: Iterable[Rows]) -> Iterator[Batch]:
        """For each array of rows one batch: (positions in it, maps (g, h, w, C) float16) a grid."""
        spans = self._spans[name]
        for wanted in rows:
            yield gather([(spans[i].h, spans[i].w) for i in wanted], lambda j, w=wanted: self.map(name, int(w[j])))

    def problem(self, name: str, row: int) -> str:
        """What is wrong with a row's bytes or its shard's index, read now; "" where nothing is."""
        span = self._spans[name][row]
        try:
            found, (file, _) = self._bytes(name, span)
            raw = np.memmap(file, dtype=np.uint8, mode="r")
        except (StoreError, OSError, ValueError):
            return "the shard or its array's document is missing or cannot be read"
        if len(found) != span.h * span.w:
            return "the shard is truncated"
        if format.crc32c(found) != span.crc32c:
            return "other bytes than were written (checksum)"
        capacity = self._shard(name, span)[1]
        inner = format.inner_rows(self._widths[name], self._arrays[name][1] == MAP)
        return "" if format.index_is_whole(raw, capacity, inner) else "the shard's index is damaged (checksum)"

    def _bytes(self, name: str, span: Span) -> tuple[NDArray[Any], tuple[str, int]]:
        values, capacity, file = self._shard(name, span)
        first = span.offset - span.block * capacity
        return values[max(first, 0) : max(first, 0) + span.h * span.w], (file, first)

    def _read(self, name: str, row: int) -> NDArray[Any]:
        span = self._spans[name][row]
        found, key = self._bytes(name, span)
        if len(found) != span.h * span.w:
            raise self._damaged(name, row, "a truncated shard")
        if self.check == "always" or (self.check == "first" and key not in _checked):
            if format.crc32c(found) != span.crc32c:
                raise self._damaged(name, row, "others (checksum)")
            _checked.add(key)
        return found

    def _damaged(self, name: str, row: int, found: str) -> StoreError:
        return StoreError(
            f"{self.file(name, row)}: expected the bytes that were written for {self.ids[row]!r} ({name}), found "
            f"{found}. {ADVICE}"
        )

    def _shard(self, name: str, span: Span) -> tuple[NDArray[Any], int, str]:
        key = (name, span.plan, span.block)
        if key not in self._maps:
            tap, what = self._arrays[name]
            place = format.array_path(tap, what, span.plan)
            file = self._folder / place / format.shard_name(span.block)
            dtype = np.dtype(format.MAP_DTYPE if what == MAP else format.SUMMARY_DTYPE)
            width = self._widths[name]
            capacity = self._capacities(span.plan, tap, what)
            try:
                raw = np.memmap(file, dtype=np.uint8, mode="r")
            except (OSError, ValueError) as error:
                raise StoreError(
                    f"Expected a shard at {file}, found none that can be read ({error}). {ADVICE}"
                ) from error
            inner = format.inner_rows(width, what == MAP)
            body = max(0, len(raw) - (16 * (capacity // inner) + 4)) // (width * dtype.itemsize)
            values = raw[: body * width * dtype.itemsize].view(dtype).reshape(body, width)
            self._maps[key] = (values, capacity, str(file.absolute()))
        return self._maps[key]


def gather(grids: Sequence[tuple[int, int]], get: Callable[[int], NDArray[np.float16]]) -> Batch:
    """Maps of equal grid stacked: (positions, (g, h, w, C)) a grid, in the order of first appearance."""
    groups: dict[tuple[int, int], list[int]] = {}
    for position, grid in enumerate(grids):
        groups.setdefault(grid, []).append(position)
    return [(np.array(members, dtype=np.int64), np.stack([get(j) for j in members])) for members in groups.values()]


class EncodedRow(Protocol):
    """An encoded image; see `cache.encode.Encoded`."""

    @property
    def id(self) -> str: ...
    @property
    def features(self) -> Mapping[str, NDArray[Any]]: ...


class InMemory:
    """Rows that were just encoded and never stored, with the same face as `Features`."""

    def __init__(self, rows: Sequence[EncodedRow], names: Sequence[str]) -> None:
        self._rows = list(rows)
        self.names = list(names)
        self.ids = [row.id for row in rows]

    def __len__(self) -> int:
        return len(self.ids)

    def _value(self, name: str, row: int) -> NDArray[Any]:
        return self._rows[row].features[str(parse_feature(name))]

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
