"""The main table: every configuration on every set of test rows, with all its numbers and their reasons."""

from __future__ import annotations

import math
from typing import Any

from reports import names, text
from reports.blocks import Column, Section, Table, Words
from reports.scores import group_median
from reports.study import Study
from reports.tables import Row

COLUMNS = [
    Column("head"),
    Column("encoder"),
    Column("features"),
    Column("runs", True),
    Column("n", True),
    Column("SRCC", True),
    Column("interval or spread", True),
    Column("PLCC raw", True),
    Column("PLCC fitted", True),
    Column("KRCC", True),
    Column("RMSE", True),
    Column("SRCC within", True),
    Column("median group", True),
    Column("worst group", True),
    Column("lost"),
    Column("stamps"),
]


def section(study: Study) -> Section:
    """One table, a row group for each train and test set."""
    groups: list[tuple[str, list[list[str]]]] = []
    for row in study.rows:
        heading = f"{row.config.train} ({row.config.split}) → {row.test}, {row.rows}" + (
            ": own test rows" if row.own else ""
        )
        if not groups or groups[-1][0] != heading:
            groups.append((heading, []))
        groups[-1][1].append(cells(study, row))
    blocks: list[Any] = [
        Words(
            "Trained on → tested on. Several runs: the median, and SRCC from the lowest to the highest run. One run: a "
            "95% bootstrap interval in brackets. Higher is better but for RMSE, which is in quality (0–1 on a closed "
            "scale). Signs are kept. PLCC is fitted with a logistic curve, or a line where it says so. Lost rows are "
            "counted below with their reasons. Rows are sorted by name, not by score."
        ),
        Table("Agreement of predictions with labels on test rows.", COLUMNS, groups),
    ]
    if any(m.srcc.by == "group" and math.isfinite(m.srcc.low) for row in study.rows for m in row.members):
        blocks.append(Words("Where images come in groups (copies of one photograph), intervals draw whole groups."))
    by = {m.within.by for row in study.rows for m in row.members} - {""}
    if by:
        blocks.append(
            Words(
                f"SRCC within (by {text.joined(sorted(by))}): the mean by Fisher's z of each group's own SRCC; beside "
                "it their median (the published statistic of PIQ23) and the lowest. A pooled SRCC can come from "
                "knowing which photograph it is; this one cannot."
            )
        )
    shared = dict.fromkeys(note for one in study.scored for note in (*one.run.notes, *one.evaluation.notes))
    if shared:
        blocks.append(Words(f"Known to be shared, so read these tests with care: {'. '.join(sorted(shared))}."))
    return Section("scores", "Scores", blocks)


def cells(study: Study, row: Row) -> list[str]:
    """One row of the table."""
    middles = [
        row.middle(lambda m, name=name: getattr(m.scores, name)) for name in ("plcc", "plcc_fitted", "krcc", "rmse")
    ]
    raw, fitted, krcc, rmse = (text.number(value.value) for value in middles)
    return [
        study.head(row.config),
        row.config.encoder,
        names.features(row.config.features),
        str(len(row.members)),
        text.counts(m.scores.n for m in row.members),
        text.middle(row.middle(lambda m: m.scores.srcc)),
        text.spread(row),
        raw,
        fitted + ("" if all(m.scores.fit != "linear" for m in row.members) else " (line)"),
        krcc,
        rmse,
        within(row),
        text.number(row.middle(lambda m: group_median(m.within.own)).value),
        worst(row),
        lost(row),
        " ".join(row.stamps),
    ]


def within(row: Row) -> str:
    """SRCC within groups, or why there is none."""
    value = row.middle(lambda m: m.within.mean)
    return text.number(value.value) if value.runs else "/".join(sorted({m.within.reason for m in row.members}))


def worst(row: Row) -> str:
    """The lowest SRCC of any group in any run, and which group that is."""
    own = [(value, name) for m in row.members for name, value in m.within.own.items()]
    return f"{text.number(min(own)[0])} {min(own)[1]}" if own else text.NONE


def lost(row: Row) -> str:
    """Rows without a number, of one run: `0`, `2 failed`, `1,150 missing, 1 failed`."""
    parts = [
        f"{text.counts(values)} {word}"
        for word, values in (("missing", [m.missing for m in row.members]), ("failed", [m.failed for m in row.members]))
        if any(values)
    ]
    return ", ".join(parts) or "0"


def n_of_asked(row: Row) -> str:
    """`120`, or `119/120` where rows have no number."""
    used = text.counts(m.scores.n for m in row.members)
    asked = text.counts(m.asked for m in row.members)
    return used if all(m.scores.n == m.asked for m in row.members) else f"{used}/{asked}"


def narrow(study: Study) -> list[dict[str, str]]:
    """The main table for a terminal: fewer columns, the same numbers."""
    viewed = names.viewed(study.configs)
    return [
        {
            "train": row.config.train,
            "test": f"{row.test} ({row.rows.removeprefix(row.config.split).strip() if row.own else row.rows})",
            "encoder": viewed[row.config][0],
            "view": viewed[row.config][1],
            "features": names.features(row.config.features),
            "head": study.head(row.config),
            "split": text.split(row),
            "n": n_of_asked(row),
            "SRCC": text.middle(row.middle(lambda m: m.scores.srcc)),
            "interval": text.spread(row),
            "PLCC": text.number(row.middle(lambda m: m.scores.plcc).value),
            "PLCC fit": text.number(row.middle(lambda m: m.scores.plcc_fitted).value),
            "within": within(row),
            "stamps": " ".join(row.stamps),
        }
        for row in study.rows
    ]
