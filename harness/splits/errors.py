"""What can be wrong with a split. Never reads a file."""

from __future__ import annotations


class SplitError(Exception):
    """A split that cannot be made from these data, or a split file that cannot be trusted."""

    exit_code = 3


class SplitUsageError(SplitError):
    """A kind of split that does not exist, or a setting it does not have."""

    exit_code = 2
