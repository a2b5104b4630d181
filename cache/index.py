"""The commit index: all commits of a store in one file, for speed. Never the truth: what it says counts only for a
commit file that is there and has the size and time that the index saw; without it, or with a damaged one, the commits
are read one by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from cache import blocks, objects, tables
from cache.blocks import Commit
from cache.errors import StoreError

FEWEST = 256  # commits that no index names, before a new one is worth its bytes
Stamp = tuple[int, int]


def stamp(file: Path) -> Stamp | None:
    """Size and time of a file; None where it is gone."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns


def is_due(unindexed: int, indexed: int) -> bool:
    """Whether a new index pays: the old one is read in a blink, each other commit costs most of a millisecond."""
    return unindexed > max(FEWEST, indexed // 2)


def read(folder: Path) -> dict[str, tuple[Stamp, Commit]]:
    """File name of a commit -> its stamp and what it says, from the newest index that is whole; empty if there is
    none.
    """
    for file in sorted(_files(folder), key=lambda f: -int(f.stem)):
        with contextlib.suppress(StoreError, OSError, LookupError, TypeError, ValueError):
            table, facts = tables.read(file, blocks.COMMIT_SCHEMA)
            rows, found, first = blocks.commit_rows(table), {}, 0
            for name, size, time, plan, block, features, count in facts["commits"]:
                commit = Commit(plan, block, tuple(features), tuple(rows[first : first + count]))
                found[name] = ((size, time), commit)
                first += count
            return found
    return {}


def write(folder: Path, commits: Mapping[Path, tuple[Stamp, Commit]]) -> None:
    """Writes `index/<k>.parquet` with the next number and takes older ones away. A disk that is full or read-only
    costs speed, nothing else.

    Args:
        commits: what each file said, and its stamp when it was read; one that has gone or changed since is left out.
    """
    there = [(f, seen, commit) for f, (seen, commit) in sorted(commits.items()) if stamp(f) == seen]
    facts = [[f.name, *seen, c.plan, c.block, list(c.features), len(c.rows)] for f, seen, c in there]
    table: pa.Table = blocks.commit_table([commit for _, _, commit in there])
    older = _files(folder)
    number = 1 + max((int(file.stem) for file in older), default=0)
    with contextlib.suppress(StoreError, OSError):
        objects.put_once(folder / f"{number}.parquet", [tables.parquet(table, {"commits": facts})])
        drop(folder, older)


def drop(folder: Path, files: list[Path] | None = None) -> None:
    """Takes index files away (all of them)."""
    for file in _files(folder) if files is None else files:
        with contextlib.suppress(OSError):
            file.unlink()


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.parquet") if file.stem.isdecimal()]
