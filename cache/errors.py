"""Every error that the cache raises for a person to read: images, weights, stores. Never prints.

A message says what was expected, what was found and what to do. `exit_code` is what the command line ends with.
"""

from __future__ import annotations


class CacheError(Exception):
    """Images, weights or a store are not as expected."""

    exit_code = 3


class UsageError(CacheError):
    """A tap, summary, view or feature that does not exist."""

    exit_code = 2


class WeightsError(CacheError):
    """A weights file is missing, damaged, of another shape, or not safe to read."""


class ImageError(CacheError):
    """An image cannot become pixels.

    Args:
        reason: short and stable: "empty file", "truncated", "not an image", "over the pixel limit",
            "missing", "changed".
        detail: what was found, for a person.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


class StoreError(CacheError):
    """A store has another identity, is damaged, unfinished, or of a newer format."""
