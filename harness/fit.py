"""Fitting one head on many splits, and writing a run for each. The only place where a fitted head first meets test
rows.

A run's identity covers labels, split, features, head revision, settings and seed; an identical run that is there
already is read, not made again. Test rows are predicted after the fit is over and choose nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from harness import console, evaluation, examples, runs, stamps
from harness.datasets.manifest import parts_of
from harness.errors import ProtocolError
from harness.examples import Joined
from harness.splits import leakage
from harness.splits.lookalikes import twins
from harness.splits.plans import together

if TYPE_CHECKING:
    import pandas as pd

    from cache.joined import JoinedFeatures
    from cache.rows import Features
    from cache.store import FeatureStore
    from harness.config import Call
    from harness.datasets.dataset import Dataset
    from harness.datasets.scale import QualityMap
    from harness.splits.split import Split
    from heads.base import Examples, FitPlan, Head
    from reports.card import Evaluation, Provenance, RunCard


class Source(NamedTuple):
    """A dataset that is one of several to train on, with its rows that are here."""

    data: Dataset
    stores: list[FeatureStore]
    features: Features | JoinedFeatures
    split: Split


def fit_runs(
    data: Dataset,
    stores: list[FeatureStore],
    features: Features | JoinedFeatures,
    head: Head,
    splits: Sequence[Split],
    seed: int,
    folder: Path,
    call: Call,
    allow_leakage: bool = False,
) -> list[Path]:
    """Fits `head` on each split's train rows, predicts its test rows, and writes `folder/<run id>/`.

    Where test rows look like rows that were trained or chosen on, a second evaluation leaves them out and lists them.

    Args:
        allow_leakage: a split that leaks is used, and everything made from it is stamped LEAKY.

    Returns:
        The run folders, in the order of the splits.

    Raises:
        ProtocolError: a split leaks, or leaves nothing to train or test on.
        DataError: the labels of the train rows are all equal.
    """
    leaky = {split.fingerprint for split in splits if leaks(data, split, allow_leakage)}
    ids = {split.fingerprint: run_id([(data, features)], head, split, seed) for split in splits}
    todo = [split for split in splits if not (folder / ids[split.fingerprint] / "card.json").is_file()]
    if len(todo) < len(splits):
        console.say(f"{len(splits) - len(todo)} of {len(splits)} runs are there already and were read, not made again")
    origin = runs.provenance_of(call.command)
    for note in evaluation.known_to_be_shared(data.spec, stores):
        console.say(note)
    for quality_map, group in by_quality_map(data, todo):
        joined = Joined(data, stores, features, quality_map)
        plans = [make_plan(joined.examples, split, seed) for split in group]
        start = time.monotonic()
        with console.progress(f"fit {head.variant}", sum(head.steps(plan) for plan in plans), "epoch") as bar:
            fitted = head.fit_many(joined.examples, plans, _score, progress=lambda event: bar.advance(note=event.text))
        seconds = (time.monotonic() - start) / max(len(plans), 1)
        for one, split, plan in zip(fitted, group, plans, strict=True):
            rid, rows, asked = ids[split.fingerprint], runs.test_rows(split.name), asked_test(data, split)
            found = [stamps.LEAKY] if split.fingerprint in leaky else []
            results: list[tuple[Evaluation, pd.DataFrame]] = []
            if split.test:
                results.append(evaluation.evaluate(rid, one, joined, asked, rows, found, origin))
                learnt = data.looks([*split.train, *split.valid])
                results += evaluation.cleaned(*results[0], twins(data.looks(asked), learnt))
            card = _card(rid, [joined], one, split, plan, found, results, seconds, call, origin)
            runs.write(folder / rid, card, results, one)
    return [folder / ids[split.fingerprint] for split in splits]


def fit_together(
    sources: Sequence[Source], head: Head, seed: int, folder: Path, call: Call, allow_leakage: bool = False
) -> Path:
    """Fits `head` on rows of several datasets at once and writes the run; other datasets are tested by `evaluate`.

    Each dataset keeps its own map from MOS to quality, and its own validation rows.

    Raises:
        ProtocolError: stores of different encoders, views or precisions; else as `fit_runs`.
    """
    if len({source.features.digest for source in sources}) > 1:
        names = ", ".join(f"{source.data.name}: {store.name}" for source in sources for store in source.stores)
        raise ProtocolError(
            "Expected stores of one encoder, view and precision to train on several datasets, found "
            f"{names}. Name one: --encoder and --view, or encode again: harness precompute."
        )
    split = together([source.split for source in sources])
    found = [stamps.LEAKY for source in sources if leaks(source.data, source.split, allow_leakage)]
    rid = run_id([(source.data, source.features) for source in sources], head, split, seed)
    if (folder / rid / "card.json").is_file():
        console.say("this run is there already and was read, not made again")
        return folder / rid
    parts = [Joined(s.data, s.stores, s.features, s.data.quality_map(s.split.train)) for s in sources]
    rows = examples.together(parts)
    plan = make_plan(rows, split, seed)
    start = time.monotonic()
    with console.progress(f"fit {head.variant}", head.steps(plan), "epoch") as bar:
        (fitted,) = head.fit_many(rows, [plan], _score, progress=lambda event: bar.advance(note=event.text))
    seconds, origin = time.monotonic() - start, runs.provenance_of(call.command)
    card = _card(rid, parts, fitted, split, plan, found, [], seconds, call, origin)
    runs.write(folder / rid, card, [], fitted)
    return folder / rid


def leaks(data: Dataset, split: Split, allowed: bool) -> bool:
    """Whether a split leaks; one that does is stopped unless that is allowed.

    Raises:
        ProtocolError: says which ids, groups or files stand on both sides.
    """
    problems = leakage.check(split, data.manifest)
    if problems and not allowed:
        shown = "\n".join(f"  {problem}" for problem in problems[:5])
        raise ProtocolError(
            f"{data.name}, split {split.name}: parts must share no image, no group and no file; found "
            f"{len(problems)}:\n{shown}\n"
            "Use another split, correct the groups in the labels, or type --allow-leakage: everything is stamped LEAKY."
        )
    return bool(problems)


def asked_test(data: Dataset, split: Split) -> list[str]:
    """The ids that a test on this split asks for: of a published split all of its test rows, here or missing."""
    kind, _, which = split.kind.partition(":")
    if kind != "official":
        return list(split.test)
    parts = dict(zip(data.manifest["id"], parts_of(data.manifest, which), strict=True))
    return [name for name in data.judged if parts[name] == "test"]


def by_quality_map(data: Dataset, splits: Sequence[Split]) -> list[tuple[QualityMap, list[Split]]]:
    """Splits that share a map from MOS to quality: all of them on a closed scale, each its own on an open one."""
    groups: list[tuple[QualityMap, list[Split]]] = []
    for split in splits:
        quality_map = data.quality_map(split.train)
        for known, members in groups:
            if known == quality_map:
                members.append(split)
                break
        else:
            groups.append((quality_map, [split]))
    return groups


def make_plan(rows: Examples, split: Split, seed: int) -> FitPlan:
    """The rows of `rows` that a fit may see: train and validation, never test.

    Raises:
        ProtocolError: no train row has features.
    """
    from heads.base import FitPlan

    have = set(rows.ids)
    parts = {part: [i for i in getattr(split, part) if i in have] for part in ("train", "valid", "test")}
    for part in ("train", "test"):
        if getattr(split, part) and not parts[part]:
            raise ProtocolError(
                f"split {split.name}: none of its {len(getattr(split, part))} {part} rows has features in the store. "
                "Encode more images: run `harness precompute` again without --limit."
            )
    return FitPlan(train=rows.rows(parts["train"]), valid=rows.rows(parts["valid"]), seed=seed)


def run_id(sources: Sequence[tuple[Dataset, Features | JoinedFeatures]], head: Head, split: Split, seed: int) -> str:
    """`<dataset>-<variant>-<split>-<key8>`: the key covers everything that changes the result."""
    identity = {
        "labels": [data.label_digest for data, _ in sources],
        "split": split.fingerprint,
        "features": [[features.digest, features.contents] for _, features in sources],
        "head": [head.variant, head.revision, msgspec.to_builtins(head.settings)],
        "seed": seed,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return f"{split.dataset}-{head.variant}-{split.name.replace(':', '-')}-{key}"


def _score(quality: np.ndarray, prediction: np.ndarray) -> float:
    from reports.scores import srcc

    return srcc(quality, prediction)


def _card(
    rid: str,
    parts: Sequence[Joined],
    head: Head,
    split: Split,
    plan: FitPlan,
    found: list[str],
    results: Sequence[tuple[Evaluation, pd.DataFrame]],
    seconds: float,
    call: Call,
    origin: Provenance,
) -> RunCard:
    """The card of a run on one dataset, or on several; the first result is that on its own test rows."""
    from reports import card as cards
    from reports.card import RunCard

    stores = parts[0].stores
    tested = results[0][0] if results else None
    used = tested.counts["used"] if tested else 0
    lost = len(split.train) + len(split.valid) - len(plan.train) - len(plan.valid)
    maps = {part.data.name: msgspec.to_builtins(part.quality_map) for part in parts}
    labels = [part.data.label_digest for part in parts]
    valid = [entry["valid_srcc"] for entry in head.history if entry.get("valid_srcc") is not None]
    return RunCard(
        id=rid,
        dataset=split.dataset,
        variant=head.variant,
        features=head.features,
        encoder=cards.together(dict.fromkeys(store.identity.encoder.name for store in stores)),
        view=cards.together(dict.fromkeys(store.identity.view.name for store in stores)),
        store=cards.together(store.name for store in stores),
        store_key=cards.together(store.key8 for store in stores),
        split_kind=split.kind,
        split_name=split.name,
        split_fingerprint=split.fingerprint,
        split_note=split.note,
        seed=plan.seed,
        settings=msgspec.to_builtins(head.settings),
        counts={
            "train": len(plan.train),
            "valid": len(plan.valid),
            "test": used,
            "asked": len(split.train) + len(split.valid) + len(split.test),
            "used": len(plan.train) + len(plan.valid) + used,
            "failed": lost + (tested.counts["failed"] if tested else 0),
        },
        failures=tested.failures if tested else {},
        stamps=stamps.ordered(found + [s for p in parts for s in evaluation.data_stamps(p.data, p.stores)]),
        label_digest=labels[0] if len(parts) == 1 else hashlib.sha256(" ".join(labels).encode()).hexdigest(),
        quality_map=maps[split.dataset] if len(parts) == 1 else maps,
        gflop=sum(float(store.provenance.get("gflop", 0.0)) for store in stores),
        parameters=head.parameters(),
        head_revision=head.revision,
        seconds={"fit": seconds, "predict": tested.seconds if tested else 0.0},
        valid_srcc=max(valid) if valid else None,
        provenance=origin,
        config=msgspec.to_builtins(call),
        notes=[note for part in parts for note in evaluation.known_to_be_shared(part.data.spec, part.stores)],
    )
