"""`harness evaluate`: fitted runs on other datasets (or on their own test rows again), from the store; never fits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cache.rows import Features
    from cache.store import FeatureStore
    from heads.base import Head
    from reports.card import RunCard


class Evaluated(msgspec.Struct, frozen=True):
    """One run on one set of rows."""

    run: str
    folder: str
    dataset: str
    rows: str
    srcc: float | None
    plcc: float | None
    n: int
    asked: int
    failures: dict[str, int]
    stamps: list[str]
    notes: list[str]


class Evaluations(list[Evaluated]):
    """Evaluations that draw themselves; `report` takes them like runs."""

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold")
        for heading in ("run", "on", "SRCC", "PLCC raw", "n", "asked", "stamps"):
            table.add_column(heading, justify="right" if heading in ("SRCC", "PLCC raw", "n", "asked") else "left")
        for r in self:
            numbers = ("-" if v is None else f"{v:.3f}" for v in (r.srcc, r.plcc))
            table.add_row(r.run, f"{r.dataset} ({r.rows})", *numbers, str(r.n), str(r.asked), " ".join(r.stamps))
        return Group(table, *(Text(f"  {note}") for note in dict.fromkeys(note for r in self for note in r.notes)))


@verb
def evaluate(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or run ids.")],
    on: Annotated[list[str], typer.Option(help="Datasets to test on, with commas between.")],
    store: Annotated[Path | None, typer.Option(help="The stores' folder (default: ./stores).")] = None,
    root: Annotated[Path | None, typer.Option(help="The dataset's folder, to read its labels afresh.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Its label files, where they lie elsewhere.")] = None,
) -> Evaluations:
    """Scores fitted runs on whole other datasets, from their feature stores.

    The store must hold the features that the run was trained on, made by the same encoder, weights, view and precision.
    On the run's own dataset its test rows are used.

    Examples:
    harness evaluate runs/* --on livec
    harness evaluate runs/biq2021-ridge-official-1a2b3c4d --on livec,spaq

    Returns:
        One evaluation a run and dataset; each is written into the run's folder.
    """
    from harness import console
    from harness.config import current
    from harness.locate import run_folder

    config, call = current()
    folders = [run_folder(run, config) for run in runs]
    names = [name.strip() for some in on for name in some.split(",") if name.strip()]
    found = Evaluations()
    with console.progress("evaluate", len(folders) * len(names), "run") as bar:
        for name in names:
            for folder in folders:
                found.append(_one(folder, name, store or config.path("stores", "stores"), root, labels, call.command))
                bar.advance()
    return found


def _one(folder: Path, name: str, stores: Path, root: Path | None, labels: Path | None, command: str) -> Evaluated:
    from harness import evaluation, locate, runs
    from harness.datasets import saved
    from harness.datasets.scale import QualityMap
    from harness.errors import NotFoundError
    from harness.examples import Joined
    from harness.splits.lookalikes import twins
    from harness.verbs.train_head import open_data
    from heads.checkpoint import load_head
    from reports import card as cards

    run = cards.load_run(folder / "card.json")
    opened = locate.find_store(stores, name, None, run.store)
    _, data = open_data(name, opened.name.split("@")[0], opened.path, root, labels)
    head = load_head(folder / "head")
    features = select(opened, run, head)
    own = name == run.dataset
    if own:
        ids = [str(i) for i in runs.test_predictions(folder, run)["id"]]
        rows = runs.test_rows(run.split_name)
    else:
        ids = data.judged
        rows = "all"
    if not ids:
        raise NotFoundError(f"{name}: no labelled rows to evaluate on. Check it: harness datasets verify {name}")
    # On its own dataset a run keeps the map that it was trained with: an open scale's was fitted on its train rows.
    quality_map = msgspec.convert(run.quality_map, QualityMap) if own else data.quality_map(data.labelled["id"])
    joined = Joined(data, opened, features, quality_map)
    origin = runs.provenance_of(command)
    trained = locate.page_of(run.dataset, opened.path.parents[1])
    card, predictions = evaluation.evaluate(run.id, head, joined, ids, rows, run.stamps, origin, trained)
    evaluation.write(folder / "evaluations", card, predictions)
    learnt = None if own else saved.earlier(opened.path.parents[1] / run.dataset)
    if learnt is not None:
        hashes = dict(zip(learnt["id"], learnt["looks"], strict=True))
        for result in evaluation.cleaned(card, predictions, twins(data.looks(ids), hashes)):
            evaluation.write(folder / "evaluations", *result)
    numbers = evaluation.summary(predictions)
    return Evaluated(
        run=run.id,
        folder=str(folder),
        dataset=name,
        rows=rows,
        srcc=numbers["srcc"],
        plcc=numbers["plcc"],
        n=numbers["n"],
        asked=card.counts["asked"],
        failures=card.failures,
        stamps=card.stamps,
        notes=card.notes,
    )


def select(store: FeatureStore, run: RunCard, head: Head) -> Features:
    """The features that a head reads, from a store that must hold them all.

    Raises:
        NotFoundError: says which are missing and how to add them.
    """
    from harness.errors import NotFoundError

    available = [str(f) for f in store.features()]
    missing = [name for name in head.features if name not in available]
    if missing:
        raise NotFoundError(
            f"{run.id} reads {', '.join(head.features)}; the store of {store.dataset} lacks {', '.join(missing)}. "
            "Add it: "
            f"harness precompute --dataset {store.dataset} --encoder {run.encoder} --features {' '.join(missing)}"
        )
    return store.select(head.features)
