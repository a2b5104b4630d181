"""`harness heads ls | info`: the heads and every setting that `train-head --set` takes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from harness.verbs.datasets import Facts

if TYPE_CHECKING:
    from rich.console import RenderableType


class HeadRow(msgspec.Struct, frozen=True):
    """One line of `heads ls`."""

    name: str
    reads: str
    summary: str


class HeadTable(list[HeadRow]):
    """Rows that draw themselves."""

    def __rich__(self) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, header_style="bold")
        for heading in ("name", "reads", "what it is"):
            table.add_column(heading)
        for row in self:
            table.add_row(row.name, row.reads, row.summary)
        return table


def ls() -> HeadTable:
    """Lists the heads.

    Examples:
    harness heads ls
    """
    from harness.registry import heads

    registry = heads()
    rows = HeadTable()
    for name in registry.names():
        kind = registry.get(name)
        asked = kind().default_features(["out:map", "out:moments"], "out")
        reads = "maps" if any(f.endswith(":map") for f in asked) else "summaries"
        rows.append(HeadRow(name, reads, (inspect.getdoc(kind) or "").split("\n")[0]))
    return rows


def info(name: Annotated[str, typer.Argument(help="A name of `harness heads ls`.")]) -> Facts:
    """Prints a head's design and its settings with their defaults (`train-head --set key=value`).

    Examples:
    harness heads info fft
    """
    from harness.registry import heads

    kind = heads().get(name)
    return Facts(
        name,
        {
            "what": inspect.getdoc(kind) or "",
            "revision": kind.revision,
            "settings": msgspec.to_builtins(kind.Settings()),
            "settings explained": inspect.getdoc(kind.Settings) or "",
        },
    )
