"""Every error that a head raises for a person to read. Never prints; the command line does.

A message says what was expected, what was found and what to do; `exit_code` is the command line's.
"""

from __future__ import annotations


class HeadError(Exception):
    """Wrong usage: an unknown setting, a feature of the wrong kind, a head that was never fitted."""

    exit_code = 2


class FitError(HeadError):
    """The fit itself failed: the loss is no longer a number."""

    exit_code = 1


class DataError(HeadError):
    """Rows, labels, features or a saved head are not as expected: equal labels, few rows, a damaged file."""

    exit_code = 3
