"""`harness train-head`: fit a light head on stored features, never touching an image; choose on validation rows,
look at test rows once, and write a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cache.store import FeatureStore
    from harness.datasets.dataset import Dataset
    from harness.fit import Source
    from harness.splits.plans import Plan
    from harness.splits.split import Split
    from heads.base import Head


class Run(msgspec.Struct, frozen=True):
    """One fitted head and how it did on its own test rows."""

    id: str
    folder: str
    dataset: str
    variant: str
    features: list[str]
    split: str
    srcc: float | None
    plcc: float | None
    n: int
    valid_srcc: float | None
    stamps: list[str]
    seconds: float


class Runs(list[Run]):
    """Runs that draw themselves; hand them to `evaluate` and `report`."""

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, header_style="bold")
        for heading in (
            "run",
            "head",
            "split",
            "SRCC",
            "PLCC raw",
            "n test",
            "SRCC valid",
            "seconds",
            "stamps",
        ):
            table.add_column(
                heading,
                justify="right" if heading in ("SRCC", "PLCC raw", "n test", "SRCC valid", "seconds") else "left",
                no_wrap=heading == "run",  # to be typed again: never cut
                overflow="fold",
            )
        for r in self:
            table.add_row(
                r.id,
                r.variant,
                r.split,
                _number(r.srcc),
                _number(r.plcc),
                str(r.n),
                _number(r.valid_srcc),
                f"{r.seconds:.1f}",
                " ".join(r.stamps),
            )
        return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


@verb
def train_head(
    variant: Annotated[str, typer.Option(help="A name of `harness heads ls`: fft, spatial, sam-iqa, mlp, ridge.")],
    dataset: Annotated[str | None, typer.Option(help="Which dataset's store (default: the only one there is).")] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Which encoder's store (default: the only one there is); of several, features side by side."),
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(help="Which view's store, as encoder; native half: two scales, features side by side."),
    ] = None,
    features: Annotated[
        list[str] | None, typer.Option(help="TAP:WHAT, several allowed (default: what the head asks for).")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="The stores' folder, or one store (default: ./stores).")] = None,
    runs: Annotated[Path | None, typer.Option(help="Where runs go (default: ./runs).")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="official (official:NAME where several are published), random:10, stratified:10, leave-one-out or a "
            "split file (default: official, else random:1); all leaves nothing to test on."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random in the fit.")] = 0,
    set: Annotated[list[str] | None, typer.Option(help="key=value settings of the head, several allowed.")] = None,
    device: Annotated[
        str, typer.Option(help="Where a network trains: cpu, cuda, cuda:1, mps or auto; no part of a run's identity.")
    ] = "auto",
    root: Annotated[Path | None, typer.Option(help="The dataset's folder, to read its labels afresh.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Its label files, where they lie elsewhere.")] = None,
    plan: Annotated[
        str | None, typer.Option(help="Instead of a split: train what a plan of `harness splits plans` trains.")
    ] = None,
    allow_leakage: Annotated[
        bool, typer.Option("--allow-leakage", help="Use a split that leaks; everything made from it is stamped LEAKY.")
    ] = False,
) -> Runs:
    """Trains a head from the feature store in seconds, and scores it once on the split's test rows.

    Examples:
    harness train-head --variant fft
    harness train-head --variant ridge --dataset biq2021 --features '*:moments' --split official
    harness train-head --variant mlp --split random:10 --set epochs=50
    harness train-head --variant ridge --view native half
    harness train-head --variant ridge --plan leave-one-dataset-out:tid2013,csiq,kadid10k

    Returns:
        One run a split, with SRCC and PLCC on its test rows; of a plan one run for each thing that it trains.
    """
    from harness import console, locate
    from harness.config import current
    from harness.devices import pick_device
    from harness.errors import UsageError
    from harness.examples import features_of
    from harness.fit import Source, fit_runs, fit_together
    from harness.splits.kinds import checked, here
    from harness.splits.ready import named
    from harness.verbs.plans import opener

    config, call = current()
    where = pick_device(device)
    place = runs or config.path("runs", "runs")
    if plan is not None:
        if split is not None or root is not None:
            raise UsageError("--plan brings its own splits of its own datasets: leave --split and --root out.")

        stores = store or config.path("stores", "stores")
        data_of = opener(labels, locate.stores_top(stores))

        def source(one: Split) -> tuple[Head, Source]:
            opened, data = locate.find_stores(stores, one.dataset, encoder, view), data_of(one.dataset)
            head, names = make_head(variant, opened, features, set)
            head.device = where
            rows = here(checked(one, data, f"plan {plan}"), data)
            return head, Source(data, opened, features_of(opened, names), rows)

        def fit(head: Head, sources: list[Source]) -> list[Path]:
            if len(sources) > 1:
                return [fit_together(sources, head, seed, place, call, allow_leakage)]
            data, opened, rows, one = sources[0]
            return fit_runs(data, opened, rows, head, [one], seed, place, call, allow_leakage)

        return Runs(read_run(folder) for folder in train_plan(named(plan, data_of), dataset, source, fit))
    opened, data = open_data(dataset, encoder, view, store, root, labels)
    head, names = make_head(variant, opened, features, set)
    head.device = where
    chosen, note = make_splits(data, split)
    console.say(note)
    folders = fit_runs(data, opened, features_of(opened, names), head, chosen, seed, place, call, allow_leakage)
    return Runs(read_run(folder) for folder in folders)


def train_plan(
    plan: Plan,
    dataset: str | None,
    source: Callable[[Split], tuple[Head, Source]],
    fit: Callable[[Head, list[Source]], list[Path]],
) -> list[Path]:
    """Trains every leg of a plan whose stores are here; of the others it says what lacks.

    Args:
        dataset: only what is trained on this one (`a+b` for several).

    Raises:
        NotFoundError: nothing of it can be trained from the stores that are here.
    """
    from harness import console
    from harness.errors import NotFoundError
    from harness.splits.errors import SplitError

    folders: list[Path] = []
    lacking: list[str] = []
    for leg in plan.trained():
        if dataset in (None, leg.learnt.dataset):
            try:
                found = [source(split) for split in leg.train]
            except (NotFoundError, SplitError) as error:
                lacking.append(f"{leg.name} is not trained. {error}")
                continue
            sources = [one for _, one in found]
            for part in ("train", "valid"):
                here = sum(len(one.split.part(part)) for one in sources)
                console.say(f"{leg.name}: {here:,} of {len(leg.learnt.part(part)):,} {part} rows are here")
            folders += fit(found[0][0], sources)
    if not folders:
        raise NotFoundError("\n".join(lacking) or f"Plan {plan.name} trains nothing on {dataset} alone.")
    for text in lacking:
        console.say(text)
    return folders


def read_run(folder: Path) -> Run:
    """A run as it stands on the disk, with its scores on its own test rows."""
    from harness import evaluation, runs
    from reports import card as cards

    card = cards.load_run(folder / "card.json")
    tested = runs.has_own_test(folder, card)
    numbers = (
        evaluation.summary(runs.test_predictions(folder, card)) if tested else {"srcc": None, "plcc": None, "n": 0}
    )
    return Run(
        id=card.id,
        folder=str(folder),
        dataset=card.dataset,
        variant=card.variant,
        features=list(card.features),
        split=card.split_name,
        srcc=numbers["srcc"],
        plcc=numbers["plcc"],
        n=numbers["n"],
        valid_srcc=card.valid_srcc,
        stamps=list(card.stamps),
        seconds=sum(card.seconds.values()),
    )


def open_data(
    dataset: str | None,
    encoders: list[str] | None,
    views: list[str] | None,
    store: Path | None,
    root: Path | None,
    labels: Path | None,
) -> tuple[list[FeatureStore], Dataset]:
    """The store that fits each encoder and view, and the labels of their dataset: read afresh where the dataset's
    folder is known, else as `precompute` saw them.
    """
    from harness import locate
    from harness.config import current

    config, _ = current()
    if dataset is None and len(config.datasets) == 1:
        dataset = next(iter(config.datasets))
    opened = locate.find_stores(store or config.path("stores", "stores"), dataset, encoders, views)
    return opened, locate.labelled(opened[0].dataset, root, labels, config, opened[0].path.parents[1])


def make_head(
    variant: str, stores: list[FeatureStore], features: list[str] | None, settings: list[str] | None
) -> tuple[Head, list[str]]:
    """An unfitted head and the names of the features that it reads.

    Raises:
        UsageError: unknown head, setting or feature; a head of maps on an encoder that gives a vector.
        NotFoundError: a store does not have a feature yet (says how to add it).
    """
    from harness.examples import qualified
    from harness.registry import heads

    kind = heads().get(variant)
    head: Head = kind(parse_settings(variant, settings))
    return head, [
        qualified(stores, store, name)
        for store, patterns in patterns_of(stores, features)
        for name in read_of(store, head, patterns)
    ]


def patterns_of(stores: list[FeatureStore], asked: list[str] | None) -> Iterator[tuple[FeatureStore, list[str]]]:
    """The patterns that are meant for each store: `encoder@view/TAP:WHAT` for that one, `TAP:WHAT` for all; none where
    none were typed.

    Raises:
        UsageError: a pattern for a store that is not among them, a store that none is for.
    """
    from harness.errors import UsageError

    known = [store.prefix for store in stores]
    for pattern in asked or []:
        prefix, slash, _ = pattern.rpartition("/")
        if slash and prefix not in known:
            raise UsageError(f"{pattern!r} is of none of the stores read: {', '.join(known)}. Name it by --view.")
    for store in stores:
        own = [p.rpartition("/")[2] for p in asked or [] if p.rpartition("/")[0] in ("", store.prefix)]
        if asked and not own:
            raise UsageError(
                f"No feature of {store.prefix} was asked for. Add one (--features {store.prefix}/TAP:WHAT), or leave "
                "that store out by --encoder and --view."
            )
        yield store, own


def read_of(store: FeatureStore, head: Head, patterns: list[str]) -> list[str]:
    """What a head reads of one store: what the patterns say, or what it asks for."""
    from cache.features import expand, parse_feature
    from harness.errors import NotFoundError

    available = [str(f) for f in store.features()]
    taps, vectors = [tap.name for tap in store.taps], [tap.name for tap in store.taps if tap.stride == 0]
    if patterns:
        names = [str(f) for f in expand(patterns, taps, vectors=vectors)]
    else:
        output = str(store.provenance.get("output", ""))
        kept = store.provenance.get("features", [*[f"{output}:map"] * (output in taps), "*:moments"])
        halved = [f"{output}:map8"] * (output in taps and output not in vectors)
        offered = [name for name in map(str, expand([*kept, *halved], taps, vectors=vectors)) if name in available]
        names = head.default_features(offered, output)
    missing = [name for name in names if name not in available]
    for name in (name for name in missing if "*" not in name):
        store.width(parse_feature(name))  # refuses what none of its taps gives
    if missing or not names:
        raise NotFoundError(
            f"{head.variant} reads {', '.join(names) or 'features'}; the store {store.path} has "
            f"{', '.join(available) or 'nothing yet'}. Add what is missing: {how_to_add(store, missing)}"
        )
    return names


def how_to_add(store: FeatureStore, features: Sequence[str]) -> str:
    """The command that adds features to a store."""
    encoder, view = store.identity.encoder.name, store.identity.view.name
    shown = " ".join(repr(f) if "*" in f else f for f in features) or "..."
    return f"harness precompute --dataset {store.dataset} --encoder {encoder} --view {view} --features {shown}"


def parse_settings(variant: str, settings: list[str] | None) -> dict[str, Any]:
    """`["epochs=20"]` -> `{"epochs": "20"}`; the head checks names and types."""
    from harness.errors import UsageError

    pairs: dict[str, Any] = {}
    for item in settings or []:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--set wants key=value, found {item!r}. `harness heads info {variant}` lists the keys.")
        pairs[key] = value
    return pairs


def make_splits(data: Dataset, asked: str | None) -> tuple[list[Split], str]:
    """The splits asked for, or the dataset's own, and a line that says which."""
    kind = asked or ("official" if data.spec.official_split else "random:1")
    splits = data.splits(kind)
    why = "" if asked else " (its official one)" if data.spec.official_split else " (it has no official one)"
    first = splits[0]
    return splits, (
        f"{data.name}: split {kind}{why}, {len(first.train)} train / {len(first.valid)} valid / {len(first.test)} test"
        + (f"; {first.note}" if first.note else "")
    )
