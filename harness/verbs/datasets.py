"""`harness datasets ls | info | verify`: what is known of each dataset, and whether the one on this disk is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

if TYPE_CHECKING:
    from rich.console import RenderableType


class DatasetRow(msgspec.Struct, frozen=True):
    """One line of `datasets ls`."""

    name: str
    title: str
    year: int
    count: int
    references: int
    label: str
    better: str
    official_split: str
    terms: str


class DatasetTable(list[DatasetRow]):
    """Rows that draw themselves."""

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, header_style="bold")
        for heading in ("name", "title", "year", "images", "label", "better", "official split"):
            table.add_column(heading, justify="right" if heading in ("year", "images") else "left")
        for row in self:
            images = f"{row.count:,}" if row.count else "yours"
            table.add_row(
                row.name,
                row.title,
                str(row.year or ""),
                images,
                row.label,
                row.better,
                row.official_split or "-",
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
                official_split=spec.official_split,
                terms=spec.terms,
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


def info(name: Annotated[str, typer.Argument(help="A name of `harness datasets ls`.")]) -> Facts:
    """Prints what is known of a dataset, each fact with its source or "unverified", and how to obtain it.

    Examples:
    harness datasets info biq2021
    """
    from harness.registry import datasets

    return Facts(name, msgspec.to_builtins(datasets().get(name)))


def verify(
    name: Annotated[str, typer.Argument(help="A name of `harness datasets ls`.")],
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder (default: harness.toml, $IQA_DATA/NAME).")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Its label files, where they lie elsewhere.")] = None,
) -> object:
    """Checks a dataset on this disk: counts, missing and undecodable images, duplicates, range and direction of labels.

    A subset is fine and is said; an image that cannot be decoded ends with exit code 3.

    Examples:
    harness datasets verify biq2021 --root iqa/biq2021
    """
    from cache.images import decode
    from harness import config, console, locate
    from harness.datasets.dataset import open_dataset
    from harness.datasets.verify import verify as run

    settings = config.load()
    folder = locate.needed_root(name, root, settings)
    dataset = open_dataset(name, folder, locate.labels_folder(name, labels, settings))
    with console.progress(f"verify {name}", dataset.present, "image") as bar:
        return run(dataset, decode=decode, progress=bar.advance)
