"""`harness datasets ls | info | verify | prepare`: what is known of each dataset, whether the one on this disk is
whole, and how to get it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

NAME = Annotated[str, typer.Argument(help="A name of `harness datasets ls`.")]


class DatasetRow(msgspec.Struct, frozen=True):
    """One line of `datasets ls`."""

    name: str
    title: str
    year: int
    count: int
    references: int
    label: str
    better: str
    group: str
    official_split: str
    terms: str
    tree_unverified: bool


class DatasetTable(list[DatasetRow]):
    """Rows that draw themselves."""

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        table = Table(
            box=None,
            header_style="bold",
            caption="tree ?: no official file was at hand when its reader was written. `harness datasets info NAME` "
            "tells each fact with its source, `prepare NAME` how to get it.",
            caption_justify="left",
        )
        for heading, most in (("name", 16), ("title", 34), ("year", 4), ("images", 7), ("refs", 4), ("label", 30)):
            right = "right" if heading in ("year", "images", "refs") else "left"
            table.add_column(heading, justify=right, no_wrap=True, max_width=most)
        table.add_column("better", no_wrap=True)
        table.add_column("official split", no_wrap=True, max_width=34, overflow="ellipsis")
        table.add_column("tree")
        for row in self:
            table.add_row(
                row.name,
                row.title,
                str(row.year or ""),
                f"{row.count:,}" if row.count else "yours",
                f"{row.references}" if row.references else "",
                row.label,
                row.better if row.better == "higher" else "LOWER",
                row.official_split or "-",
                "?" if row.tree_unverified else "",
            )
        return table


def ls() -> DatasetTable:
    """Lists the datasets.

    Examples:
    harness datasets ls
    harness datasets ls --json
    """
    from harness.registry import datasets

    registry = datasets()
    rows = DatasetTable()
    for name in registry.names():
        spec = registry.get(name)
        scale = spec.scale
        span = f"{scale.low:g}..{scale.high:g}" if scale.low is not None and scale.high is not None else "open"
        rows.append(
            DatasetRow(
                name=name,
                title=spec.title,
                year=spec.year,
                count=spec.count,
                references=spec.references,
                label=f"{scale.name} {span}",
                better="higher" if scale.higher_is_better else "lower",
                group=spec.group_rule,
                official_split=spec.official_split,
                terms=spec.terms,
                tree_unverified=spec.tree_unverified,
            )
        )
    return rows


class Facts(msgspec.Struct, frozen=True):
    """What is known of one thing, as (fact, value) pairs."""

    name: str
    facts: dict[str, object]

    def __rich__(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, title=self.name, title_justify="left", title_style="bold")
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for fact, value in self.facts.items():
            shown = "\n".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
            table.add_row(fact.replace("_", " "), Text(shown))
        return table


def info(name: NAME) -> object:
    """Prints what is known of a dataset, each fact with its source or "unverified", and how to obtain it.

    Examples:
    harness datasets info biq2021
    """
    from harness.datasets.page import Info
    from harness.registry import datasets

    return Info.of(datasets().get(name))


def verify(
    name: NAME,
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder (default: harness.toml, $IQA_DATA/NAME).")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Its label files, where they lie elsewhere.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the sha256 of every image into this file (in ROOT: sha256sum -c FILE)."),
    ] = None,
) -> object:
    """Checks a dataset on this disk: counts, missing and undecodable images, duplicates, range and direction of labels.

    A subset is fine and is said; an image that cannot be decoded ends with exit code 3.

    Examples:
    harness datasets verify biq2021 --root iqa/biq2021
    harness datasets verify biq2021 --root iqa/biq2021 --out biq2021.sha256
    """
    from cache.images import decode
    from harness import config, console, locate
    from harness.datasets.dataset import open_dataset
    from harness.datasets.verify import verify as run

    settings = config.load()
    folder = locate.needed_root(name, root, settings)
    dataset = open_dataset(name, folder, locate.labels_folder(name, labels, settings))
    with console.progress(f"verify {name}", dataset.present, "image") as bar:
        return run(dataset, decode=decode, progress=bar.advance, out=out)


def prepare(
    name: NAME,
    to: Annotated[Path | None, typer.Option(help="Make it in this folder, or fetch its label files into it.")] = None,
) -> object:
    """Prints how to obtain a dataset, under which terms, what its folder must look like and what to type then.

    With `--to DIR` it makes the synthetic datasets, and fetches the label files that authors publish under terms which
    allow it (pinned by sha256); images are never fetched: their terms or their addresses do not allow it.

    Examples:
    harness datasets prepare spaq
    harness datasets prepare koniq10k --to iqa/koniq10k
    harness datasets prepare synthetic --to iqa/synthetic
    """
    from harness import console
    from harness.datasets.prepare import fetch_labels, preparation
    from harness.errors import UsageError
    from harness.registry import datasets

    spec = datasets().get(name)
    if to is None:
        return preparation(spec)
    if spec.label_files:
        fetch_labels(spec, to)
        return preparation(spec, to)
    if not spec.made_here:
        raise UsageError(
            f"{name} cannot be made or fetched here ({spec.terms}). "
            f"`harness datasets prepare {name}` says how to get it."
        )
    from harness.datasets.synthetic import copies, generate

    with console.progress(f"make {name}", sum(1 for _ in copies(name)), "image") as bar:
        return preparation(spec, generate(name, to, bar.advance))
