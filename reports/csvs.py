"""The tables as CSV, every number in full. Never formats for people."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from reports.intervals import Interval
from reports.scores import group_median
from reports.sections import matrix
from reports.study import Study, ordered
from reports.tables import Config, Row, Scored, stamps_of

NUMBERS = ("srcc", "plcc", "plcc_fitted", "krcc", "rmse")


def frames(study: Study) -> dict[str, pd.DataFrame]:
    """File name -> table: one row an evaluation; a configuration on test rows; a configuration; a lost row."""
    return {
        "scores.csv": pd.DataFrame([_evaluation(study, one) for one in study.scored]),
        "table.csv": pd.DataFrame([_row(study, row) for row in study.rows]),
        "matrix.csv": pd.DataFrame(_matrix(study)),
        "failures.csv": pd.DataFrame(_failures(study), columns=["run", "test", "rows", "id", "reason"]),
    }


def write(study: Study, out: Path) -> list[Path]:
    """Writes them into `out`; floats as the shortest text that gives the same number back."""
    paths: list[Path] = []
    for name, frame in frames(study).items():
        paths.append(out / name)
        paths[-1].write_bytes(frame.to_csv(index=False, lineterminator="\n").encode())
    return paths


def _config(config: Config) -> dict[str, Any]:
    return {
        "train": config.train,
        "encoder": config.encoder,
        "features": " ".join(config.features),
        "head": config.variant,
        "settings": config.settings,
        "split": config.split,
        "store_key": config.store,
        "label_digest": config.labels,
        "head_revision": config.revision,
    }


def _ends(name: str, interval: Interval) -> dict[str, Any]:
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}


def _evaluation(study: Study, one: Scored) -> dict[str, Any]:
    scores = one.scores
    return {
        "run": one.run.id,
        **_config(one.config),
        "split_name": one.run.split_name,
        "split_fingerprint": one.run.split_fingerprint,
        "seed": one.run.seed,
        "test": one.evaluation.dataset,
        "rows": one.evaluation.rows,
        "own": one.own,
        "asked": one.asked,
        "n": scores.n,
        "missing": one.missing,
        "failed": one.failed,
        "reasons": "; ".join(f"{count} {reason}" for reason, count in one.reasons.items()),
        **{name: getattr(scores, name) for name in NUMBERS},
        "fit": scores.fit,
        "no_score": scores.reason,
        **_ends("srcc", one.srcc),
        **_ends("plcc", one.plcc),
        "interval_by": one.srcc.by,
        "interval_units": one.srcc.units,
        "no_interval": one.srcc.reason,
        "srcc_within": one.within.mean,
        "srcc_median_group": group_median(one.within.own),
        "within_by": one.within.by,
        "srcc_within_worst": min(one.within.own.values(), default=math.nan),
        "no_within": one.within.reason,
        "valid_srcc": one.run.valid_srcc,
        "stamps": " ".join(ordered(stamps_of(one), study.meanings)),
    }


def _row(study: Study, row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {**_config(row.config), "test": row.test, "rows": row.rows, "own": row.own}
    found["runs"] = len(row.members)
    for name, values in (
        ("n", [m.scores.n for m in row.members]),
        ("asked", [m.asked for m in row.members]),
        ("missing", [m.missing for m in row.members]),
        ("failed", [m.failed for m in row.members]),
    ):
        found |= {f"{name}_min": min(values), f"{name}_max": max(values)}
    for name in NUMBERS:
        value = row.middle(lambda m, name=name: getattr(m.scores, name))
        found |= {
            f"{name}_median": value.value,
            f"{name}_min": value.low,
            f"{name}_max": value.high,
            f"{name}_runs": value.runs,
        }
    single = row.members[0] if len(row.members) == 1 else None
    nothing = Interval(math.nan, math.nan, "", 0)
    found |= _ends("srcc_interval", single.srcc if single else nothing)
    found |= _ends("plcc_interval", single.plcc if single else nothing)
    found["srcc_within_median"] = row.middle(lambda m: m.within.mean).value
    found["srcc_median_group_median"] = row.middle(lambda m: group_median(m.within.own)).value
    found["valid_srcc_median"] = study.validation(row.config).value
    found["no_score"] = row.middle(lambda m: m.scores.srcc).reason
    found["stamps"] = " ".join(row.stamps)
    return found


def _matrix(study: Study) -> list[dict[str, Any]]:
    grid, columns = matrix.cells(study), matrix.columns(study)
    return [
        {
            **_config(config),
            **{column: _cell(grid[config, column]) for column in columns},
            "stamps": " ".join(study.stamps(row for row in study.rows if row.config == config)),
        }
        for config in study.configs
    ]


def _cell(cell: matrix.Cell) -> float | str:
    return cell.value if math.isfinite(cell.value) else cell.reason


def _failures(study: Study) -> list[tuple[str, str, str, str, str]]:
    return [
        (one.run.id, one.evaluation.dataset, one.evaluation.rows, str(name), str(reason))
        for one in study.scored
        for name, reason in zip(one.frame["id"], one.frame["failure"], strict=True)
        if reason
    ]
