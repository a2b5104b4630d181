"""What is known of a dataset before any of its files is touched, each fact with its source. Never reads a
file.
"""

from __future__ import annotations

import msgspec

from harness.datasets.scale import ScoreScale

UNVERIFIED = "unverified"


class DatasetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The declared facts of one dataset.

    Attributes:
        name: what a person types; letters, digits, `.`, `_`, `-`.
        count: labelled images (distorted ones where there are references); 0 for "yours".
        references: reference images; 0 where the photographs are their own references.
        distortions: distortion types; 0 for authentic distortions.
        label_variant: which of several published labels this is.
        group_rule: the unit that must not be on two sides of a split ("image", "reference").
        official_split: the published split in words; "" where there is none.
        tree: what the official download looks like, one entry a line.
        licence_thumbnails: whether the terms let a report show small copies of images.
        obtain: how to get it, for a person.
        sources: fact -> where it was read, or "unverified".
        reader: "module:function" that reads the labels: `(root, labels) -> Labels`.
        fetchable: whether the project can make or fetch it by itself.
        plugin: the package that offers it; "" for a built-in.
    """

    name: str
    title: str
    year: int
    count: int
    references: int
    distortions: int
    scale: ScoreScale
    label_variant: str
    group_rule: str
    official_split: str
    tree: str
    terms: str
    licence_thumbnails: bool
    citation: str
    obtain: str
    sources: dict[str, str]
    reader: str
    fetchable: bool = False
    plugin: str = ""

    def unverified(self) -> list[str]:
        """The facts that nobody has checked against a source."""
        return sorted(fact for fact, source in self.sources.items() if source == UNVERIFIED)
