"""A dataset's facts for a person: the page that `datasets info` and `datasets prepare` print. Never reads a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.datasets.scale import ScoreScale
from harness.datasets.spec import UNVERIFIED, DatasetSpec

if TYPE_CHECKING:
    from rich.console import RenderableType


class Info(msgspec.Struct, frozen=True):
    """All that is declared of a dataset, and which of it nobody has checked."""

    name: str
    spec: DatasetSpec
    tree_unverified: bool
    unverified: list[str]

    @classmethod
    def of(cls, spec: DatasetSpec) -> Info:
        """The page of one dataset."""
        return cls(spec.name, spec, spec.tree_unverified, spec.unverified())

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        spec = self.spec
        told = [title(spec), facts_table(spec)]
        told += [Text(f"\nBeware. {spec.beware}")] * bool(spec.beware)
        told += obtaining(spec)
        if spec.label_files:
            told.append(Text(f"Its label files can be fetched: harness datasets prepare {spec.name} --to DIR"))
        told.append(Text(f"\nCite: {spec.citation}") if spec.citation else Text(""))
        if self.unverified:
            told.append(
                Text(f"Not checked against a source: {', '.join(map(words, self.unverified))}.", style="yellow")
            )
        return Group(*told)


def title(spec: DatasetSpec) -> RenderableType:
    """Name, title and year."""
    from rich.text import Text

    year = f" ({spec.year})" if spec.year else ""
    return Text.assemble((spec.name, "bold"), f"  {spec.title}{year}", f"  from {spec.plugin}" if spec.plugin else "")


def facts_table(spec: DatasetSpec) -> RenderableType:
    """What it is and what its labels mean, each with the source."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("", style="cyan", no_wrap=True)
    table.add_column("fact", ratio=3, overflow="fold")
    table.add_column("source", ratio=2, style="dim", overflow="fold")
    for fact, text in _facts(spec):
        # That nothing is published needs no source, unless there is one.
        source = spec.source(fact) if getattr(spec, fact) else spec.sources.get(fact, "")
        table.add_row(words(fact), Text(text), Text(source))
    return table


def _facts(spec: DatasetSpec) -> list[tuple[str, str]]:
    images = f"{spec.count:,}"
    rows = [
        ("count", f"{images} {'distorted ' if spec.references else ''}images with a label" if spec.count else "yours")
    ]
    if spec.references:
        rows.append(("references", f"{spec.references:,}"))
    if spec.distortions:
        rows.append(("distortions", f"{spec.distortions} types" if spec.distortions > 1 else "1 type"))
    rows += [
        ("scale", scale_in_words(spec.scale)),
        ("label_variant", spec.label_variant),
        ("spread", spec.spread or "neither deviations nor numbers of votes"),
        ("group_rule", f"kept on one side of a split: {spec.group_rule}"),
        ("official_split", spec.official_split or "none published: use random, grouped as above"),
    ]
    if spec.shares:
        rows.append(("shares", "\n".join(f"{other}: {what}" for other, what in spec.shares.items())))
    return rows


def words(fact: str) -> str:
    """What a person calls a field of the spec."""
    named = {"count": "images", "label_variant": "labels", "spread": "std, votes", "group_rule": "group"}
    named |= {"shares": "content shared", "obtain": "how to obtain", "tree": "download tree"}
    return named.get(fact, fact.replace("_", " "))


def scale_in_words(scale: ScoreScale) -> str:
    """`DMOS from 0 to 1; LOWER is better; ...`: how numbers are read and how they become quality."""
    better = "higher is better" if scale.higher_is_better else "LOWER is better"
    if scale.low is not None and scale.high is not None:
        turned = "" if scale.higher_is_better else ", turned round"
        return f"{scale.name} from {scale.low:g} to {scale.high:g}; {better}. Quality: this range{turned}, as 0 to 1"
    return (
        f"{scale.name} without declared ends; {better}. Quality: an affine map fitted on train rows, kept with the head"
    )


def obtaining(spec: DatasetSpec) -> list[RenderableType]:
    """How to get it, under which terms, and what the folder must look like."""
    from rich.padding import Padding
    from rich.text import Text

    told: list[RenderableType] = [
        Text(f"\nTerms: {spec.terms} (source: {spec.source('terms')})."),
        Text(f"Obtain: {spec.obtain}"),
        Text("\nThe folder must look like this:"),
        Padding(Text(spec.tree, style="cyan"), (0, 0, 0, 4)),
    ]
    if spec.mirror:
        told += [
            Text("or, as a mirror archive has it, with the same ids:"),
            Padding(Text(spec.mirror, style="cyan"), (0, 0, 0, 4)),
        ]
    if spec.tree_unverified:
        why = spec.source("tree").removeprefix(UNVERIFIED).lstrip(": ") or "no official file was read"
        told.append(Text(f"Tree UNVERIFIED: {why}.", style="yellow"))
    else:
        told.append(Text(f"Source: {spec.source('tree')}.", style="dim"))
    return told
