"""One block onto the disk: its shards, then its commit. Never decides what is written where, never overwrites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cache import blocks, format, objects
from cache.blocks import Commit, CommitRow, PlanItem
from cache.errors import StoreError
from cache.features import MAP, parse_feature
from cache.layout import Layout

Placed = list[tuple[int, int, int, int]]  # offset, h, w, crc32c of each row


class Row(Protocol):
    """An encoded image, as `cache.encode.Encoded` gives it."""

    @property
    def id(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def features(self) -> Mapping[str, NDArray[Any]]: ...


class Given(NamedTuple):
    """A row as it is written: `features` by the names they are stored under."""

    id: str
    sha256: str
    width: int
    height: int
    status: str
    reason: str
    features: Mapping[str, NDArray[Any]]


class Shape(NamedTuple):
    """An array of one plan: rows a shard, and numbers a row."""

    capacity: int
    width: int


def as_planned(row: Row, item: PlanItem) -> Row:
    """The row, failed as "changed" where it is of other bytes or another size: its plan has no room for it."""
    if row.status != "ok" or (row.sha256, row.width, row.height) == (item.sha256, item.width, item.height):
        return row
    return Given(row.id, row.sha256, row.width, row.height, "failed", "changed", {})


def write_block(
    layout: Layout, plan: int, count: int, block: int, shapes: Mapping[str, Shape], rows: Sequence[Row]
) -> bool:
    """Writes the shards of a block and its commit; equal bytes that are there already are adopted.

    Args:
        count: blocks of this plan.
        shapes: the stored features, in the order of the commit.
        rows: their `features` hold a map as (h, w, C), a summary as (d,), under the stored names.

    Returns:
        False where another shard of this name is there, without a commit for it: nothing was committed.

    Raises:
        StoreError: the disk is full, or an array of this name has another shape.
    """
    placed: list[Placed] = []
    for stored, (capacity, width) in shapes.items():
        is_map = parse_feature(stored).what == MAP
        inner = format.inner_rows(width, is_map)
        values = [_values(row, stored, width, is_map) for row in rows]
        flat = [value.reshape(-1, width) for value in values]
        folder = _array(layout, stored, plan, format.array_document(count, capacity, width, inner, is_map))
        file = folder / format.shard_name(block)
        parts = format.shard_parts(flat, width, capacity, inner, is_map)
        sums: list[int] = []
        if not objects.put_once(file, _summed(parts, sums), size=sum(map(len, parts))):
            sums.clear()
            if not objects.same(file, _summed(parts, sums)):
                return False
        objects.sync_folder(folder)
        placed.append(_placed(rows, values, flat, sums, block * capacity, is_map))
    nothing: list[list[int]] = [[], [], [], []]
    columns = [[list(column) for column in zip(*row, strict=True)] for row in zip(*placed, strict=True)]
    commit_rows = tuple(
        CommitRow(
            row.id,
            row.sha256,
            row.width,
            row.height,
            row.status,
            row.reason,
            i,
            *(columns[i] if row.status == "ok" and placed else nothing),
        )
        for i, row in enumerate(rows)
    )
    blocks.write_commit(layout.store / "blocks", Commit(plan, block, tuple(shapes), commit_rows))
    return True


def _values(row: Row, stored: str, width: int, is_map: bool) -> NDArray[Any]:
    """What is stored for a row; of a failed one, no tokens of a map and a row of NaN in a table."""
    dtype = np.dtype(format.MAP_DTYPE if is_map else format.SUMMARY_DTYPE)
    if row.status != "ok":
        return np.empty((0, width), dtype) if is_map else np.full(width, np.nan, dtype)
    return np.ascontiguousarray(row.features[stored], dtype=dtype)


def _summed(parts: Sequence[format.Part], sums: list[int]) -> Iterator[format.Part]:
    """The parts; each one's crc32c is taken just before it is written, which then finds it in the processor's cache."""
    for part in parts:
        sums.append(format.crc32c(np.frombuffer(part, np.uint8)))
        yield part


def _placed(
    rows: Sequence[Row],
    values: Sequence[NDArray[Any]],
    flat: Sequence[NDArray[Any]],
    sums: Sequence[int],
    first: int,
    is_map: bool,
) -> Placed:
    """Where each row lies; `sums` begin with one of each that has any numbers."""
    found: Placed = []
    left = iter(sums)
    for row, value, lines in zip(rows, values, flat, strict=True):
        crc = next(left) if lines.size else 0
        h, w = value.shape[:2] if is_map else (1, 1)
        found.append((first, h, w, crc) if row.status == "ok" else (first, 0, 0, 0))
        first += len(lines)
    return found


def _array(layout: Layout, stored: str, plan: int, document: bytes) -> Path:
    """The folder of a feature's array in a plan; its documents are written first, put-once."""
    name, top = parse_feature(stored), layout.folder
    empty = format.group_document({})
    for group in (top / name.tap, top / name.tap / name.what):
        if objects.put_once(group / "zarr.json", [empty], aside=layout.store):  # zarr warns of a part in a group
            objects.sync_folder(group.parent)
    folder = layout.array(stored, plan)
    if not objects.put_once(folder / "zarr.json", [document]) and not objects.same(folder / "zarr.json", [document]):
        raise StoreError(
            f"{folder} has another shape than its plan. Was the store written by a changed encoder? Use "
            "another --store."
        )
    return folder
