"""`harness splits ls | make | show | check`: which images train, which choose, which are tested, as files to attach."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from harness.verbs.datasets import Facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from harness.datasets.dataset import Dataset
    from harness.splits.split import Split

DATASET = Annotated[str, typer.Option(help="A name of `harness datasets ls`.")]
ROOT = Annotated[Path | None, typer.Option(help="The dataset's folder (default: harness.toml, $IQA_DATA/NAME).")]
LABELS = Annotated[Path | None, typer.Option(help="Its label files, where they lie elsewhere; they are enough.")]
FILE = Annotated[Path, typer.Argument(help="A split file.")]


class SplitRow(msgspec.Struct, frozen=True):
    """One kind of split that a dataset has."""

    name: str
    train: int
    valid: int
    test: int
    groups: int
    note: str


class SplitTable(list[SplitRow]):
    """Rows that draw themselves."""

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, header_style="bold")
        for heading in ("split", "train", "valid", "test", "groups", "how"):
            table.add_column(heading, justify="left" if heading in ("split", "how") else "right", overflow="fold")
        for r in self:
            table.add_row(r.name, f"{r.train:,}", f"{r.valid:,}", f"{r.test:,}", f"{r.groups:,}", r.note)
        return table


def ls(dataset: DATASET, root: ROOT = None, labels: LABELS = None) -> SplitTable:
    """Lists the kinds of split that a dataset has, with their sizes.

    Examples:
    harness splits ls --dataset biq2021
    """
    from harness.datasets.manifest import official_names
    from harness.splits.errors import SplitError
    from harness.splits.kinds import whole_splits

    data = data_of(dataset, root, labels)
    rows = SplitTable()
    published = [f"official:{name}" for name in official_names(data.manifest)] or ["official"]
    for kind in (*published, "random:1", "stratified:1", "leave-one-out"):
        try:
            split = whole_splits(kind, data)[0]
        except SplitError:
            continue
        groups = len({*data.manifest.set_index("id").loc[list(split.ids), "group"]})
        rows.append(SplitRow(kind.removesuffix(":1"), **split.counts, groups=groups, note=split.note))
    return rows


def make(
    dataset: DATASET,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    kind: Annotated[
        str, typer.Option(help="random, stratified (reads the labels and says so), official, official:NAME.")
    ] = "random",
    seed: Annotated[int, typer.Option(help="The same seed gives the same split on every machine.")] = 0,
    avoid_lookalikes: Annotated[
        bool, typer.Option("--avoid-lookalikes", help="Keep pictures that look alike on one side; reads the images.")
    ] = False,
    root: ROOT = None,
    labels: LABELS = None,
) -> Facts:
    """Makes a split of all labelled images, here or not, and writes it as a file to attach to a paper.

    It is small, readable, and checks itself; `train-head --split FILE` uses it.

    Examples:
    harness splits make --dataset biq2021 --kind random --seed 3 --out splits/biq2021-3.json
    harness splits make --dataset biq2021 --avoid-lookalikes --out splits/biq2021-apart.json
    """
    from harness.errors import UsageError
    from harness.splits.kinds import whole_splits

    data, compared = data_of(dataset, root, labels), ""
    if avoid_lookalikes:
        if kind.startswith("official"):
            raise UsageError("A published split stays as it is: --avoid-lookalikes goes with random and stratified.")
        data, compared = _families(data)
    splits = whole_splits(kind, data, seed)
    if len(splits) != 1:
        raise UsageError(
            f"--kind {kind} names {len(splits)} splits, and a file holds one. Type --kind random --seed N."
        )
    split = msgspec.structs.replace(splits[0], note=splits[0].note + compared)
    split.save(out)
    return _facts(out, split)


def import_published(
    dataset: DATASET,
    project: Annotated[
        Literal["arniqa", "liqe"], typer.Option("--from", help="Whose files: ARNIQA's .npy or LIQE's .txt.")
    ],
    files: Annotated[Path, typer.Option(help="The folder that holds this dataset's train, validation and test files.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    number: Annotated[int, typer.Option(help="Which of the ten: ARNIQA counts from 0, LIQE from 1.")] = 0,
    order: Annotated[
        Path | None, typer.Option(help="ARNIQA: the label list whose rows its numbers count (default: in --labels).")
    ] = None,
    root: ROOT = None,
    labels: LABELS = None,
) -> Facts:
    """Turns a published split of another project into a list of ids, through its own row order.

    Examples:
    harness splits import --dataset csiq --from arniqa --files ARNIQA/datasets/CSIQ/splits --out arniqa-csiq-0.json
    harness splits import --dataset bid --from liqe --files LIQE/IQA_Database/BID/splits2/1 --number 1 --out liqe.json
    """
    from harness.datasets.dataset import reader_of
    from harness.errors import NotFoundError, UsageError
    from harness.splits import published

    data = data_of(dataset, root, labels)
    if project == "liqe":
        split = published.liqe(data, files, number)
    else:
        if dataset not in published.ARNIQA:
            raise UsageError(f"ARNIQA has no splits of {dataset}; it has {', '.join(published.ARNIQA)}.")
        lists = published.ARNIQA[dataset].lists
        places = [order] if order else [folder / name for folder in (labels, root) if folder for name in lists]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise NotFoundError(f"{dataset}: which list do the row numbers count? Type --order {' or '.join(lists)}.")
        split = published.arniqa(data, files, reader_of(data.spec).order(found), found.name, number)
    split.save(out)
    return _facts(out, split)


def show(file: FILE) -> Facts:
    """Prints what a split file says, once its fingerprint is found to be that of its content.

    Examples:
    harness splits show splits/biq2021-3.json
    """
    from harness.splits.split import Split

    return _facts(file, Split.load(file))


class Checked(msgspec.Struct, frozen=True):
    """What `splits check` found.

    Attributes:
        images: how many ids it has.
        files, looks: of how many of them the bytes and the look are known, so that they were compared.
    """

    file: str
    fingerprint: str
    counts: dict[str, int]
    missing: int
    images: int
    files: int
    looks: int
    leaks: list[str]
    lookalikes: list[tuple[str, str, int]]
    notes: list[str]

    @property
    def exit_code(self) -> int:
        """3 where parts share something."""
        return 3 if self.leaks else 0

    def __rich__(self) -> str:
        sizes = ", ".join(f"{count:,} {part}" for part, count in self.counts.items())
        here = f"; {self.missing:,} of these images are not here" if self.missing else ""
        head = f"{self.file}: {sizes}{here}; fingerprint {self.fingerprint[:12]}"
        clean = "no image, no group and no file" if self.files else "no image and no group"
        found = [f"  leak: {leak}" for leak in self.leaks] or [f"  its parts share {clean}"]
        for what, known in (("files", self.files), ("look-alikes", self.looks)):
            if known < self.images:
                found.append(f"  {what}: {known:,} of {self.images:,} images compared")
        if self.lookalikes:
            tests = len({pair[0] for pair in self.lookalikes})
            found.append(f"  {tests} test images look like images to learn from; `train-head` scores with and without:")
            found += [f"    {one}  {other}  ({bits} of 64 bits differ)" for one, other, bits in self.lookalikes[:10]]
            found += ["    ..."] * (len(self.lookalikes) > 10)
        return "\n".join([head, *found, *(f"  {note}" for note in self.notes)])


def check(file: FILE, dataset: DATASET, root: ROOT = None, labels: LABELS = None) -> Checked:
    """Checks a split file against a dataset: fingerprint, ids, and that its parts share no image, group or file.

    Files and looks are compared where the images are here, and it says how many were. Ends with exit code 3 if
    anything is shared.

    Examples:
    harness splits check splits/biq2021-3.json --dataset biq2021
    """
    from harness.splits import kinds, leakage, lookalikes

    data = data_of(dataset, root, labels)
    whole = kinds.of_file(file, data)
    present = set(data.usable["id"])
    asked = [name for name in whole.ids if name in present]
    data = _looked_at(data, asked)
    leaks = [str(leak) for leak in leakage.check(whole, data.manifest)]
    alike = lookalikes.twins(data.looks(whole.test), data.looks([*whole.train, *whole.valid]))
    pairs = [(twin.id, twin.other, twin.distance) for twin in alike]
    return Checked(
        file=str(file),
        fingerprint=whole.fingerprint,
        counts=whole.counts,
        missing=len(whole.ids) - len(asked),
        images=len(whole.ids),
        files=int((data.manifest.loc[data.manifest["id"].isin(whole.ids), "sha256"] != "").sum()),
        looks=_looks(data, whole.ids),
        leaks=leaks,
        lookalikes=pairs,
        notes=_known(data),
    )


def _known(data: Dataset) -> list[str]:
    """Which datasets and encoders are known to share its images: tests with these are not clean."""
    from harness.datasets import sharing
    from harness.registry import encoders

    registry = encoders()
    told = [f"shared with {other}: {what}" for other, what in data.spec.shares.items()]
    for name in registry.names():
        corpora = [corpus for corpus in registry.get(name).spec.trained_on if corpus != sharing.UNKNOWN]
        told += sharing.seen(name, corpora, data.spec)
    return told


def _looked_at(data: Dataset, ids: list[str]) -> Dataset:
    """The dataset with digests and looks of these images; what is known of an unchanged file is not read again."""
    from cache.images import probe
    from harness import console

    if data.root is None:
        return data
    with console.progress("look at", len(ids), "file") as bar:
        return data.filled(probe, ids=ids, known=data.manifest, progress=bar.advance)


def _looks(data: Dataset, ids: Iterable[str]) -> int:
    """How many of these images can be compared by their look."""
    from harness.datasets.looks import NONE

    return sum(look != NONE for look in data.looks(ids).values())


def _families(data: Dataset) -> tuple[Dataset, str]:
    """The dataset with look-alikes in one group, and how many of its images that was made of.

    Raises:
        NotFoundError: no image is known by its look, so that nothing could be compared.
    """
    from dataclasses import replace

    from harness.errors import NotFoundError
    from harness.splits.lookalikes import families

    looked = _looked_at(data, [str(name) for name in data.usable["id"]])
    table, asked = looked.manifest, looked.labelled["id"]
    known = _looks(looked, asked)
    if not known:
        raise NotFoundError(
            f"{data.name}: --avoid-lookalikes compares images, and none of {len(asked):,} is here. "
            "Name the folder that holds them: --root DIR."
        )
    groups = families(table["group"].tolist(), table["looks"].tolist())
    spec = msgspec.structs.replace(data.spec, group_rule=f"{data.spec.group_rule}, look-alikes together")
    told = f"; look-alikes together: {known:,} of {len(asked):,} images compared"
    return replace(looked, spec=spec, manifest=table.assign(group=groups)), told


def data_of(dataset: str, root: Path | None, labels: Path | None) -> Dataset:
    """The labels of a dataset, wherever they lie; see `locate.labelled`."""
    from harness import config, locate

    settings = config.load()
    return locate.labelled(dataset, root, labels, settings, settings.path("stores", "stores"))


def _facts(file: Path, split: Split) -> Facts:
    facts: dict[str, object] = {
        "file": str(file),
        "fingerprint": split.fingerprint,
        "dataset": split.dataset,
        "name": split.name,
        "seed": split.seed,
        "group rule": split.group_rule,
        "rows": ", ".join(f"{count:,} {part}" for part, count in split.counts.items()),
        "how": split.note,
    }
    return Facts(f"split {split.name} of {split.dataset}", facts)
