"""Plans (which image goes to which block) and commits (what a block holds), as Parquet. Never touches features.

A plan orders images by oriented size and id, so that equal sizes meet in one batch, and cuts them into blocks of fixed
bounds: a store has the same bytes whoever makes it. A commit is written last and holds nothing that differs between
makers; a block without a commit does not exist.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache import objects
from cache.errors import StoreError
from cache.features import FeatureName

MOST_ROWS = 256
MOST_ROWS_HEAVY = 32
MOST_PIXELS = 128_000_000


class PlanItem(NamedTuple):
    """One image as it was when planned; width and height are 0 where its header could not be read."""

    id: str
    path: str
    sha256: str
    size: int
    mtime: int
    width: int
    height: int


class Plan(msgspec.Struct, frozen=True):
    """Images in blocks: `blocks[b]` lists the items of block b, in the order of their rows."""

    number: int
    blocks: tuple[tuple[PlanItem, ...], ...]


class CommitRow(NamedTuple):
    """One image of a committed block; offset (absolute, in rows of the array), grid and crc32c a feature."""

    id: str
    sha256: str
    width: int
    height: int
    status: str
    reason: str
    row: int
    offset: list[int]
    h: list[int]
    w: list[int]
    crc32c: list[int]


class Commit(NamedTuple):
    """What one commit says of a block."""

    plan: int
    block: int
    features: tuple[str, ...]
    rows: tuple[CommitRow, ...]


class BlockTask(NamedTuple):
    """A block that has no commit for these features yet."""

    plan: int
    block: int
    items: tuple[PlanItem, ...]
    features: tuple[FeatureName, ...]


def cut(items: Iterable[PlanItem], heavy: bool) -> tuple[tuple[PlanItem, ...], ...]:
    """Items in plan order, cut into blocks of at most 256 rows (32 for a heavy encoder) and 128 megapixels."""
    most = MOST_ROWS_HEAVY if heavy else MOST_ROWS
    blocks: list[tuple[PlanItem, ...]] = []
    block: list[PlanItem] = []
    pixels = 0
    for item in sorted(items, key=lambda i: (i.width, i.height, i.id)):
        area = item.width * item.height
        if block and (len(block) == most or pixels + area > MOST_PIXELS):
            blocks.append(tuple(block))
            block, pixels = [], 0
        block.append(item)
        pixels += area
    return (*blocks, tuple(block)) if block else tuple(blocks)


_PLAN_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("crop", pa.int32()),
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("size", pa.int64()),
        ("mtime", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("block", pa.int32()),
    ]
)


def write_plan(folder: Path, plan: Plan) -> bool:
    """Writes `plan/<p>.parquet`, put-once; False if that number is taken."""
    rows = [(*item, number) for number, block in enumerate(plan.blocks) for item in block]
    columns = list(zip(*rows, strict=True))
    arrays = [columns[0], [0] * len(rows), *columns[1:]]
    table = pa.table([pa.array(a, f.type) for a, f in zip(arrays, _PLAN_SCHEMA, strict=True)], schema=_PLAN_SCHEMA)
    file = folder / f"{plan.number}.parquet"
    written = objects.put_once(file, [_parquet(table, {"plan": plan.number, "replaces": []})])
    objects.sync_folder(folder)  # a commit that outlives its plan stands for nothing
    return written


def read_plan(path: Path) -> Plan:
    """Reads one plan.

    Raises:
        StoreError: damaged, or another plan than its name says.
    """
    table, facts = _read(path, _PLAN_SCHEMA)
    if str(facts.get("plan")) != path.stem:
        raise StoreError(_damaged(path, f"plan {facts.get('plan')}"))
    columns = table.to_pydict()
    blocks: dict[int, list[PlanItem]] = {}
    for *item, block in zip(*(columns[n] for n in PlanItem._fields), columns["block"], strict=True):
        blocks.setdefault(block, []).append(PlanItem(*item))
    return Plan(int(facts["plan"]), tuple(tuple(blocks[b]) for b in sorted(blocks)))


_COMMIT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("crop", pa.int32()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("row", pa.int64()),
        ("offset", pa.list_(pa.int64())),
        ("h", pa.list_(pa.int32())),
        ("w", pa.list_(pa.int32())),
        ("crc32c", pa.list_(pa.uint32())),
    ]
)


def write_commit(folder: Path, commit: Commit) -> None:
    """Writes `blocks/<p>-<block>.<n>.parquet` under the lowest free n, unless a commit that covers its features is
    there.
    """
    columns = list(zip(*commit.rows, strict=True))
    arrays = [columns[0], [0] * len(commit.rows), *columns[1:]]
    table = pa.table([pa.array(a, f.type) for a, f in zip(arrays, _COMMIT_SCHEMA, strict=True)], schema=_COMMIT_SCHEMA)
    content = _parquet(table, {"plan": commit.plan, "block": commit.block, "features": list(commit.features)})
    n = 0
    while not objects.put_once(folder / f"{commit.plan}-{commit.block}.{n}.parquet", [content]):
        with contextlib.suppress(StoreError):  # a damaged commit stands for nothing; ours gets the next number
            if set(commit.features) <= set(read_commit(folder / f"{commit.plan}-{commit.block}.{n}.parquet").features):
                return
        n += 1
    objects.sync_folder(folder)


def read_commit(path: Path) -> Commit:
    """Reads one commit and checks its digest.

    Raises:
        StoreError: torn, flipped, or another block's than its name says.
    """
    table, facts = _read(path, _COMMIT_SCHEMA)
    if f"{facts.get('plan')}-{facts.get('block')}" != path.stem.partition(".")[0]:
        raise StoreError(_damaged(path, f"the commit of block {facts.get('plan')}-{facts.get('block')}"))
    columns = table.to_pydict()
    rows = tuple(CommitRow(*values) for values in zip(*(columns[n] for n in CommitRow._fields), strict=True))
    return Commit(int(facts["plan"]), int(facts["block"]), tuple(facts["features"]), rows)


def _parquet(table: pa.Table, facts: dict[str, Any]) -> bytes:
    text = json.dumps(facts, sort_keys=True)
    table = table.replace_schema_metadata({"facts": text, "sha256": _digest(table, text)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True, compression="zstd", store_schema=True)
    return sink.getvalue().to_pybytes()


def _read(path: Path, schema: pa.Schema) -> tuple[pa.Table, dict[str, Any]]:
    """A table and its facts, if both are what was written; a footer has no checksum of its own, the digest covers
    it.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        facts = (table.schema.metadata or {})[b"facts"].decode()
        stated = (table.schema.metadata or {})[b"sha256"].decode()
        if not table.schema.equals(schema):
            raise StoreError(_damaged(path, "other columns"))
        if _digest(table, facts) != stated:
            raise StoreError(_damaged(path, "content that does not fit its digest"))
        return table, json.loads(facts)
    except (FileNotFoundError, StoreError):
        raise
    except Exception as error:  # a flipped byte can make Parquet's reader fail in any way
        raise StoreError(_damaged(path, str(error).split("\n")[0])) from error


def _damaged(path: Path, found: str) -> str:
    return (
        f"Expected a whole file at {path}, found {found}. Move that file away and run `harness precompute` again: "
        "it encodes what the file stood for, and nothing else."
    )


def _digest(table: pa.Table, facts: str) -> str:
    """sha256 over names, content and metadata; independent of how Parquet lays them out."""
    digest = hashlib.sha256(facts.encode())
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        digest.update(f"\n{name}\n".encode())
        if pa.types.is_string(column.type):
            digest.update(json.dumps(column.to_pylist()).encode())
        elif pa.types.is_list(column.type):
            digest.update(np.asarray(column.value_lengths()).astype("<i8").tobytes())
            digest.update(np.ascontiguousarray(column.flatten().to_numpy(zero_copy_only=False)).tobytes())
        else:
            digest.update(np.ascontiguousarray(column.to_numpy(zero_copy_only=False)).tobytes())
    return digest.hexdigest()


def listed(folder: Path) -> Sequence[tuple[int, int, int, Path]]:
    """Commit files as (plan, block, n, path), sorted."""
    found: list[tuple[int, int, int, Path]] = []
    for path in folder.glob("*.parquet"):
        block, _, n = path.stem.partition(".")
        plan, _, number = block.partition("-")
        if plan.isdecimal() and number.isdecimal() and n.isdecimal():
            found.append((int(plan), int(number), int(n), path))
    return sorted(found)
