"""Where every number comes from: the cards of the runs, folded. Shows what they say and judges nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from reports import names, text
from reports.blocks import Code, Column, Fold, Section, Table, Words
from reports.study import Study, ordered
from reports.tables import Config, stamps_of


def section(study: Study) -> Section:
    """A fold for each configuration."""
    folds = [_fold(study, config) for config in study.configs]
    return Section(
        "provenance", "Runs", [Words("One fold for each configuration, with the cards of its runs."), *folds]
    )


def _fold(study: Study, config: Config) -> Fold:
    members = [one for one in study.scored if one.config == config]
    runs = list({one.run.id: one.run for one in members}.values())
    stamps = " ".join(ordered({s for m in members for s in stamps_of(m)}, study.meanings))
    title = names.whole(config, study.notes[config])
    title += f", trained on {config.train} ({config.split})"
    origins = [*(run.provenance for run in runs), *(m.evaluation.provenance for m in members)]
    packages = sorted({f"{name} {version}" for o in origins for name, version in o.packages.items()})
    read = [
        ["features", ", ".join(config.features)],
        ["head", f"{config.variant}, revision {config.revision}, {text.counts(r.parameters for r in runs)} parameters"],
        ["encoder's cost", _each(f"{r.gflop:g} GFLOP an image" if r.gflop else "unknown" for r in runs)],
        ["store", _each(r.store for r in runs)],
    ]
    facts = [
        *(read if config.features else []),  # predictions made elsewhere read nothing here
        ["settings", _plain(json.loads(config.settings))],
        ["labels", f"sha256 {config.labels}"],
        ["labels to quality", _each(_plain(r.quality_map) for r in runs)],
        ["split", _each(r.split_note for r in runs)],
        ["commit", _each(_commit(o.commit, o.dirty) for o in origins)],
        ["packages", ", ".join(packages)],
        ["machine", _each(f"{o.device}, Python {o.python}, {o.platform}" for o in origins)],
    ]
    commands = [*dict.fromkeys(o.command for o in origins)]
    return Fold(
        f"{title} [{stamps}]" if stamps else title,
        [
            Table(
                "What all its runs share; where they differ, each value.",
                [Column("what"), Column("value")],
                [("", facts)],
            ),
            _runs(runs, stamps),
            Words("Made by:" if len(commands) == 1 else "Made by these commands:"),
            Code("\n".join(commands)),
        ],
    )


def _runs(runs: Sequence[Any], stamps: str) -> Table:
    parts = ("train", "valid", "test", "failed")
    rows = [
        [
            run.id,
            run.split_name,
            run.split_fingerprint[:12],
            str(run.seed),
            *(f"{run.counts.get(part, 0):,}" for part in parts),
            text.NONE if run.valid_srcc is None else text.number(run.valid_srcc),
            text.number(run.seconds.get("fit", 0.0), 2),
            text.number(run.seconds.get("predict", 0.0), 2),
            run.provenance.created[:16].replace("T", " "),
            stamps,
        ]
        for run in runs
    ]
    columns = [Column("run"), Column("split"), Column("fingerprint"), Column("seed", True)]
    columns += [Column(part, True) for part in parts]
    columns += [Column("validation SRCC", True), Column("fit, s", True), Column("predict, s", True)]
    return Table("Its runs.", [*columns, Column("made, UTC"), Column("stamps")], [("", rows)])


def _each(values: Iterable[str]) -> str:
    """Each different value once, in order of first appearance."""
    return " | ".join(dict.fromkeys(value or text.NONE for value in values))


def _plain(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(settings.items())) or "none"


def _commit(commit: str, dirty: bool | None) -> str:
    return f"{commit}{', with changes that are not committed' if dirty else ''}" if commit else "an installed package"
