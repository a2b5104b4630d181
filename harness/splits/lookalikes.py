"""Pictures that look alike: pairs of near perceptual hashes. Never reads an image or a label.

The hashes are those of `harness.datasets.looks`. Recompressed, resized and slightly re-shot copies stay within a few
bits of each other; unrelated pictures differ in about 32 of 64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEAR = 8
"""Bits that may differ. On BIQ2021 every pair at this distance was looked at: docs/lookalikes.md."""

_EDGES = ((0, 16, 32, 48, 64), (0, 22, 43, 64))  # of the bands, for few pictures and for many
_MANY = 200_000
_LETTERS = 16
_AT_ONCE = 1 << 19  # pairs compared at a time: what stays in a processor's cache


class Pair(NamedTuple):
    """Two pictures that look alike, by position in their lists, and the bits in which their hashes differ."""

    left: int
    right: int
    distance: int


class Twin(NamedTuple):
    """A picture that is asked for, and one that looks like it and was learnt from."""

    id: str
    other: str
    distance: int


def twins(asked: Mapping[str, str], learnt: Mapping[str, str], near: int = NEAR) -> list[Twin]:
    """Asked pictures that look like one that was learnt from, nearest first.

    Args:
        asked, learnt: id -> hash.
    """
    left, right = list(asked), list(learnt)
    found = pairs(list(asked.values()), list(learnt.values()), near)
    return [Twin(left[pair.left], right[pair.right], pair.distance) for pair in found]


def families(groups: Sequence[str], hashes: Sequence[str], near: int = NEAR) -> list[str]:
    """Groups that also hold look-alikes together: for each row the first name of all groups that hang together.

    Args:
        groups, hashes: of each row.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, number = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    left, right, _ = _near(_numbers(hashes), _numbers(hashes), near)
    left, right = number[left], number[right]
    joined = coo_array((np.ones(len(left)), (left, right)), shape=(len(names), len(names)))
    _, family = connected_components(joined, directed=False)
    first: dict[int, str] = {}
    for name, member in zip(names.tolist(), family.tolist(), strict=True):  # names are sorted: the first one stays
        first.setdefault(member, name)
    return [first[family[i]] for i in number.tolist()]


def pairs(left: Sequence[str], right: Sequence[str], near: int = NEAR) -> list[Pair]:
    """All pairs (one of each list) whose hashes differ in at most `near` bits, nearest first.

    Two hashes that differ in at most `near` bits differ in at most `near // 3` in one of three bands (pigeonhole), so
    only pictures whose band is that close are compared. Wide bands cost more looks and fewer comparisons: four of 16
    bits for few pictures, three of 21 or 22 for many, where one pair in three thousand is compared.

    Args:
        left, right: hashes as `looks.look` gives them; what is none is like nothing.
    """
    found = (side.tolist() for side in _near(_numbers(left), _numbers(right), near))
    return [Pair(*row) for row in zip(*found, strict=True)]


class _Hashes(NamedTuple):
    """Those that are hashes: which rows, and their bits."""

    rows: NDArray[np.int64]
    bits: NDArray[np.uint64]


def _numbers(hashes: Sequence[str]) -> _Hashes:
    rows = np.flatnonzero(np.fromiter((len(text) == _LETTERS for text in hashes), np.bool_, len(hashes)))
    bits = bytes.fromhex("".join(text for text in hashes if len(text) == _LETTERS))
    return _Hashes(rows, np.frombuffer(bits, dtype=">u8").astype(np.uint64))


def _near(left: _Hashes, right: _Hashes, near: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of both sides and the bits in which they differ, as three arrays, nearest first."""
    keys: list[NDArray[np.int64]] = []
    edges = _EDGES[len(right.bits) > _MANY]
    for first, end in pairwise(edges):
        keys += _close(left.bits, right.bits, first, end - first, near, near // (len(edges) - 1))
    one, other = np.divmod(np.unique(np.concatenate([np.empty(0, np.int64), *keys])), max(len(right.bits), 1))
    distance = np.bitwise_count(left.bits[one] ^ right.bits[other]).astype(np.int64)
    order = np.argsort(distance, kind="stable")
    return left.rows[one[order]], right.rows[other[order]], distance[order]


def _close(
    left: NDArray[np.uint64], right: NDArray[np.uint64], first: int, width: int, near: int, most: int
) -> Iterator[NDArray[np.int64]]:
    """Pairs at most `near` bits apart, and at most `most` in this band, as `row of left * n + row of right`."""
    mine, theirs = (
        ((side >> np.uint64(first)) & np.uint64((1 << width) - 1)).astype(np.int32) for side in (left, right)
    )
    # Both sides in the order of their band, so that what is read together lies together.
    own, order = np.argsort(mine, kind="stable"), np.argsort(theirs, kind="stable")
    band, bits, others = mine[own], left[own], right[order]
    count = np.bincount(theirs, minlength=1 << width).astype(np.int32)
    start = np.cumsum(count) - count
    for mask in _masks(most, width):
        asked = band ^ mask
        many = count[asked]
        rows = np.flatnonzero(many)
        for some in _portions(many[rows]):
            part = rows[some]
            times, ends = many[part], np.cumsum(many[part])
            j = np.arange(ends[-1]) + np.repeat(start[asked[part]] - (ends - times), times)
            hit = np.flatnonzero(np.bitwise_count(np.repeat(bits[part], times) ^ others[j]) <= near)
            if len(hit):
                yield own[part[np.searchsorted(ends, hit, side="right")]] * len(right) + order[j[hit]]


def _portions(many: NDArray[np.int32]) -> Iterator[slice]:
    """Runs of rows that have about `_AT_ONCE` pairs together."""
    total = np.cumsum(many, dtype=np.int64)
    cuts = np.arange(_AT_ONCE, total[-1], _AT_ONCE) if len(many) else []
    ends = np.unique([*np.searchsorted(total, cuts).tolist(), len(many)]).tolist()
    for begin, end in pairwise([0, *ends]):
        if end > begin:
            yield slice(begin, end)


def _masks(most: int, width: int) -> list[np.int32]:
    """All changes of at most `most` bits of a band."""
    return [
        np.int32(sum(1 << bit for bit in bits))
        for count in range(most + 1)
        for bits in combinations(range(width), count)
    ]
