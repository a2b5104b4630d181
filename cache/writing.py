"""One block onto the disk: its shards, then its commit. Never decides what is written where, never overwrites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cache import blocks, format, objects
from cache.blocks import Commit, CommitRow
from cache.errors import StoreError
from cache.features import parse_feature
from cache.forms import Lines, form_of
from cache.layout import Layout

PIECE = 256 << 10  # bytes
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
    """A row as it is written: `features` as they are stored, by the names they are stored under."""

    id: str
    sha256: str
    width: int
    height: int
    status: str
    reason: str
    features: Mapping[str, Lines]


class Shape(NamedTuple):
    """An array of one plan: rows a shard, and numbers a row."""

    capacity: int
    width: int


def write_block(
    layout: Layout, plan: int, count: int, block: int, shapes: Mapping[str, Shape], rows: Sequence[Given]
) -> tuple[Path, Commit] | None:
    """Writes the shards of a block and its commit; equal bytes that are there already are adopted.

    Args:
        count: blocks of this plan.
        shapes: the stored features, in the order of the commit.
        rows: the images of the block, in its order.

    Returns:
        The commit that stands for them now, and its file; None where another shard of this name is there, without a
        commit for it: nothing was committed.

    Raises:
        StoreError: the disk is full, or an array of this name has another shape.
    """
    placed: list[Placed] = []
    for stored, (capacity, width) in shapes.items():
        form = form_of(parse_feature(stored).what)
        inner = format.inner_rows(width, form)
        empty = Lines(np.full((0 if form.by_token else 1, width), float(form.fill), form.dtype), 0, 0)
        lines = [row.features[stored] if row.status == "ok" else empty for row in rows]
        folder = _array(layout, stored, plan, format.array_document(count, capacity, width, inner, form))
        file = folder / format.shard_name(block)
        parts = format.shard_parts([one.rows for one in lines], width, capacity, inner, form)
        sums: list[int] = []
        if not objects.put_once(file, _summed(parts, sums), size=sum(map(len, parts))):
            sums.clear()
            if not objects.same(file, _summed(parts, sums)):
                return None
        objects.sync_folder(folder)
        placed.append(_placed(rows, lines, sums, block * capacity))
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
    return blocks.write_commit(layout.store / "blocks", Commit(plan, block, tuple(shapes), commit_rows))


def _summed(parts: Sequence[format.Part], sums: list[int]) -> Iterator[format.Part]:
    """The parts, piece by piece, and each part's crc32c: what was just written is still in the processor's cache when
    its checksum is taken.
    """
    for part in parts:
        crc = 0
        for start in range(0, len(part), PIECE):
            piece = part[start : start + PIECE]
            yield piece
            crc = format.crc32c(piece, crc)
        sums.append(crc)


def _placed(rows: Sequence[Given], lines: Sequence[Lines], sums: Sequence[int], first: int) -> Placed:
    """Where each row lies; `sums` begin with one of each that has any numbers."""
    found: Placed = []
    left = iter(sums)
    for row, one in zip(rows, lines, strict=True):
        crc = next(left) if one.rows.size else 0
        found.append((first, one.h, one.w, crc) if row.status == "ok" else (first, 0, 0, 0))
        first += len(one.rows)
    return found


def _array(layout: Layout, stored: str, plan: int, document: bytes) -> Path:
    """The folder of a feature's array in a plan; its documents are written first, put-once, its own last of all."""
    folder = layout.array(stored, plan)
    if objects.same(folder / "zarr.json", [document]):
        return folder
    name, top = parse_feature(stored), layout.folder
    empty = format.group_document({})
    for group in (top / name.tap, top / name.tap / name.what):
        if objects.put_once(group / "zarr.json", [empty], aside=layout.store):  # zarr warns of a part in a group
            objects.sync_folder(group.parent)
    if not objects.put_once(folder / "zarr.json", [document]) and not objects.same(folder / "zarr.json", [document]):
        raise StoreError(
            f"{folder} has another shape than its plan. Was the store written by a changed encoder? Use "
            "another --store."
        )
    objects.sync_folder(folder.parent)
    return folder
