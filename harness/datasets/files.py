"""Image files as bytes: digest, size, time, width and height. Reads each file once; never decodes pixels by
itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

from harness.datasets.looks import look

Probe = Callable[[bytes], tuple[int, int]]
Advance = Callable[[int], object]


class FileFacts(NamedTuple):
    """What reading one file told."""

    sha256: str
    size: int
    mtime: int
    width: int
    height: int
    looks: str
    failure: str


class KnownFile(Protocol):
    """A file as it was when it was read before (a store's plan, an earlier manifest)."""

    @property
    def path(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def mtime(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def looks(self) -> str: ...


def read_files(
    files: Sequence[tuple[str, Path, str]],
    probe: Probe | None,
    known: Mapping[str, KnownFile],
    threads: int,
    progress: Advance | None,
) -> list[FileFacts]:
    """What is known of some files, in their order, several at a time.

    Args:
        files: (id, where it lies, its path relative to the root) of each.
        probe: bytes -> (width, height) in pixels, orientation applied; an exception that carries a `reason`
            becomes the file's failure, any other is a bug and raised. None: size and looks stay unknown.
        known: by id; a file with the same path, size and mtime is not read again.
        progress: called with 1 after each file.
    """

    def read(file: tuple[str, Path, str]) -> FileFacts:
        name, place, path = file
        facts = _unchanged(place, path, known.get(name), probe is not None) or read_file(place, probe)
        if progress is not None:
            progress(1)
        return facts

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return list(pool.map(read, files))


def _unchanged(path: Path, name: str, known: KnownFile | None, sizes: bool) -> FileFacts | None:
    """What is known of a file, if its path, size and time still fit (and its width is known, where `sizes`
    are wanted).
    """
    if known is None or known.path != name or (sizes and not (known.width and known.looks)):
        return None
    try:
        stat = path.stat()
    except OSError:
        return None
    if (stat.st_size, stat.st_mtime_ns) != (known.size, known.mtime):
        return None
    return FileFacts(known.sha256, known.size, known.mtime, known.width, known.height, known.looks, "")


def read_file(path: Path, probe: Probe | None) -> FileFacts:
    """Reads one file whole: digest, size, time and, with `probe`, width, height and looks; what is wrong becomes
    `failure`.
    """
    try:
        stat = path.stat()
        data = path.read_bytes()
    except OSError as error:
        return FileFacts("", 0, 0, 0, 0, "", f"cannot be read: {error.strerror}")
    width, height, looks, failure = 0, 0, "", ""
    if probe is not None:
        try:
            width, height = probe(data)
            looks = look(data)
        except Exception as error:
            failure = reason_of(error)
    return FileFacts(hashlib.sha256(data).hexdigest(), len(data), stat.st_mtime_ns, width, height, looks, failure)


def reason_of(error: Exception) -> str:
    """The short reason that an image error carries; an error without one is a bug and is raised again."""
    reason = getattr(error, "reason", None)
    if not isinstance(reason, str):
        raise error
    return reason
