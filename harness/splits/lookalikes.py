"""Pictures that look alike: pairs of near perceptual hashes. Never reads an image or a label.

The hashes are those of `harness.datasets.looks`. Recompressed, resized and slightly re-shot copies stay within a few
bits of each other; unrelated pictures differ in about 32 of 64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEAR = 8
"""Bits that may differ. On BIQ2021 every pair at this distance was looked at: docs/lookalikes.md."""

_BANDS = 4
_WIDTH = 64 // _BANDS


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
    found = pairs(hashes, hashes, near)
    left, right = (number[[pair[side] for pair in found]] if found else np.empty(0, np.int64) for side in (0, 1))
    joined = coo_array((np.ones(len(left)), (left, right)), shape=(len(names), len(names)))
    _, family = connected_components(joined, directed=False)
    first: dict[int, str] = {}
    for name, member in zip(names.tolist(), family.tolist(), strict=True):  # names are sorted: the first one stays
        first.setdefault(member, name)
    return [first[family[i]] for i in number.tolist()]


def pairs(left: Sequence[str], right: Sequence[str], near: int = NEAR) -> list[Pair]:
    """All pairs (one of each list) whose hashes differ in at most `near` bits, nearest first.

    Two hashes that differ in at most `near` bits differ in at most `near // 4` in one of their four 16-bit bands
    (pigeonhole), so only pictures whose band is that close are compared: time grows with the number of pictures times
    the few that share a band, not with its square.

    Args:
        left, right: hashes as `looks.look` gives them; what is none is like nothing.
    """
    a, b = _numbers(left), _numbers(right)
    here, there = (np.flatnonzero([_is_hash(h) for h in side]) for side in (left, right))
    if not len(here) or not len(there):
        return []
    found: list[NDArray[np.int64]] = []
    masks = _masks(near // _BANDS)
    for band in range(_BANDS):
        shift = np.uint64(band * _WIDTH)
        own = (a[here] >> shift).astype(np.uint16)
        order = there[np.argsort((b[there] >> shift).astype(np.uint16), kind="stable")]
        keys = (b[order] >> shift).astype(np.uint16)
        for mask in masks:
            first = np.searchsorted(keys, own ^ mask, side="left")
            count = np.searchsorted(keys, own ^ mask, side="right") - first
            if count.any():
                i = np.repeat(here, count)
                starts = np.repeat(first - np.r_[0, np.cumsum(count)[:-1]], count)
                j = order[starts + np.arange(len(i))]
                close = np.bitwise_count(a[i] ^ b[j]) <= near
                found.append(np.stack([i[close], j[close]], axis=1))
    unique = np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), np.int64)
    distance = np.bitwise_count(a[unique[:, 0]] ^ b[unique[:, 1]])
    order = np.lexsort((unique[:, 1], unique[:, 0], distance))
    return [Pair(int(i), int(j), int(d)) for (i, j), d in zip(unique[order], distance[order], strict=True)]


def _numbers(hashes: Sequence[str]) -> NDArray[np.uint64]:
    return np.array([int(h, 16) if _is_hash(h) else 0 for h in hashes], dtype=np.uint64)


def _is_hash(text: str) -> bool:
    return len(text) == 16


def _masks(most: int) -> list[np.uint16]:
    """All changes of at most `most` bits of a band."""
    return [
        np.uint16(sum(1 << bit for bit in bits))
        for count in range(most + 1)
        for bits in combinations(range(_WIDTH), count)
    ]
