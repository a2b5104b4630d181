"""Pictures that look alike: perceptual hashes, and pairs of near ones. Decides nothing about them; never reads a label.

The hash is pHash (Zauner 2010, as the package imagehash has it): 64 signs of the low frequencies of a 32x32 grey copy.
Recompressed, resized and slightly re-shot copies stay within a few bits of each other; unrelated pictures differ in
about 32.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
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


def look(data: bytes) -> str:
    """The perceptual hash of an image file: 16 hexadecimal letters, "" where it cannot be decoded.

    A JPEG is decoded at a fraction of its size: the hash needs 32x32 pixels.
    """
    import imagehash
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("L", (128, 128))
            return str(imagehash.phash(ImageOps.exif_transpose(image)))
    except Exception:  # whatever is wrong with a file is said where it is encoded
        return ""


def pairs(left: Sequence[str], right: Sequence[str], near: int = NEAR) -> list[Pair]:
    """All pairs (one of each list) whose hashes differ in at most `near` bits, nearest first.

    Two hashes that differ in at most `near` bits differ in at most `near // 4` in one of their four 16-bit bands
    (pigeonhole), so only pictures whose band is that close are compared: time grows with the number of pictures times
    the few that share a band, not with its square.

    Args:
        left, right: hashes as `look` gives them; "" is like nothing.
    """
    a, b = _numbers(left), _numbers(right)
    here, there = np.flatnonzero([bool(h) for h in left]), np.flatnonzero([bool(h) for h in right])
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
    return np.array([int(h, 16) if h else 0 for h in hashes], dtype=np.uint64)


def _masks(most: int) -> list[np.uint16]:
    """All changes of at most `most` bits of a band."""
    return [
        np.uint16(sum(1 << bit for bit in bits))
        for count in range(most + 1)
        for bits in combinations(range(_WIDTH), count)
    ]
