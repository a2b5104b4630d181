"""Numbers as people read them: three decimals, a reason where there is no number. Never rounds a CSV."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from reports.intervals import Interval
from reports.tables import Middle, Row

NONE = "–"


def number(value: float, digits: int = 3) -> str:
    """`0.842`, or a dash; never `-0.000`."""
    if not math.isfinite(value):
        return NONE
    shown = f"{value:.{digits}f}"
    return shown.lstrip("-") if float(shown) == 0 else shown


def middle(value: Middle) -> str:
    """The number, or why there is none."""
    return number(value.value) if math.isfinite(value.value) or not value.reason else f"none: {value.reason}"


def span(low: float, high: float) -> str:
    """`[0.711, 0.931]`"""
    return f"[{number(low)}, {number(high)}]"


def interval(value: Interval) -> str:
    """A 95% interval, or why there is none."""
    return span(value.low, value.high) if math.isfinite(value.low) else f"none: {value.reason.split(';')[0]}"


def spread(row: Row) -> str:
    """Of SRCC: the interval of a single run, lowest and highest of several."""
    if len(row.members) == 1:
        return interval(row.members[0].srcc)
    value = row.middle(lambda m: m.scores.srcc)
    if not value.runs:
        return "none"
    return f"{number(value.low)} to {number(value.high)}" + (
        f", {value.runs} of {len(row.members)} runs" if value.runs < len(row.members) else ""
    )


def counts(values: Iterable[int]) -> str:
    """`21`, or `20–24` where they differ."""
    known = sorted(set(values))
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,}–{known[-1]:,}"


def split(row: Row) -> str:
    """`leave-one-out ×6`, `official`."""
    return row.config.split + (f" ×{len(row.members)}" if len(row.members) > 1 else "")


def rows_name(row: Row) -> str:
    """`livec, all`; on the train set's own rows `biq2021, official test`."""
    return f"{row.test}, {row.rows}"


def joined(parts: Sequence[str], last: str = "and") -> str:
    """`a, b and c`"""
    return f" {last} ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""


def plural(count: int, word: str, many: str = "") -> str:
    """`1 run`, `6 runs`"""
    return f"{count:,} {word if count == 1 else many or word + 's'}"
