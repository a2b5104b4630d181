"""Names of features, `tap:what`, and patterns of them. Knows no encoder and no store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from cache.errors import UsageError

MAP = "map"
MAP8 = "map8"  # the same in half the bytes: see `cache.forms`
MAPS = (MAP, MAP8)
VECTOR = "vector"
_PART = re.compile(r"[a-z0-9._-]+")


class FeatureName(NamedTuple):
    """A named place in an encoder, and what is kept of it: its `map` (or `map8`) or a summary such as `moments`; of a
    place that gives one vector an image, that `vector`.
    """

    tap: str
    what: str

    def __str__(self) -> str:
        return f"{self.tap}:{self.what}"


def parse_feature(text: str) -> FeatureName:
    """`neck:map`, or fully `sam-vit-b@long1024/neck:map`, -> its parts.

    Raises:
        UsageError: not `tap:what`.
    """
    tap, colon, what = text.rpartition("/")[2].partition(":")
    if not colon or not _PART.fullmatch(tap) or not _PART.fullmatch(what):
        raise UsageError(f"Expected a feature as TAP:WHAT, such as neck:map or stage.6:moments; found {text!r}.")
    return FeatureName(tap, what)


def check_kind(name: FeatureName, vector: bool) -> None:
    """Whether this can be kept of a tap that gives a vector, or else a map.

    Raises:
        UsageError: a map or a summary of a vector, or a vector of a map.
    """
    if vector != (name.what == VECTOR):
        gives, kept = ("one vector an image", VECTOR) if vector else ("a map", f"{MAP}, or a summary such as moments")
        raise UsageError(f"{name}: {name.tap} gives {gives}; expected {name.tap}:{kept}.")


def expand(
    patterns: Sequence[str], taps: Sequence[str], summaries: Sequence[str] = (), vectors: Sequence[str] = ()
) -> list[FeatureName]:
    """Patterns such as `*:moments` or `block.*:map` -> feature names, each once, in the order of the taps.

    A pattern with `*` leaves out taps that have no such thing: `*:moments` those that give vectors.

    Args:
        patterns: `TAP:WHAT`, where TAP may hold `*`, `?` and `[...]`.
        taps: what the encoder has.
        summaries: what can be kept beside maps; default: all summaries of this version.
        vectors: those of the taps that give one vector an image.

    Raises:
        UsageError: not `TAP:WHAT`, a pattern that fits no tap, an unknown summary, a map of a vector.
    """
    if not summaries:
        from cache.summaries import SUMMARIES

        summaries = list(SUMMARIES)
    found: dict[FeatureName, tuple[int, int]] = {}
    for order, pattern in enumerate(patterns):
        tap_pattern, colon, what = pattern.partition(":")
        if not colon or not tap_pattern or not what:
            raise UsageError(f"Expected a feature as TAP:WHAT, such as neck:map or '*:moments'; found {pattern!r}.")
        known = (*MAPS, *summaries, VECTOR)
        if what not in known:
            raise UsageError(f"Unknown {what!r} in {pattern!r}: what is kept of a tap is one of {', '.join(known)}.")
        fitting = [i for i, tap in enumerate(taps) if fnmatchcase(tap, tap_pattern)]
        if not fitting:
            raise UsageError(f"No tap fits {pattern!r}. The encoder's taps are: {', '.join(taps)}.")
        fitting = [i for i in fitting if (taps[i] in vectors) == (what == VECTOR)] or fitting
        for i in fitting:
            check_kind(FeatureName(taps[i], what), taps[i] in vectors)
            found.setdefault(FeatureName(taps[i], what), (i, order))
    return sorted(found, key=lambda name: found[name])
