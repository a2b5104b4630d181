"""What is known of a dataset before any of its files is touched, each fact with its source. Never reads a
file.
"""

from __future__ import annotations

import msgspec

from harness.datasets.scale import ScoreScale

UNVERIFIED = "unverified"
RAW = "https://raw.githubusercontent.com"
FACTS = (
    "year", "count", "references", "distortions", "scale", "label_variant", "spread", "group_rule", "official_split",
    "tree", "shares", "terms", "obtain", "citation",
)  # fmt: skip


class LabelFile(msgspec.Struct, frozen=True):
    """A published label file that anybody may fetch.

    Attributes:
        path: where it belongs, relative to the dataset's root.
        url: of one commit of the authors' own repository, so that its bytes stay.
        terms: that the repository states for it.
    """

    path: str
    url: str
    sha256: str
    terms: str


class DatasetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The declared facts of one dataset.

    Attributes:
        name: what a person types; letters, digits, `.`, `_`, `-`.
        year: of the paper; 0 for "yours".
        count: labelled images (distorted ones where there are references); 0 for "yours".
        references: reference images; 0 where the photographs are their own references.
        distortions: distortion types; 0 for authentic distortions.
        label_variant: which of several published labels this is.
        spread: what the columns std and votes hold; "" where neither is published.
        group_rule: the unit that must not be on two sides of a split ("image", "reference").
        official_split: the published split in words; "" where there is none.
        tree: what the official download looks like, one entry a line.
        mirror: what other well-known archives of it look like; their images have the same ids.
        shares: other dataset, or corpus or site that its photographs are from -> what is shared. A cross test with that
            dataset, with another of that corpus, or an encoder trained on it is not clean: `harness.datasets.sharing`.
        beware: what is commonly got wrong with it.
        licence_thumbnails: whether the terms let a report show small copies of images.
        obtain: how to get it, for a person.
        sources: fact -> where it was read, or "unverified"; a fact that is not named is unverified.
        reader: "module:callable" that reads the labels: `(root, labels) -> Labels`.
        made_here: whether the project makes the images and labels by itself.
        label_files: those that `datasets prepare --to` fetches; none where terms or addresses do not allow it.
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
    spread: str = ""
    mirror: str = ""
    shares: dict[str, str] = {}
    beware: str = ""
    made_here: bool = False
    label_files: tuple[LabelFile, ...] = ()
    plugin: str = ""

    def source(self, fact: str) -> str:
        """Where a fact was read, or "unverified"."""
        return self.sources.get(fact) or UNVERIFIED

    def unverified(self) -> list[str]:
        """The facts that nobody has checked against a source; a fact that states nothing needs none."""
        return [fact for fact in FACTS if getattr(self, fact) and self.source(fact).startswith(UNVERIFIED)]

    @property
    def tree_unverified(self) -> bool:
        """Whether the reader was written without any official file of this dataset at hand."""
        return self.source("tree").startswith(UNVERIFIED)


def on_github(repository: str, commit: str, terms: str, files: dict[str, str]) -> tuple[LabelFile, ...]:
    """Label files as they are in one commit of a public repository, path in it -> sha256; each belongs in the root."""
    return tuple(
        LabelFile(path.rpartition("/")[2], f"{RAW}/{repository}/{commit}/{path}", sha256, terms)
        for path, sha256 in files.items()
    )


def sourced(source: str, *facts: str) -> dict[str, str]:
    """One source of several facts, to be joined by `|`."""
    return dict.fromkeys(facts, source)
