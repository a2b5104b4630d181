"""Plans (which image goes to which block) and commits (what a block holds), as Parquet. Never touches features.

A plan orders images by oriented size and id, so that equal sizes meet in one batch, and cuts them into blocks of fixed
bounds: a store has the same bytes whoever makes it. A commit is written last and holds nothing that differs between
makers; a block without a commit does not exist.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from cache import objects, tables
from cache.errors import StoreError
from cache.features import FeatureName, parse_feature
from cache.forms import Form, form_of

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
    """Images in blocks.

    Attributes:
        blocks: `blocks[b]` lists the items of block b, in the order of their rows.
        replaces: plans that this one takes the place of, once all its blocks are committed.
        rank: of two plans that have an image, the higher (rank, number) counts; 0 means the number. What is written
            together anew is no newer than it was, so it inherits the rank.
        copied: stored features that each block begins with, where it was not made by an encoder.
        capacity: rows a shard of those features, which no encoder can be asked for.
    """

    number: int
    blocks: tuple[tuple[PlanItem, ...], ...]
    replaces: tuple[int, ...] = ()
    rank: int = 0
    copied: tuple[tuple[str, ...], ...] = ()
    capacity: dict[str, int] = {}

    @property
    def order(self) -> tuple[int, int]:
        """What decides between two plans that have the same image."""
        return self.rank or self.number, self.number


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

    @property
    def forms(self) -> list[Form]:
        """How each of the features lies on the disk."""
        return [form_of(parse_feature(stored).what) for stored in self.features]


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
    columns = list(zip(*rows, strict=True)) or [()] * (len(_PLAN_SCHEMA) - 1)
    arrays = [columns[0], [0] * len(rows), *columns[1:]]
    table = pa.table([pa.array(a, f.type) for a, f in zip(arrays, _PLAN_SCHEMA, strict=True)], schema=_PLAN_SCHEMA)
    facts: dict[str, Any] = {"plan": plan.number, "replaces": list(plan.replaces)}
    if plan.rank or plan.copied:
        facts |= {"rank": plan.rank, "copied": [list(names) for names in plan.copied], "capacity": plan.capacity}
    file = folder / f"{plan.number}.parquet"
    written = objects.put_once(file, [tables.parquet(table, facts)])
    objects.sync_folder(folder)  # a commit that outlives its plan stands for nothing
    return written


def read_plan(path: Path) -> Plan:
    """Reads one plan.

    Raises:
        StoreError: damaged, or another plan than its name says.
    """
    table, facts = tables.read(path, _PLAN_SCHEMA)
    if str(facts.get("plan")) != path.stem:
        raise StoreError(tables.damaged(path, f"plan {facts.get('plan')}"))
    columns = table.to_pydict()
    blocks: dict[int, list[PlanItem]] = {}
    for *item, block in zip(*(columns[n] for n in PlanItem._fields), columns["block"], strict=True):
        blocks.setdefault(block, []).append(PlanItem(*item))
    return Plan(
        int(facts["plan"]),
        tuple(tuple(blocks[b]) for b in sorted(blocks)),
        tuple(facts["replaces"]),
        facts.get("rank", 0),
        tuple(tuple(names) for names in facts.get("copied", [])),
        facts.get("capacity", {}),
    )


COMMIT_SCHEMA = pa.schema(
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


def write_commit(folder: Path, commit: Commit) -> tuple[Path, Commit]:
    """Writes `blocks/<p>-<block>.<n>.parquet` under the lowest free n, unless a commit that covers its features is
    there; returns the one that stands for them now, and its file.
    """
    facts = {"plan": commit.plan, "block": commit.block, "features": list(commit.features)}
    content = tables.parquet(commit_table([commit]), facts)
    n = 0
    while True:
        file = folder / f"{commit.plan}-{commit.block}.{n}.parquet"
        if objects.put_once(file, [content]):
            objects.sync_folder(folder)
            return file, commit
        with contextlib.suppress(StoreError):  # a damaged commit stands for nothing; ours gets the next number
            found = read_commit(file)
            if set(commit.features) <= set(found.features):
                return file, found
        n += 1


def commit_table(commits: Iterable[Commit]) -> pa.Table:
    """The rows of commits, one after the other."""
    rows = [row for commit in commits for row in commit.rows]
    columns = list(zip(*rows, strict=True)) or [()] * (len(COMMIT_SCHEMA) - 1)
    arrays = [columns[0], [0] * len(rows), *columns[1:]]
    return pa.table([pa.array(a, f.type) for a, f in zip(arrays, COMMIT_SCHEMA, strict=True)], schema=COMMIT_SCHEMA)


def commit_rows(table: pa.Table) -> list[CommitRow]:
    """The rows of a table as `commit_table` makes it."""
    columns = table.to_pydict()
    return [CommitRow(*values) for values in zip(*(columns[n] for n in CommitRow._fields), strict=True)]


def read_commit(path: Path) -> Commit:
    """Reads one commit and checks its digest.

    Raises:
        StoreError: torn, flipped, or another block's than its name says.
    """
    table, facts = tables.read(path, COMMIT_SCHEMA)
    if f"{facts.get('plan')}-{facts.get('block')}" != path.stem.partition(".")[0]:
        raise StoreError(tables.damaged(path, f"the commit of block {facts.get('plan')}-{facts.get('block')}"))
    return Commit(int(facts["plan"]), int(facts["block"]), tuple(facts["features"]), tuple(commit_rows(table)))


def listed(folder: Path) -> Sequence[tuple[int, int, int, Path]]:
    """Commit files as (plan, block, n, path), sorted."""
    found: list[tuple[int, int, int, Path]] = []
    for path in folder.glob("*.parquet"):
        block, _, n = path.stem.partition(".")
        plan, _, number = block.partition("-")
        if plan.isdecimal() and number.isdecimal() and n.isdecimal():
            found.append((int(plan), int(number), int(n), path))
    return sorted(found)
