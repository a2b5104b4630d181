"""`harness splits plans`: plans over datasets, listed and written as folders of split files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.splits.plans import Plan
    from harness.splits.ready import Open


class PlanRow(msgspec.Struct, frozen=True):
    """One list of ids in a plan; `absent` says why there is none here."""

    plan: str
    leg: str
    role: str
    dataset: str
    split: str
    counts: dict[str, int]
    fingerprint: str
    absent: str


class PlanTable(list[PlanRow]):
    """Rows that draw themselves."""

    @classmethod
    def of(cls, plans: Iterable[Plan]) -> PlanTable:
        """A row for each list of each plan."""
        rows = cls()
        for plan in plans:
            for leg in plan.legs:
                for role, splits in (("train", leg.train), ("test", leg.tests)):
                    for s in splits:
                        rows.append(PlanRow(plan.name, leg.name, role, s.dataset, s.name, s.counts, s.fingerprint, ""))
                for gap in leg.absent:
                    rows.append(PlanRow(plan.name, leg.name, gap.role, gap.dataset, "", gap.counts, "", gap.why))
        return rows

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, header_style="bold")
        for heading in ("plan", "what", "role", "dataset", "train", "valid", "test", "fingerprint"):
            numeric = heading in ("train", "valid", "test")
            table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
        for r in self:
            numbers = (f"{r.counts[part]:,}" if r.counts.get(part) else "" for part in ("train", "valid", "test"))
            table.add_row(r.plan, r.leg, r.role, r.dataset, *numbers, r.fingerprint[:12] or f"absent: {r.absent}")
        return table


def plans(
    plan: Annotated[str | None, typer.Argument(help="One plan: a name, or a plan's folder (default: all).")] = None,
    labels: Annotated[Path | None, typer.Option(help="The folder with label files, one subfolder a dataset.")] = None,
    files: Annotated[Path | None, typer.Option(help="ARNIQA's folder of datasets, for arniqa.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the plan into this folder: plan.json, a file a list.")] = None,
) -> PlanTable:
    """Lists the ready plans over datasets: which rows train, which others are tested, with counts and fingerprints.

    A list that cannot be made here is shown as absent. `cross:A,B` and `leave-one-dataset-out:A,B,C` are plans too.
    What `--out` writes is small, readable and checks itself; `--plan DIR` uses it, and so does `--split DIR/FILE`.

    Examples:
    harness splits plans
    harness splits plans koniq-ood --labels iqa --out plans/koniq-ood
    harness splits plans arniqa --files ARNIQA/datasets --labels iqa --out plans/arniqa
    """
    from harness import console
    from harness.errors import UsageError
    from harness.splits import ready

    opened = opener(labels)
    if plan is not None:
        made = ready.named(plan, opened, files, labels)
        if out is not None:
            count = len(made.save(out)) - 1
            console.say(f"{out}: plan {made.name}, {count} lists of ids, fingerprint {made.fingerprint[:12]}")
        return PlanTable.of([made])
    if out is not None:
        raise UsageError("--out writes one plan: name it, as in `harness splits plans koniq-ood --out DIR`.")
    return PlanTable.of(ready.named(name, opened, files, labels) for name in (*ready.READY, "arniqa"))


def opener(labels: Path | None, stores: Path | None = None) -> Open:
    """What opens the datasets of a plan.

    Args:
        labels: the folder with one subfolder of label files a dataset; what it does not hold is looked for as ever.
        stores: where stores and what they remember of their datasets lie (default: ./stores).
    """
    from harness import config, locate

    def beside(dataset: str) -> Path | None:
        return labels / dataset if labels is not None and (labels / dataset).is_dir() else None

    settings = config.load()
    return locate.labelled_once(None, beside, settings, stores or settings.path("stores", "stores"))
