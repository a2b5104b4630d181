"""Takes away files that no plan of a store stands for. Decides nothing about plans, copies nothing."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from cache import blocks, objects
from cache.store import FeatureStore

PART_AGE = 86_400.0  # seconds after which what a writer left aside is no writer's any more


def sweep(store: FeatureStore) -> None:
    """Deletes dead plans, commits and arrays without a plan, and what dead writers left aside."""
    store.refresh()
    dead = store.state.dead
    gone = leftover(store, set(dead))  # before the plans' files go: what no plan stands for is found by their absence
    for number in sorted(dead):
        _unlink(store.path / "plan" / f"{number}.parquet")
    objects.sync_folder(store.path / "plan")
    for file in gone:
        _unlink(file)
    for folder in {file.parent for file in gone if file.parent.name.isdecimal()}:
        with contextlib.suppress(OSError):  # not empty: a writer that does not know yet
            folder.rmdir()
    store.refresh()
    if dead and store.state.indexed:  # an index that names what has gone is right, and long
        store.disk.write_index()


def leftover(store: FeatureStore, dead: set[int]) -> list[Path]:
    """Files of dead plans and of plans that are not there, and parts that no writer works on any more."""
    commits = blocks.listed(store.path / "blocks")  # before the plans: a writer makes its plan first
    arrays = store.layout.arrays()
    plans = {int(f.stem) for f in (store.path / "plan").glob("*.parquet") if f.stem.isdecimal()} - dead
    found = [file for number, *_, file in commits if number not in plans]
    found += [file for folder in arrays if int(folder.name) not in plans for file in objects.files_below(folder)]
    old = time.time() - PART_AGE
    return found + [f for f in objects.files_below(store.path) if f.suffix == ".part" and _made(f) < old]


def _made(file: Path) -> float:
    with contextlib.suppress(OSError):
        return file.stat().st_mtime
    return time.time()


def _unlink(file: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        file.unlink()


def size_of(file: Path) -> int:
    """Bytes of a file; 0 where it has gone."""
    with contextlib.suppress(OSError):
        return file.stat().st_size
    return 0
