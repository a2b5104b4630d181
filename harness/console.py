"""What is said to a person while work goes on: lines and progress bars, on stderr. Results are printed by the
command line.

Quiet unless the command line (or `harness.console.loud()`) asks: code that calls a verb gets its result, not a bar.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_loud = False


def loud(on: bool = True) -> None:
    """Turns lines and progress bars on or off for this process."""
    global _loud
    _loud = on


def console() -> Console:
    """The console on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line for a person; square brackets are text, not markup."""
    if _loud:
        console().print(text, markup=False)


class Progress:
    """Counts finished units; shows rate and time left. On something that is no terminal: a line every ten seconds."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done, self._start, self._last = 0, time.monotonic(), time.monotonic()
        self._bar = None
        self._note = ""
        if _loud and sys.stderr.isatty():
            from rich import progress

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[note]}"),
                console=console(),
            )
            self._task = self._bar.add_task(what, total=total, rate="", note="")
            self._bar.start()

    def advance(self, n: int = 1, note: str = "") -> None:
        """`n` more units are done; `note` stands behind the bar."""
        self._done += n
        self._note = note or self._note
        seconds = time.monotonic() - self._start
        rate = self._done / seconds if seconds > 0 else 0.0
        text = f"{rate:.1f} {self._unit}/s" if rate >= 1 else f"{1 / rate if rate else 0:.1f} s/{self._unit}"
        if self._bar is not None:
            self._bar.update(self._task, advance=n, rate=text, note=self._note)
        elif _loud and time.monotonic() - self._last > 10:
            self._last = time.monotonic()
            left = (self._total - self._done) / rate if rate else 0
            say(f"{self._what}: {self._done}/{self._total}, {text}, {duration(left)} left {self._note}".rstrip())

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Progress]:
    """A progress bar for the length of a block."""
    bar = Progress(what, total, unit)
    try:
        yield bar
    finally:
        bar.close()


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.1 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """`312 bytes`, `4.2 MB`, `1.6 GB` (powers of ten)."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"
