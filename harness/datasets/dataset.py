"""One dataset on this disk: its facts, its labels, its images. Owns opening and filling; never decodes, never
fits.
"""

from __future__ import annotations

import hashlib
import importlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.datasets import manifest as manifests
from harness.datasets import texts
from harness.datasets.errors import DatasetError
from harness.datasets.files import Advance, FileFacts, KnownFile, Probe, read_files
from harness.datasets.manifest import column, select
from harness.datasets.readers import Labels
from harness.datasets.scale import QualityMap, ScoreScale
from harness.datasets.site import contents
from harness.datasets.spec import DatasetSpec

if TYPE_CHECKING:
    from cache.blocks import PlanItem
    from cache.rows import Features
    from harness.splits.split import Split
    from heads.base import Examples


FEWEST_COPIED = 10


@dataclass(frozen=True)
class Dataset:
    """Facts, labels and places of one dataset. Immutable: `filled` gives a copy.

    Attributes:
        spec: what is declared.
        root: the folder that `manifest["path"]` is relative to; None where only labels are at hand.
        manifest: one row an image (columns: `harness.datasets.manifest.COLUMNS`), sorted by id.
        note: what the reader decided, for a person.
        unlabelled: images on the disk that no label names.
    """

    spec: DatasetSpec
    root: Path | None
    manifest: pd.DataFrame
    note: str = ""
    unlabelled: int = 0

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.spec.name

    @property
    def scale(self) -> ScoreScale:
        """What its published numbers mean."""
        return self.spec.scale

    @property
    def proxy(self) -> bool:
        """Whether its labels come from a formula, not from people."""
        return self.scale.kind == "proxy"

    @cached_property
    def labelled(self) -> pd.DataFrame:
        """Rows that have a label, whether or not their image is here; no references, no failures."""
        rows = self.manifest
        return select(rows, ~column(rows, "is_reference") & ~np.isnan(column(rows, "mos")))

    @property
    def judged(self) -> list[str]:
        """Ids of all rows but references, whatever is wrong with them: what a test on the whole dataset asks for."""
        return [str(name) for name in column(self.manifest, "id")[~column(self.manifest, "is_reference")]]

    @cached_property
    def usable(self) -> pd.DataFrame:
        """Labelled rows whose image is here and that have not failed: the rows that can be trained on and
        scored.
        """
        rows = self.labelled
        return select(rows, column(rows, "present") & (column(rows, "failure") == ""))

    @property
    def present(self) -> int:
        """Images on the disk that the manifest names, references and failed rows among them."""
        return int(np.count_nonzero(column(self.manifest, "present")))

    @property
    def missing(self) -> int:
        """Labelled images that are not here, and images that the dataset has but these label files do not
        list.
        """
        here = column(self.manifest, "present")[~column(self.manifest, "is_reference")]
        return int(np.count_nonzero(~here)) + max(self.spec.count - len(here), 0)

    @property
    def subset(self) -> bool:
        """Whether fewer images are here than the dataset has."""
        return self.missing > 0

    @property
    def failures(self) -> dict[str, int]:
        """Rows that cannot be used, counted by reason ("label is NaN", what probing said)."""
        return dict(sorted(Counter(reason for reason in self.manifest["failure"] if reason).items()))

    @cached_property
    def label_digest(self) -> str:
        """sha256 over sorted (id, mos, std) rows; see `manifest.label_digest`."""
        return manifests.label_digest(self.manifest)

    def path(self, image: str) -> Path:
        """Where an image lies.

        Raises:
            DatasetError: unknown id, or the image is not on the disk.
        """
        path = self._paths.get(image)
        if not path or self.root is None:
            found = "no such id" if path is None else "a label without an image"
            raise DatasetError(f"the image {image!r} of {self.name}", found, "Check the id and the root.")
        return self.root / path

    @cached_property
    def _paths(self) -> dict[str, str]:
        return dict(zip(self.manifest["id"], self.manifest["path"], strict=True))

    def quality_map(self, train: Iterable[str] | None = None) -> QualityMap:
        """The map from mos to quality: declared, or on an open scale fitted on the labels of the `train` ids.

        Raises:
            DatasetError: an open scale without train ids, or a train id without a label.
        """
        if self.scale.closed:
            return self.scale.quality_map()
        if train is None:
            return self.scale.quality_map(None)
        mos = dict(zip(column(self.labelled, "id"), column(self.labelled, "mos"), strict=True))
        ids = list(train)
        unknown = [name for name in ids if name not in mos]
        if unknown:
            raise DatasetError(f"train ids with a label in {self.name}", f"{len(unknown)} without, e.g. {unknown[0]!r}")
        return self.scale.quality_map([mos[name] for name in ids])

    def examples(self, features: Features, train: Iterable[str] | None = None) -> Examples:
        """Its labelled rows that have features, joined by id; see `harness.examples`.

        Args:
            features: rows of a store, as `store.select([...])` gives them.
            train: ids that an open scale's map to quality is fitted on; not looked at on a closed one.
        """
        from harness.examples import join

        return join(self, features, self.quality_map(train))

    def looks(self, ids: Iterable[str]) -> dict[str, str]:
        """Perceptual hashes of some images, where they are known (`filled` or `remembering` tells them)."""
        names = list(ids)
        known, keys, asked = (texts.arrow(v) for v in (self.manifest["looks"], self.manifest["id"], names))
        looks = texts.taken(known, keys, asked)
        return {name: look for name, look in zip(names, looks, strict=True) if look}

    def splits(self, text: str, seed: int = 0) -> list[Split]:
        """The splits that `official`, `random:K` or `leave-one-out` names; see `harness.splits.kinds`."""
        from harness.splits.kinds import parse_split

        return parse_split(text, self, seed)

    def split(self, text: str, seed: int = 0) -> Split:
        """The one split that `text` names (`random` is one of them, `leave-one-out` several)."""
        from harness.splits.errors import SplitUsageError

        made = self.splits(text, seed)
        if len(made) != 1:
            raise SplitUsageError(f"{text!r} names {len(made)} splits where one was asked for. Use splits({text!r}).")
        return made[0]

    def filled(
        self,
        probe: Probe | None = None,
        *,
        ids: Iterable[str] | None = None,
        known: pd.DataFrame | None = None,
        threads: int = 8,
        progress: Advance | None = None,
    ) -> Dataset:
        """A copy whose rows know sha256, size, mtime and, with `probe`, width and height.

        Each present file is read once. Rows of `known` (an earlier manifest) whose path, size and mtime still
        fit are taken over unread. A file that cannot be read or probed gets a failure; an exception of
        `probe` that carries no `reason` is a bug and is raised.

        Args:
            probe: bytes -> (width, height) in pixels, orientation applied.
            ids: only these rows; None: all that are present.
            known: an earlier filled manifest.
            threads: files read at a time.
            progress: called with 1 after each file.
        """
        table = self.manifest.copy()
        asked = column(table, "present")
        if ids is not None:
            asked = asked & np.isin(column(table, "id"), list(ids))
        rows = np.flatnonzero(asked).tolist()
        names = [str(name) for name in table["id"].iloc[rows]]
        files = [(name, self.path(name), self._paths[name]) for name in names]
        facts = read_files(files, probe, _by_id(known) if known is not None else {}, threads, progress)
        for name in FileFacts._fields:
            values = column(table, name).tolist()
            for row, fact in zip(rows, facts, strict=True):
                # A label that failed keeps its own reason.
                values[row] = (values[row] if name == "failure" else "") or getattr(fact, name)
            table[name] = values
        return replace(self, manifest=manifests.conform(table))

    def remembering(self, earlier: pd.DataFrame) -> Dataset:
        """A copy with what an earlier filled manifest knows of the same files, none of which is looked at."""
        table = self.manifest.copy()
        known = _by_id(earlier)
        facts = [known.get(name) for name in table["id"]]
        paths = table["path"].tolist()
        for name in FileFacts._fields:
            if name != "failure":
                old = table[name].tolist()
                table[name] = [
                    getattr(fact, name) if fact is not None and fact.path == path else value
                    for fact, path, value in zip(facts, paths, old, strict=True)
                ]
        return replace(self, manifest=manifests.conform(table))

    def plan_items(self, ids: Iterable[str]) -> list[PlanItem]:
        """Filled rows as a feature store plans them: path relative to the root, sha256, size, mtime, width and height.

        A file that could not be read has an empty sha256, one whose header could not be read has width and height 0;
        both fail when they are encoded.
        """
        from cache.blocks import PlanItem

        rows = select(self.manifest, np.isin(column(self.manifest, "id"), list(ids)))
        return [PlanItem(*(getattr(row, field) for field in PlanItem._fields)) for row in _tuples(rows)]


def _tuples(frame: pd.DataFrame) -> Iterable[Any]:
    return frame.itertuples(index=False)


def _by_id(known: pd.DataFrame) -> dict[str, KnownFile]:
    return {row.id: row for row in _tuples(select(known, column(known, "sha256") != ""))}


def first_by_hash(ids: Iterable[str], count: int | None) -> list[str]:
    """As many ids as asked (None: all), those whose hashes come first; sorted."""
    return sorted(sorted(ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())[:count])


def open_dataset(name: str, root: Path | str | None = None, labels: Path | str | None = None) -> Dataset:
    """Opens a dataset by name: reads its labels, finds its images, checks that both are what is declared.

    Args:
        name: a built-in or plug-in name, or the name of a folder of one's own (`harness.datasets.folder`).
        root: the folder of the official download (or of the part of it that is here). None: labels alone,
            every image is missing.
        labels: folder (or file) of the label files, where they lie outside `root`.

    Raises:
        DatasetError: no such folder, the wrong tree, damaged labels, labels outside the declared range or all
        equal. harness.errors.UsageError: unknown name.
    """
    from harness.registry import datasets

    registry = datasets()
    if name not in registry.names():
        from harness.datasets.folder import described, why_none
        from harness.errors import UsageError, suggest

        own = described(name, *_places(root, labels))
        if own is not None:
            return own
        if why := why_none(name, *_places(root, labels)):
            raise UsageError(f"Unknown dataset {name!r}{suggest(name, registry.names())}\n{why}")
    return open_spec(registry.get(name), root, labels)


def reader_of(spec: DatasetSpec) -> Any:
    """What reads a dataset's labels: `(root, labels) -> Labels`; a `Layout` where its trees can be told as data."""
    module, _, name = spec.reader.partition(":")
    return getattr(importlib.import_module(module), name)


def open_spec(spec: DatasetSpec, root: Path | str | None = None, labels: Path | str | None = None) -> Dataset:
    """As `open_dataset`, for a declaration of one's own."""
    top, beside = _places(root, labels)
    if top is None and beside is None:
        raise DatasetError(f"{spec.name}: a root or a labels folder", "neither", "Give --root (or --labels).")
    if top is not None and not top.is_dir():
        raise DatasetError(f"{spec.name}: its folder at {top}", contents(top), "Correct --root.")
    if beside is not None and not beside.exists():
        raise DatasetError(f"{spec.name}: its label files at {beside}", "no such folder", "Correct --labels.")
    try:
        return from_labels(spec, top, reader_of(spec)(top, beside))
    except DatasetError as error:
        if not spec.tree_unverified:
            raise
        # Made for the day when the reader is wrong: whoever has the official files can tell.
        doubt = (
            "No official file of this dataset was at hand when its reader was written: if this is the official "
            "download, the reader is wrong; please report this message."
        )
        raise DatasetError(error.expected, error.found, f"{error.do} {doubt}".strip()) from error


def _places(root: Path | str | None, labels: Path | str | None) -> tuple[Path | None, Path | None]:
    return None if root is None else Path(root), None if labels is None else Path(labels)


def from_labels(spec: DatasetSpec, root: Path | None, found: Labels) -> Dataset:
    """A dataset of what a reader handed over, after checks that hold for every dataset.

    Raises:
        DatasetError: no label at all, labels that are all equal, labels outside the declared range.
    """
    dataset = Dataset(found.spec or spec, root, found.frame, found.note, found.unlabelled)
    _check_labels(dataset)
    return dataset


def _check_labels(dataset: Dataset) -> None:
    rows = dataset.labelled
    mos: NDArray[np.float64] = column(rows, "mos")
    if not len(mos):
        raise DatasetError(f"{dataset.name}: labels", f"{len(dataset.manifest)} rows without one", "Check --labels.")
    if len(mos) > 1 and np.ptp(mos) == 0:
        raise DatasetError(
            f"{dataset.name}: labels that differ",
            f"{len(mos)} labels that are all {mos[0]:g}",
            "Get the label file again: nothing can be learnt or scored from these.",
        )
    outside = dataset.scale.outside(mos)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise DatasetError(
            f"{dataset.name}: {dataset.scale}",
            f"{int(outside.sum())} of {len(mos)} labels outside, {mos.min():g} to {mos.max():g} "
            f"(e.g. {mos[first]:g} for {rows['id'].iloc[first]!r})",
            "This is another variant of the labels, or damage: get the file that the dataset's page names.",
        )
    for one, other, count in _copied(rows):
        raise DatasetError(
            f"{dataset.name}: labels of its own for every distortion",
            f"{count} labels of {one!r} are those of {other!r}, image by image and level by level",
            "This list is corrupt: get the file that the dataset's page names.",
        )


def _copied(rows: pd.DataFrame) -> Iterator[tuple[str, str, int]]:
    """Pairs of distortions whose labels agree wherever both have the same reference and level, and how many do."""
    known = select(rows, ((rows["distortion"] != "") & (rows["reference"] != "")).to_numpy())
    known = select(known, column(known, "level") > 0)
    table = known.pivot_table(index=["reference", "level"], columns="distortion", values="mos", aggfunc="first")
    for one, other in combinations(sorted(table.columns), 2):
        mine, theirs = column(table, one), column(table, other)
        both = ~np.isnan(mine) & ~np.isnan(theirs)
        count = int(np.count_nonzero(both))
        if count >= FEWEST_COPIED and np.ptp(mine[both]) > 0 and (mine[both] == theirs[both]).all():
            yield other, one, count
