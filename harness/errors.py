"""Every error a user can meet, and the exit code it ends with. Never prints; the command line does.

    Exception
    ├── HarnessError                harness        code 1: the work failed
    │   ├── UsageError                             code 2: unknown name, setting or flag; nothing was touched
    │   │   └── ConfigError                        code 2: harness.toml is wrong
    │   ├── NotFoundError                          code 3: data, weights, store or run is not where it was looked for
    │   └── ProtocolError                          code 3: the data are there, but may not be used so (leaks, other
    identity) ├── DatasetError                harness        code 3: root, tree or labels are not as expected
    ├── SplitError                  harness        code 3: a split file or plan that cannot be trusted
    ├── CacheError                  cache          code 3: images, weights, stores (UsageError below it: code 2)
    ├── HeadError                   heads          code 2: unknown head or setting (DataError: code 3)
    └── ReportError                 reports        code 3: a card or a prediction file is not as expected

Each room defines its own errors with an `exit_code`; a message says what was expected, what was found and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """The work failed; what was finished before is kept."""

    exit_code = 1


class UsageError(HarnessError):
    """A name, setting or flag that does not exist; nothing was touched."""

    exit_code = 2


class ConfigError(UsageError):
    """`harness.toml` holds something that cannot be meant."""


class NotFoundError(HarnessError):
    """Data, weights, a store or a run is not where it was looked for."""

    exit_code = 3


class ProtocolError(HarnessError):
    """The data are there, but using them so would make a number that means something else."""

    exit_code = 3


def user_errors() -> tuple[type[Exception], ...]:
    """The roots of the tree above: whatever is raised below them is a message for a person, not a bug."""
    from cache.errors import CacheError
    from harness.datasets.errors import DatasetError
    from harness.splits.errors import SplitError
    from heads.errors import DataError, HeadError
    from reports.errors import ReportError

    return (HarnessError, DatasetError, SplitError, CacheError, HeadError, DataError, ReportError)


def exit_code(error: BaseException) -> int:
    """The exit code of an error: its own, or 1."""
    return int(getattr(error, "exit_code", 1))


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'spaq'?` where a known name is near, and the list of what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"{hint} There are: {', '.join(names)}." if names else f"{hint} There are none."
