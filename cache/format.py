"""The on-disk format, version 1: paths, Zarr v3 documents and shard bytes. Never decides what is stored where.

Shards are written by hand, in one go: uncompressed inner chunks in order, then the index (offset and length of each as
little-endian 64-bit numbers, all ones where a chunk is absent), then the index's crc32c. zarr-python and tensorstore
read them; so does a memory map, since the rows of a block lie one behind the other from byte 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from awscrt import checksums
from numpy.typing import NDArray

from cache.forms import Form

FORMAT = 1
SUMMARY_CHUNK = 8
CHUNK_BYTES = 128 * 1024
ABSENT = np.uint64(2**64 - 1)
Part = NDArray[np.uint8]


def array_path(tap: str, what: str, plan: int) -> str:
    """`neck/map/1`, below `features/`; `what` of a summary carries its revision (`moments.1`)."""
    return f"{tap}/{what}/{plan}"


def shard_name(block: int) -> str:
    """The file of a block in every array of its plan."""
    return f"c.{block}.0"


def inner_rows(width: int, form: Form) -> int:
    """Rows of an inner chunk: of a map the power of two nearest 128 KiB, of a summary 8."""
    if not form.by_token:
        return SUMMARY_CHUNK
    return 1 << max(0, round(math.log2(CHUNK_BYTES / (form.dtype.itemsize * width))))


def capacity(most: int, inner: int) -> int:
    """Rows of a shard: the most rows that any block of the plan has, rounded up to whole inner chunks, at least one."""
    return max(1, -(-most // inner)) * inner


@lru_cache
def array_document(blocks: int, rows: int, width: int, inner: int, form: Form) -> bytes:
    """`zarr.json` of one plan's array: a function of plan and feature alone, so that whoever comes first writes the
    same.
    """
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    document: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [blocks * rows, width],
        "data_type": form.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [rows, width]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": form.fill,
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [inner, width],
                    "codecs": [little],
                    "index_codecs": [little, {"name": "crc32c"}],
                    "index_location": "end",
                },
            }
        ],
        "dimension_names": ["token" if form.by_token else "row", "channel"],
        "attributes": {},
    }
    return _json(document)


def group_document(attributes: dict[str, Any]) -> bytes:
    """`zarr.json` of a group."""
    return _json({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True).encode()


def shard_parts(rows: Sequence[NDArray[Any]], width: int, capacity_rows: int, inner: int, form: Form) -> list[Part]:
    """The bytes of one shard, in parts that are not copied together: one of each array that has any numbers, then the
    rest.

    Args:
        rows: arrays (n_i, width) that follow each other from row 0.
    """
    parts: list[Part] = [np.ascontiguousarray(a, form.dtype).reshape(-1).view(np.uint8) for a in rows if a.size]
    used = sum(len(a) for a in rows)
    chunks = -(-used // inner)
    padding = np.full((chunks * inner - used, width), float(form.fill), dtype=form.dtype)
    if padding.size:
        parts.append(padding.reshape(-1).view(np.uint8))
    size = inner * width * form.dtype.itemsize
    index = np.full((capacity_rows // inner, 2), ABSENT, dtype="<u8")
    index[:chunks, 0] = np.arange(chunks, dtype=np.uint64) * np.uint64(size)
    index[:chunks, 1] = size
    raw = index.reshape(-1).view(np.uint8)
    return [*parts, raw, np.frombuffer(crc32c(raw).to_bytes(4, "little"), np.uint8)]


def index_is_whole(shard: NDArray[np.uint8], capacity_rows: int, inner: int) -> bool:
    """Whether the index at a shard's end has its checksum; rows are read without it, zarr needs it."""
    size = 16 * (capacity_rows // inner)
    index, stated = shard[-size - 4 : -4], shard[-4:].tobytes()
    return len(index) == size and crc32c(index) == int.from_bytes(stated, "little")


def crc32c(values: NDArray[Any], before: int = 0) -> int:
    """crc32c of an array's bytes; of more of them, with that of the bytes before."""
    held: Any = np.ascontiguousarray(values)  # declared as bytes, taken as any contiguous buffer, without a copy
    return checksums.crc32c(held, before)
