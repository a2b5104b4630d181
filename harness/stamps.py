"""Facts -> stamps: the words that travel from a store to every table and plot made from it. Never decides what to do
about them.
"""

from __future__ import annotations

from collections.abc import Iterable

LIMITED = "LIMITED"
SUBSET = "SUBSET"
LEAKY = "LEAKY"
UNTRAINED = "UNTRAINED"
UNVERIFIED = "UNVERIFIED"
PROXY = "PROXY"

MEANING = {
    LIMITED: "fewer images were encoded than are on the disk (--limit)",
    SUBSET: "fewer images are on the disk than the dataset has",
    LEAKY: "train and test share images or groups, and the user allowed it",
    UNTRAINED: "the encoder's weights are random: its scores say what its architecture does, not what it learned",
    UNVERIFIED: "the encoder's weights are not the official file",
    PROXY: "labels come from a formula, not from people",
}


def ordered(stamps: Iterable[str]) -> list[str]:
    """Each stamp once, in the order of the table above."""
    found = set(stamps)
    return [stamp for stamp in MEANING if stamp in found] + sorted(found - set(MEANING))


def of_data(*, missing: int, encoded: int, present: int, proxy: bool) -> list[str]:
    """The stamps of a dataset and of how much of it was encoded."""
    found = [SUBSET] * (missing > 0) + [LIMITED] * (encoded < present) + [PROXY] * proxy
    return ordered(found)
