"""Put-once files: written aside, made durable, then linked into place; whoever comes second is told so. Never
overwrites.

`link()` fails where the name exists, so of any number of racing writers exactly one wins; a check followed by a rename
lets several win. A reader may have the winner's file mapped: it keeps its bytes for ever.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Buffer, Iterable
from pathlib import Path
from typing import BinaryIO

from cache.errors import StoreError

LARGE = 1 << 20


def put_once(path: Path, parts: Iterable[Buffer], aside: Path | None = None, size: int = 0) -> bool:
    """Writes a file whole, unless there is one of this name.

    Args:
        path: its folder is made where missing.
        parts: the content, in pieces that are not copied together.
        size: bytes of all parts, where known: room that is taken at once costs a quarter less than room that grows.
        aside: the folder to write in before (default: that of `path`); a writer that dies leaves its part there.

    Returns:
        True if this call's content is at `path` now, False if the name was taken (see `same`).

    Raises:
        StoreError: the disk is full, read-only, or has no hard links.
    """
    part = (aside or path.parent) / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        file = _beside(path, part)
        if file is None:
            return False
        with file:
            if size >= LARGE and sys.platform == "linux":
                os.posix_fallocate(file.fileno(), 0, size)
            for piece in parts:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        return True
    except OSError as error:
        raise StoreError(
            f"Could not write {path}: {error.strerror}. Expected a local disk with room and hard links. What was "
            "committed is "
            "kept: make room and run the same command again."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # not there, or on a disk that just failed: that error says more
            part.unlink()


def _beside(path: Path, part: Path) -> BinaryIO | None:
    """The part, open to be written; None where `path` is taken."""
    for last in (False, False, True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return None if path.exists() else part.open("xb")
        except FileNotFoundError:  # a folder that a compaction found empty and took away, just now
            if last:
                raise
    return None


def same(path: Path, parts: Iterable[Buffer]) -> bool:
    """Whether the file at `path` has exactly this content."""
    try:
        with path.open("rb") as file:
            for part in parts:
                view = memoryview(part).cast("B")
                if memoryview(file.read(len(view))) != view:
                    return False
            return file.read(1) == b""
    except FileNotFoundError:
        return False


def files_below(folder: Path) -> list[Path]:
    """All files below a folder; what is taken away meanwhile is no error, as it is in `Path.rglob`."""
    return [Path(top, name) for top, _, names in os.walk(folder) for name in names]


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable; before a commit names them."""
    with contextlib.suppress(OSError):  # some file systems have no such call for folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
