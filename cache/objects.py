"""Put-once files: written aside, made durable, then linked into place; whoever comes second is told so. Never overwrites.

`link()` fails where the name exists, so of any number of racing writers exactly one wins; a check followed by a rename
lets several win. A reader may have the winner's file mapped: it keeps its bytes for ever.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from cache.errors import StoreError

Buffer = bytes | bytearray | memoryview


def put_once(path: Path, parts: Iterable[Buffer]) -> bool:
    """Writes a file whole, unless there is one of this name.

    Args:
        path: its folder is made where missing.
        parts: the content, in pieces that are not copied together.

    Returns:
        True if this call's content is at `path` now, False if the name was taken (see `same`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return False
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with aside.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
        return True
    except OSError as error:
        raise StoreError(
            f"Could not write {path}: {error.strerror}. Expected a local disk with room and hard links. What was committed is "
            "kept: make room and run the same command again."
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def same(path: Path, parts: Iterable[Buffer]) -> bool:
    """Whether the file at `path` has exactly this content."""
    try:
        with path.open("rb") as file:
            for part in parts:
                view = memoryview(part).cast("B")
                if file.read(len(view)) != view:
                    return False
            return file.read(1) == b""
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable; before a commit names them."""
    with contextlib.suppress(OSError):  # some file systems have no such call for folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
