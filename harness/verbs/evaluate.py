"""`harness evaluate`: fitted runs on other datasets (or on their own test rows again), from the store; never fits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from cache.joined import JoinedFeatures
    from cache.rows import Features
    from cache.store import FeatureStore
    from harness.datasets.dataset import Dataset
    from harness.splits.plans import Leg, Plan
    from harness.splits.ready import Open
    from heads.base import Head
    from reports.card import Evaluation, RunCard

WHOLE = "all"
"""What all rows of a dataset are called in an evaluation."""


class Evaluated(msgspec.Struct, frozen=True):
    """One run on one set of rows; `absent` says why there is none."""

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
    absent: str = ""
    notes: list[str] = []


class Evaluations(list[Evaluated]):
    """Evaluations that draw themselves; `report` takes them like runs."""

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold")
        for heading in ("run", "on", "SRCC", "PLCC raw", "n", "asked", "stamps"):
            right = heading in ("SRCC", "PLCC raw", "n", "asked")
            table.add_column(heading, justify="right" if right else "left", no_wrap=heading == "run", overflow="fold")
        for r in self:
            numbers = ("-" if v is None else f"{v:.3f}" for v in (r.srcc, r.plcc))
            said = f"absent: {r.absent}" if r.absent else " ".join(r.stamps)
            table.add_row(r.run, f"{r.dataset} ({r.rows})", *numbers, f"{r.n:,}", f"{r.asked:,}", said)
        return Group(table, *(Text(f"  {note}") for note in dict.fromkeys(note for r in self for note in r.notes)))


class Place(NamedTuple):
    """Where the work is done, and how: the same for every run and dataset of one call."""

    stores: Path
    data: Open
    command: str
    allow_leakage: bool


@verb
def evaluate(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or run ids.")],
    on: Annotated[list[str] | None, typer.Option(help="Datasets to test on, with commas between.")] = None,
    plan: Annotated[
        str | None, typer.Option(help="Instead: what a plan of `harness splits plans` tests, and a check of its ids.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="The stores' folder (default: ./stores).")] = None,
    root: Annotated[Path | None, typer.Option(help="The dataset's folder, to read its labels afresh.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Its label files, where they lie elsewhere; with --plan one subfolder a dataset."),
    ] = None,
    allow_leakage: Annotated[
        bool, typer.Option("--allow-leakage", help="Test on files that were learnt from too; stamped LEAKY.")
    ] = False,
) -> Evaluations:
    """Scores fitted runs on whole other datasets, from their feature stores.

    The store must hold the features that the run was trained on, made by the same encoder, weights, view and precision.
    On the run's own dataset its test rows are used. A plan refuses a run that was trained on other ids than its own;
    what it tests and is not here is written down as absent, and stands in reports with the reason.

    Examples:
    harness evaluate runs/* --on livec
    harness evaluate runs/biq2021-ridge-official-1a2b3c4d --on livec,spaq
    harness evaluate runs/koniq10k-* --plan koniq-ood

    Returns:
        One evaluation a run and dataset; each is written into the run's folder.
    """
    from harness import console, locate
    from harness import runs as runs_of
    from harness.config import current
    from harness.errors import UsageError
    from harness.splits.ready import named
    from harness.verbs.plans import opener

    config, call = current()
    names = [name.strip() for some in on or [] for name in some.split(",") if name.strip()]
    if (plan is None) != bool(names) or (plan is not None and root is not None):
        raise UsageError("Expected --on DATASET,... or --plan NAME, one of them; --plan takes no --root.")
    folders = runs_of.fitted([locate.run_folder(run, config) for run in runs])
    stores = store or config.path("stores", "stores")
    top = locate.stores_top(stores)
    data = locate.labelled_once(root, lambda _: labels, config, top) if plan is None else opener(labels, top)
    place = Place(stores, data, call.command, allow_leakage)
    found = Evaluations()
    if plan is not None:
        made = named(plan, data)
        with console.progress("evaluate", len(folders), "run") as bar:
            for folder in folders:
                found += _planned(place, folder, made)
                bar.advance()
        return found
    with console.progress("evaluate", len(folders) * len(names), "run") as bar:
        for name in names:
            for folder in folders:
                found.append(_one(place, folder, name))
                bar.advance()
    return found


def _planned(place: Place, folder: Path, plan: Plan) -> list[Evaluated]:
    """A run on all that its leg of a plan tests, its own test rows first; what is not here comes last, as absent.

    Raises:
        ProtocolError: the run was trained on other ids than the plan's.
    """
    from harness import console
    from harness.errors import NotFoundError
    from harness.locate import stores_under
    from harness.runs import has_own_test
    from reports import card as cards

    run = cards.load_run(folder / "card.json")
    leg = _leg_of(place, run, plan)
    gaps = {gap.dataset: (gap.counts.get("test", 0), gap.why.partition(":")[0]) for gap in leg.absent}
    stores = [(path.parent.name, path.name) for path in stores_under(place.stores)]
    here = {name for name, _ in stores if all((name, wanted) in stores for wanted in cards.apart(run.store))}
    found = [_one(place, folder, run.dataset)] if has_own_test(folder, run) else []
    for split in leg.tests:
        if split.dataset not in here:
            gaps[split.dataset] = (len(split.test), "no feature store here")
            continue
        try:
            found.append(_one(place, folder, split.dataset, leg))
        except NotFoundError as error:
            console.say(str(error))
            gaps[split.dataset] = (len(split.test), "its store does not serve this run")
    for name, (asked, why) in gaps.items():
        features = " ".join(repr(feature) for feature in run.features)
        console.say(
            f"{name}: {why}; make it: harness precompute --dataset {name} --encoder {run.encoder} --features {features}"
        )
        found.append(_absent(place, folder, run, name, asked, why))
    return found


def _leg_of(place: Place, run: RunCard, plan: Plan) -> Leg:
    from harness.errors import NotFoundError, ProtocolError

    def usable(dataset: str) -> list[str]:
        try:
            return [str(name) for name in place.data(dataset).usable["id"]]
        except NotFoundError:  # of a plan's folder, whose lists need no labels
            return []

    legs = [leg for leg in plan.trained() if leg.learnt.dataset == run.dataset]
    for leg in legs:
        # Images that are not here could not be trained on; the run says SUBSET.
        if run.split_fingerprint in (leg.learnt.fingerprint, leg.restrict(usable).learnt.fingerprint):
            return leg
    wanted = " or ".join(f"{leg.learnt.dataset}, ids {leg.learnt.fingerprint[:12]}" for leg in legs[:3])
    raise ProtocolError(
        f"{run.id}: plan {plan.name} expects a run trained on "
        f"{wanted or ' or '.join(sorted({leg.learnt.dataset for leg in plan.trained()}))}, found one trained on "
        f"{run.dataset} ({run.split_name}), ids {run.split_fingerprint[:12]}. "
        f"Train it: harness train-head --variant {run.variant} --plan {plan.name}"
    )


def _absent(place: Place, folder: Path, run: RunCard, name: str, asked: int, why: str) -> Evaluated:
    """Writes down that nothing could be predicted; an evaluation that is there already stays."""
    from harness import evaluation, runs
    from reports import card as cards
    from reports import predictions
    from reports.card import Evaluation
    from reports.scores import SCORER

    there = folder / "evaluations" / evaluation.folder_name(name, WHOLE)
    if (there / "card.json").is_file():
        card = cards.load_evaluation(there / "card.json")
        if not card.absent:
            return _told(folder, card, predictions.read(there / "predictions.parquet"))
    card = Evaluation(
        run=run.id,
        dataset=name,
        rows=WHOLE,
        counts={"asked": asked, "used": 0, "missing": asked, "failed": 0},
        failures={why: asked},
        stamps=run.stamps,
        scorer=SCORER,
        scale={},
        seconds=0.0,
        provenance=runs.provenance_of(place.command),
        absent=why,
    )
    evaluation.write(folder / "evaluations", card, predictions.none())
    return _told(folder, card, predictions.none())


def _one(place: Place, folder: Path, name: str, leg: Leg | None = None) -> Evaluated:
    """One run on one dataset.

    Args:
        leg: of a plan: whose list of ids is tested, and which rows were learnt from; None: all rows that are here.
    """
    from harness import evaluation, locate, runs, stamps
    from harness.datasets.scale import QualityMap
    from harness.errors import NotFoundError, UsageError
    from harness.examples import Joined
    from harness.splits.kinds import checked
    from harness.splits.lookalikes import twins
    from heads.checkpoint import load_head
    from reports import card as cards

    run = cards.load_run(folder / "card.json")
    own = name in run.datasets
    if own and not runs.has_own_test(folder, run):
        raise UsageError(f"{run.id} learnt from all of {name}: it can be tested on other datasets only.")
    opened = [locate.find_store(place.stores, name, store_name=wanted) for wanted in cards.apart(run.store)]
    data = place.data(name)
    head = load_head(folder / "head")
    features = select(opened, run, head)
    asked = next((split for split in leg.tests if split.dataset == name), None) if leg else None
    if own:
        ids = [str(i) for i in runs.test_predictions(folder, run)["id"]]
        rows = runs.test_rows(run.split_name)
    else:
        ids = data.judged if asked is None else list(checked(asked, data, f"the plan's list of {name}").test)
        rows = WHOLE
    if not ids:
        raise NotFoundError(f"{name}: no labelled rows to evaluate on. Check it: harness datasets verify {name}")
    # On its own dataset a run keeps the map that it was trained with: an open scale's was fitted on its train rows.
    quality_map = msgspec.convert(run.quality_map, QualityMap) if own else data.quality_map(data.labelled["id"])
    joined = Joined(data, opened, features, quality_map)
    origin = runs.provenance_of(place.command)
    home = opened[0].path.parents[1]
    learnt = [] if own else _learnt(home, folder, run, leg)
    leaky = [stamps.LEAKY] * _leaks(learnt, data, ids, place.allow_leakage)
    pages = [page for page in (locate.page_of(source, home) for source in run.datasets) if page is not None]
    card, frame = evaluation.evaluate(run.id, head, joined, ids, rows, [*run.stamps, *leaky], origin, pages)
    evaluation.write(folder / "evaluations", card, frame)
    hashes = {
        (i if run.dataset == source.name else f"{source.name}/{i}"): look
        for source, some in learnt
        for i, look in source.looks(some).items()
    }
    for result in evaluation.cleaned(card, frame, twins(data.looks(ids), hashes)):
        evaluation.write(folder / "evaluations", *result)
    return _told(folder, card, frame)


def _told(folder: Path, card: Evaluation, frame: pd.DataFrame) -> Evaluated:
    from harness import evaluation

    numbers = evaluation.summary(frame)
    return Evaluated(
        run=card.run,
        folder=str(folder),
        dataset=card.dataset,
        rows=card.rows,
        srcc=numbers["srcc"],
        plcc=numbers["plcc"],
        n=numbers["n"],
        asked=card.counts["asked"],
        failures=card.failures,
        stamps=card.stamps,
        absent=card.absent,
        notes=card.notes,
    )


def _learnt(stores: Path, folder: Path, run: RunCard, leg: Leg | None) -> list[tuple[Dataset, list[str]]]:
    """The datasets that a run learnt from, as far as they are known here, and which ids: all but its own test rows
    where no plan tells."""
    from harness import runs
    from harness.datasets import saved
    from harness.datasets.errors import DatasetError

    told = {split.dataset: [*split.train, *split.valid] for split in leg.train} if leg else {}
    tested = set(runs.test_predictions(folder, run)["id"]) if runs.has_own_test(folder, run) else set[str]()
    found: list[tuple[Dataset, list[str]]] = []
    for name in run.datasets:
        try:
            data = saved.load(stores / name)
        except DatasetError:  # its stores are elsewhere: nothing to compare with
            continue
        found.append((data, told.get(name) or [str(i) for i in data.manifest["id"] if i not in tested]))
    return found


def _leaks(learnt: list[tuple[Dataset, list[str]]], data: Dataset, ids: list[str], allowed: bool) -> bool:
    """Whether tested files were learnt from too; that is stopped unless it is allowed.

    Raises:
        ProtocolError: says which.
    """
    from harness.errors import ProtocolError
    from harness.splits.leakage import across

    found = [leak for source, some in learnt for leak in across(source, some, data, ids)]
    if found and not allowed:
        shown = "\n".join(f"  {leak}" for leak in found)
        raise ProtocolError(
            f"{data.name}: tested rows must not be files that were learnt from; found\n{shown}\n"
            "Test on another dataset, or type --allow-leakage: everything is stamped LEAKY."
        )
    return bool(found)


def select(stores: list[FeatureStore], run: RunCard, head: Head) -> Features | JoinedFeatures:
    """The features that a head reads, from stores that must hold them all.

    Raises:
        NotFoundError: says which are missing and how to add them.
    """
    from harness import examples
    from harness.errors import NotFoundError
    from harness.verbs.train_head import how_to_add

    for store in stores:
        have = {examples.qualified(stores, store, str(f)) for f in store.features()}
        own = [n for n in head.features if len(stores) == 1 or n.startswith(f"{store.prefix}/")]
        missing = [name.rpartition("/")[2] for name in own if name not in have]
        if missing:
            raise NotFoundError(
                f"{run.id} reads {', '.join(head.features)}; the store of {store.dataset} lacks {', '.join(missing)}. "
                f"Add it: {how_to_add(store, missing)}"
            )
    return examples.features_of(stores, head.features)
