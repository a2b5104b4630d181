"""Shards mapped into memory: where the rows of a block lie, as one array. Checks nothing, writes nothing."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache import format
from cache.errors import StoreError
from cache.features import parse_feature
from cache.forms import form_of
from cache.layout import Layout

ADVICE = (
    "Run `harness stores verify`, which plans what is damaged anew, then the same `harness precompute` again: it makes "
    "just that."
)
MADV_POPULATE_READ = 22  # of <linux/mman.h>; Python has no name for it
MOST_OPEN = 512  # a mapping holds a file handle, and a process has 1,024 of them


class Span(NamedTuple):
    """Where one image's feature lies: plan and block, absolute row offset, grid, crc32c of its bytes, and its rows."""

    plan: int
    block: int
    offset: int
    h: int
    w: int
    crc32c: int
    rows: int


class Shard(NamedTuple):
    """One shard: its rows, and what else is needed to find and judge them.

    Attributes:
        rows: (n, width), read-only; fewer than were written where the file is torn.
        raw: all bytes of the file.
        capacity: rows a shard of this array.
        file: absolute path, as text.
        mapped: the mapping itself.
    """

    rows: NDArray[Any]
    raw: NDArray[np.uint8]
    capacity: int
    inner: int
    file: str
    mapped: mmap.mmap


class Shards:
    """The shards of a store, mapped on first use; the least used are let go."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._open: OrderedDict[tuple[str, int, int], Shard] = OrderedDict()
        self._shapes: dict[tuple[str, int], tuple[int, int, int]] = {}

    def file(self, stored: str, plan: int, block: int) -> Path:
        """Where a block's shard of a feature lies."""
        return self.layout.array(stored, plan) / format.shard_name(block)

    def get(self, stored: str, plan: int, block: int) -> Shard:
        """A block's shard of a stored feature.

        Raises:
            StoreError: the shard or its array's document is not there or cannot be read.
        """
        key = (stored, plan, block)
        found = self._open.get(key)
        if found is None:
            found = self._open[key] = self._map(stored, plan, block)
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(key)
        return found

    def _map(self, stored: str, plan: int, block: int) -> Shard:
        if (stored, plan) not in self._shapes:
            self._shapes[stored, plan] = self.layout.shape_of(stored, plan)
        capacity, width, inner = self._shapes[stored, plan]
        file = self.file(stored, plan, block)
        try:
            handle = os.open(file, os.O_RDONLY)
            try:
                mapped = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(handle)
        except (OSError, ValueError) as error:  # an empty file is a ValueError
            raise StoreError(f"Expected a shard at {file}, found none that can be read ({error}). {ADVICE}") from error
        raw = np.frombuffer(mapped, np.uint8)
        dtype = form_of(parse_feature(stored).what).dtype
        line = width * dtype.itemsize
        whole = max(0, len(raw) - (16 * (capacity // inner) + 4)) // line
        rows = raw[: whole * line].view(dtype).reshape(whole, width)
        return Shard(rows, raw, capacity, inner, str(file.absolute()), mapped)


def fetch(shard: Shard, first: int, count: int) -> None:
    """Brings rows that are read for the first time into memory in one go, where the system can: from a cold disk that
    is faster than reading the file, on a warm one it saves the page faults.
    """
    line = shard.rows.shape[1] * shard.rows.itemsize
    start = first * line // mmap.PAGESIZE * mmap.PAGESIZE
    length = min((first + count) * line, len(shard.raw)) - start
    if sys.platform == "linux" and first >= 0 and length > mmap.PAGESIZE:
        with contextlib.suppress(OSError):  # Linux before 5.14 has no such advice; then pages come one by one
            shard.mapped.madvise(MADV_POPULATE_READ, start, length)
