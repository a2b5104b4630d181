"""Ready plans by name: `koniq-ood`, `cross:A,B`, `leave-one-dataset-out:A,B,C`, `arniqa`. Turns them into lists of ids.

What a published protocol states in numbers is stated here too: label files that give other counts are not its rows, and
stand in the plan as absent, with both counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.splits import kinds, published
from harness.splits.errors import SplitError, SplitUsageError
from harness.splits.plans import FILE, Absent, Leg, Plan
from harness.splits.split import PARTS, Split

if TYPE_CHECKING:
    from harness.datasets.dataset import Dataset

type Open = Callable[[str], Dataset]
"""Dataset name -> its labels; raises a user's error where they are not here."""

NO_LABELS = "no label files here"
NO_FILES = "needs ARNIQA's files: harness splits plans arniqa --files ARNIQA/datasets --labels LABELS --out DIR"


class Protocol(NamedTuple):
    """A cross-dataset protocol in numbers.

    Attributes:
        split: which published split of `train` trains and chooses.
        counts: its train, valid and test rows.
        tests: dataset -> rows, all of which are tested.
    """

    train: str
    split: str
    counts: tuple[int, int, int]
    tests: dict[str, int]
    source: str


READY = {
    "koniq-ood": Protocol(
        train="koniq10k",
        split="official",
        counts=(7058, 1000, 2015),
        tests={
            "spaq": 11125,
            "livec": 1162,
            "flive": 39810,
            "kadid10k": 10125,
            "csiq": 866,
            "agiqa3k": 2982,
            "pipal": 23200,
        },
        source="the sets of table 3 of DeQA-Score (Z. You et al., CVPR 2025; read second-hand) and AGIQA-3k; counts "
        "are those of the authors' label files. That published figures rest on exactly these rows is unverified",
    )
}
ARNIQA = (
    "L. Agnolucci, L. Galteri, M. Bertini, A. Del Bimbo: ARNIQA, WACV 2024; row numbers of miccunifi/ARNIQA, "
    "datasets/*/splits, with each list's own row order. Ten splits a dataset (FLIVE: one); the median is reported"
)
FORMS = (*READY, "arniqa", "cross:A,B", "leave-one-dataset-out:A,B,C", "a plan's folder")


def named(text: str, opened: Open, files: Path | None = None, labels: Path | None = None) -> Plan:
    """The plan that a text names, with the labels that are here.

    Args:
        files: ARNIQA's folder of datasets, for `arniqa`.
        labels: the folder that holds label files in one subfolder a dataset, for `arniqa`.

    Raises:
        SplitUsageError: no such plan.
        NotFoundError: `cross` and `leave-one-dataset-out`: no labels of a dataset that trains.
        SplitError: a folder that cannot be trusted.
    """
    kind, _, rest = text.partition(":")
    datasets = [name.strip() for name in rest.split(",") if name.strip()]
    if text in READY:
        return _protocol(text, opened)
    if kind == "cross" and len(datasets) == 2:
        return cross(datasets[0], datasets[1], opened)
    if kind == "leave-one-dataset-out" and len(datasets) > 2:
        return leave_one_out(datasets, opened)
    if text == "arniqa":
        return arniqa(files, labels)
    if (Path(text) / FILE).is_file():
        return Plan.load(Path(text))
    raise SplitUsageError(
        f"Unknown plan {text!r}. Expected {', '.join(FORMS[:-1])} (two datasets to cross, three at least to leave one "
        f"out), or {FORMS[-1]} with {FILE}."
    )


def _protocol(name: str, opened: Open) -> Plan:
    protocol = READY[name]
    trains: dict[str, int] = dict(zip(PARTS, protocol.counts, strict=True))
    found = [
        _listed(protocol.train, "train", trains, lambda: kinds.whole_splits(protocol.split, opened(protocol.train))[0]),
        *(_tested(test, {"test": count}, opened) for test, count in protocol.tests.items()),
    ]
    return Plan(name=name, source=protocol.source, legs=(_leg(f"{protocol.train} to others", found),))


def cross(train: str, test: str, opened: Open) -> Plan:
    """All of one dataset trains, but for the validation groups carved from it; all of the other is tested."""
    found = [kinds.learnt_whole(opened(train)), _tested(test, {}, opened)]
    return Plan(name=f"cross:{train},{test}", source="ours", legs=(_leg(f"{train} to {test}", found),))


def leave_one_out(datasets: Iterable[str], opened: Open) -> Plan:
    """For each dataset a leg that trains on all others together, each with its own validation groups, and tests it."""
    names = sorted(datasets)
    splits = {name: kinds.learnt_whole(opened(name)) for name in names}
    tests = {name: kinds.tested_whole(opened(name)) for name in names}
    legs = [
        Leg(
            name=f"all but {name}", train=tuple(splits[other] for other in names if other != name), tests=(tests[name],)
        )
        for name in names
    ]
    return Plan(name=f"leave-one-dataset-out:{','.join(names)}", source="ours", legs=tuple(legs))


def arniqa(files: Path | None, labels: Path | None) -> Plan:
    """ARNIQA's splits, each a leg of its own that is tested on its own test rows.

    Args:
        files: the folder of its datasets (`CSIQ/splits/train.npy`, or without `splits`).
        labels: label files, one subfolder a dataset or archive: the lists whose rows its numbers count.
    """
    from harness.datasets.dataset import open_dataset, reader_of

    legs: list[Leg] = []
    for name, rows in published.ARNIQA.items():
        places = [files / rows.folder / "splits", files / rows.folder] if files else []
        folder = next((place for place in places if (place / "train.npy").is_file()), None)
        lists = [path for wanted in rows.lists if labels for path in sorted(labels.glob(f"*/{wanted}"))]
        if folder is None or not lists:
            lack = f"no {rows.folder}/splits/train.npy in {files}" if files else NO_FILES
            why = lack if folder is None else f"no list {' or '.join(rows.lists)} in a subfolder of --labels"
            legs.append(Leg(name=name, absent=(Absent(name, "train", {}, why),)))
            continue
        data = open_dataset(name, None, lists[0].parent)
        order = reader_of(data.spec).order(lists[0])
        legs += [
            Leg(name=f"{name}, split {number}", train=(published.arniqa(data, folder, order, lists[0].name, number),))
            for number in range(published.how_many(folder))
        ]
    return Plan(name="arniqa", source=ARNIQA, legs=tuple(legs))


def _leg(name: str, found: Iterable[Split | Absent]) -> Leg:
    lists = list(found)
    splits = [one for one in lists if isinstance(one, Split)]
    return Leg(
        name=name,
        train=tuple(split for split in splits if split.train),
        tests=tuple(split for split in splits if not split.train),
        absent=tuple(one for one in lists if isinstance(one, Absent)),
    )


def _tested(dataset: str, counts: dict[str, int], opened: Open) -> Split | Absent:
    return _listed(dataset, "test", counts, lambda: kinds.tested_whole(opened(dataset)))


def _listed(dataset: str, role: str, counts: dict[str, int], made: Callable[[], Split]) -> Split | Absent:
    """The list, or why it is absent: the rest of the plan stands without it."""
    from harness.datasets.errors import DatasetError
    from harness.errors import NotFoundError

    try:
        split = made()
    except NotFoundError:
        return Absent(dataset, role, counts, NO_LABELS)
    except (DatasetError, SplitError) as error:
        return Absent(dataset, role, counts, str(error))
    found = {part: count for part, count in split.counts.items() if count}
    if counts and found != counts:
        return Absent(dataset, role, counts, f"these label files have {_rows(found)}")
    return split


def _rows(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {part}" for part, count in counts.items())
