"""`Features`: rows of named features, read by memory map, checked by crc32c, gathered by equal grid. Never writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache import format
from cache.errors import StoreError
from cache.features import MAP, parse_feature
from cache.forms import Lines, from_lines
from cache.memory import Batch, EncodedRow, InMemory, Rows, gather
from cache.shards import ADVICE, Shard, Shards, Span, fetch

__all__ = ["Batch", "Check", "EncodedRow", "Features", "InMemory", "Rows", "Span", "gather"]

Check = Literal["always", "first", "never"]

PIECE = 128 << 10  # bytes
TOGETHER = 256  # rows that are mapped at once: each may be of another file, and a process has 1,024 handles
_checked: set[tuple[str, int]] = set()  # (file, first row): what this process has found whole


class Found(NamedTuple):
    """A row's bytes, mapped; `key` remembers them as checked: the file, and the first row in it."""

    rows: NDArray[Any]
    key: tuple[str, int]
    shard: Shard


class Features:
    """Rows of features by id, over one store; nothing is read before it is asked for.

    Attributes:
        ids: the rows.
        names: the features that every row has.
        check: when a row's checksum is compared: always, on the first read in this process, or never.
    """

    def __init__(
        self,
        shards: Shards,
        ids: list[str],
        names: list[str],
        spans: dict[str, list[Span]],
        stored: dict[str, str],
        widths: dict[str, int],
        identity: str,
        again: Callable[[], Mapping[str, Mapping[str, Span]]],
        images: list[tuple[int, int]],
        shown: Callable[[int, int], tuple[int, int]],
        check: Check = "first",
    ) -> None:
        self.ids, self.names = ids, names
        self.check: Check = check
        self._shards, self._spans, self._stored = shards, spans, stored
        self._widths, self._identity = widths, identity
        self._again = again  # looks at the disk again: where everything lies now
        self._images, self._shown = images, shown

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def digest(self) -> str:
        """sha256 of what these features mean: the store's identity and the stored names; not of which rows."""
        stored = sorted(self._stored[n] for n in self.names)
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

    def sizes(self) -> NDArray[np.int64]:
        """(n, 4), pixels: width and height of every row's image as decoded (orientation applied), then as the view
        resized it (`View.size`; crops and tiles are cut from that). Their ratio is the scale.
        """
        known = {size: (*size, *self._shown(*size)) for size in set(self._images)}
        return np.array([known[size] for size in self._images], dtype=np.int64).reshape(-1, 4)

    def take(self, rows: Rows) -> Features:
        """The given rows, in the given order."""
        return Features(
            self._shards,
            [self.ids[i] for i in rows],
            self.names,
            {n: [spans[i] for i in rows] for n, spans in self._spans.items()},
            self._stored,
            self._widths,
            self._identity,
            self._again,
            [self._images[i] for i in rows],
            self._shown,
            self.check,
        )

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
        """One map, (h, w, C) float16: a read-only view of the file, unless it is stored as `map8`."""
        span = self._spans[name][row]
        return from_lines(parse_feature(name).what, Lines(self.stored(name, row), span.h, span.w))

    def summary(self, name: str, row: int) -> NDArray[np.float32]:
        """One row of a summary, (d,) float32, a read-only view of the file."""
        return self.stored(name, row)[0]

    def file(self, name: str, row: int) -> Path:
        """The shard that a row lies in."""
        span = self._spans[name][row]
        return self._shards.file(self._stored[name], span.plan, span.block)

    def batches(self, name: str, rows: Iterable[Rows]) -> Iterator[Batch]:
        """For each array of rows one batch: (positions in it, maps (g, h, w, C) float16) a grid."""
        spans = self._spans[name]
        for wanted in rows:
            groups: dict[tuple[int, int], list[int]] = {}
            for position, i in enumerate(wanted):
                groups.setdefault((spans[i].h, spans[i].w), []).append(position)
            batch: Batch = []
            for (h, w), members in groups.items():
                out = np.empty((len(members), h, w, self._widths[name]), np.float16)
                positions = np.array(members, dtype=np.int64)
                self.read_into(name, wanted[positions], out)
                batch.append((positions, out))
            yield batch

    def read_into(self, name: str, rows: Rows, out: NDArray[np.float16]) -> None:
        """Maps of one grid copied into `out` (n, h, w, C), contiguous; one that is used again costs no new memory."""
        lines = out.reshape(len(out), -1)
        if parse_feature(name).what != MAP:
            for k, row in enumerate(rows.tolist()):
                lines[k] = self.map(name, row).reshape(-1)
            return
        for start in range(0, len(rows), TOGETHER):
            some = slice(start, start + TOGETHER)
            self._copy(name, rows[some].tolist(), lines[some])

    def _copy(self, name: str, rows: list[int], lines: NDArray[np.float16]) -> None:
        """Maps that lie as they are read, each into a line of memory."""
        found = [self._found(name, row) for row in rows]
        if not any(self._to_check(one.key) for one in found):
            # In one call: between two copies of 2 MB, all that Python touches has to be brought into the cache again.
            np.concatenate([one.rows.reshape(-1) for one in found], out=lines.reshape(-1))
            return
        for row, one, line in zip(rows, found, lines, strict=True):
            if self._to_check(one.key):
                self._copy_checked(name, row, one, line)
            else:
                line[:] = one.rows.reshape(-1)

    def _copy_checked(self, name: str, row: int, found: Found, line: NDArray[np.float16]) -> None:
        """A map that lies as it is read, into a line of memory, piece by piece: what was just copied is still in the
        processor's cache when its checksum is taken, which is that of what is handed out.
        """
        fetch(found.shard, found.key[1], len(found.rows))
        bytes_found, bytes_given, crc = found.rows.reshape(-1).view(np.uint8), line.view(np.uint8), 0
        for start in range(0, len(bytes_given), PIECE):
            piece = bytes_given[start : start + PIECE]
            piece[:] = bytes_found[start : start + PIECE]
            crc = format.crc32c(piece, crc)
        self._compare(name, row, crc, found.key)

    def problem(self, name: str, row: int) -> str:
        """What is wrong with a row's bytes or its shard's index, read now; "" where nothing is."""
        span = self._spans[name][row]
        try:
            shard = self._shards.get(self._stored[name], span.plan, span.block)
        except StoreError:
            return "the shard or its array's document is missing or cannot be read"
        found = _rows_of(shard, span).rows
        if len(found) != span.rows:
            return "the shard is truncated"
        if format.crc32c(found) != span.crc32c:
            return "other bytes than were written (checksum)"
        if not format.index_is_whole(shard.raw, shard.capacity, shard.inner):
            return "the shard's index is damaged (checksum)"
        return ""

    def stored(self, name: str, row: int) -> NDArray[Any]:
        """One row's feature as it lies in its array, (n, width), checked."""
        found = self._found(name, row)
        if self._to_check(found.key):
            fetch(found.shard, found.key[1], len(found.rows))
            self._compare(name, row, format.crc32c(found.rows), found.key)
        return found.rows

    def _found(self, name: str, row: int) -> Found:
        """Where a row's bytes are mapped; all of its rows are there."""
        shard = self._shard(name, row)
        span = self._spans[name][row]  # after the shard, which may have been found elsewhere
        found = _rows_of(shard, span)
        if len(found.rows) != span.rows:
            raise self._damaged(name, row, "a truncated shard")
        return found

    def _to_check(self, key: tuple[str, int]) -> bool:
        return self.check == "always" or (self.check == "first" and key not in _checked)

    def _compare(self, name: str, row: int, crc: int, key: tuple[str, int]) -> None:
        """Remembers a row as whole, or says that it is not."""
        if crc != self._spans[name][row].crc32c:
            raise self._damaged(name, row, "others (checksum)")
        _checked.add(key)

    def _shard(self, name: str, row: int) -> Shard:
        """The shard of a row. One that has gone may have been compacted away: then its bytes are elsewhere now."""
        stored, span = self._stored[name], self._spans[name][row]
        try:
            return self._shards.get(stored, span.plan, span.block)
        except StoreError:
            now = self._again()
            for i, image_id in enumerate(self.ids):
                found = now.get(image_id, {}).get(stored)
                if found is not None and found.crc32c == self._spans[name][i].crc32c:
                    self._spans[name][i] = found
            moved = self._spans[name][row]
            if moved == span:
                if now.get(self.ids[row], {}).get(stored, span) != span:
                    raise StoreError(
                        f"{self.file(name, row)}: expected the rows of {self.ids[row]!r} as they were when this was "
                        "opened; it was encoded anew since, and what it was has gone. Open the store again."
                    ) from None
                raise
            return self._shards.get(stored, moved.plan, moved.block)

    def _damaged(self, name: str, row: int, found: str) -> StoreError:
        return StoreError(
            f"{self.file(name, row)}: expected the bytes that were written for {self.ids[row]!r} ({name}), found "
            f"{found}. {ADVICE}"
        )


def _rows_of(shard: Shard, span: Span) -> Found:
    """The rows of a span; fewer where the shard is torn."""
    first = span.offset - span.block * shard.capacity
    rows = shard.rows[first : first + span.rows] if first >= 0 else shard.rows[:0]  # else the commit lies
    return Found(rows, (shard.file, first), shard)
