"""How many rows were asked for, used and lost, and why. Nothing that failed is left out."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Column, Section, Table, Words
from reports.study import Study, ordered
from reports.tables import Scored, stamps_of

EXAMPLES = 3


def section(study: Study) -> Section:
    """A line for each test set and split, and one for each reason."""
    alike: dict[tuple[str, str, str, int, int, int, int], list[Scored]] = {}
    for one in study.scored:
        key = (
            one.evaluation.dataset,
            one.evaluation.rows,
            one.config.encoder,
            one.asked,
            one.scores.n,
            one.missing,
            one.failed,
        )
        alike.setdefault(key, []).append(one)
    rows = [
        [
            test,
            rows,
            encoder,
            *(f"{n:,}" for n in numbers),
            f"{len(members):,}",
            " ".join(ordered({s for m in members for s in stamps_of(m)}, study.meanings)),
        ]
        for (test, rows, encoder, *numbers), members in sorted(alike.items())
    ]
    names = ("asked", "used", "missing", "failed", "evaluations")
    columns = [
        Column("test set"),
        Column("rows"),
        Column("encoder"),
        *(Column(n, True) for n in names),
        Column("stamps"),
    ]
    caption = "Rows of each evaluation: asked = used + missing + failed. Evaluations with equal counts share a line."
    return Section("counts", "Counts", [Table(caption, columns, [("", rows)]), *_reasons(study.scored)])


def _reasons(scored: Sequence[Scored]) -> list[Words | Table]:
    found: dict[tuple[str, str], dict[str, int]] = {}
    for one in scored:
        for name, reason in zip(one.frame["id"], one.frame["failure"], strict=True):
            if reason:
                images = found.setdefault((one.evaluation.dataset, str(reason)), {})
                images[str(name)] = images.get(str(name), 0) + 1
    absent = {(s.evaluation.dataset, s.evaluation.absent): s.asked for s in scored if s.evaluation.absent}
    if not found and not absent:
        return [Words("No row was lost: every image that was asked for has a label and a prediction.")]
    rows = [
        [dataset, reason, f"{len(images):,}", f"{sum(images.values()):,}", _examples(sorted(images))]
        for (dataset, reason), images in sorted(found.items())
    ]
    rows += [
        [dataset, reason, f"{asked:,}", f"{asked:,}", "all"] for (dataset, reason), asked in sorted(absent.items())
    ]
    columns = [Column("test set"), Column("reason"), Column("images", True), Column("rows", True), Column("which")]
    caption = (
        "Why rows have no number. An image counts once; its rows once an evaluation. failures.csv names every one."
    )
    return [Table(caption, columns, [("", rows)])]


def _examples(names: list[str]) -> str:
    more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
    return ", ".join(names[:EXAMPLES]) + more
