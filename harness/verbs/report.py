"""`harness report`: runs -> one page with tables, matrix and figures. A pure function of cards and predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


class Report(msgspec.Struct, frozen=True):
    """Where the report lies, and its main table."""

    html: str
    markdown: str
    csv: list[str]
    rows: list[dict[str, Any]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.measure import Measurement
        from rich.table import Table
        from rich.text import Text

        columns = list(self.rows[0]) if self.rows else []
        # What is the same in every row is said once, above: the table then fits where people read it.
        same = [c for c in SAME if c in columns and len({row[c] for row in self.rows}) == 1]
        same = [c for c in same if len(self.rows) > 1 or not self.rows[0][c]]
        columns = [column for column in columns if column not in same]
        table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
        for column in columns:
            table.add_column(column, justify="left" if column in LEFT else "right")
        for row in self.rows:
            table.add_row(*(Text(str(row[c])) for c in columns))
        said = ", ".join(f"{column} {self.rows[0][column]}" for column in same if self.rows[0][column])
        if said:
            yield Text(f"{said}\n")
        fits = Measurement.get(console, options.update(max_width=10_000), table).maximum <= options.max_width
        yield table if fits else Text(self._below(columns))
        yield Text(f"\n{self.html}\n{self.markdown}\n" + "\n".join(self.csv))

    def _below(self, columns: list[str]) -> str:
        """The table where it is too wide: the numbers of a row stand below its names, and nothing is cut."""
        names = [c for c in columns if c in LEFT and c != "stamps"]
        numbers = [c for c in columns if c not in names]
        wide = {c: max(len(c), *(len(str(row[c])) for row in self.rows)) for c in numbers}
        lines: list[str] = []
        for row in [{c: c for c in columns}, *self.rows]:
            cells = (f"{row[c]!s:{'<' if c in LEFT else '>'}{wide[c]}}" for c in numbers)
            lines += [", ".join(str(row[c]) for c in names if row[c]), "  " + "  ".join(cells).rstrip()]
        return "\n".join(lines)


SAME = ("train", "encoder", "view", "features", "split")  # stamps and numbers stand in every row
LEFT = ("train", "test", "encoder", "view", "features", "head", "split", "stamps")


@verb
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or run ids.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("report"),
    title: Annotated[str, typer.Option(help="The page's title.")] = "Image quality from frozen features",
) -> Report:
    """Writes Markdown, CSV and one self-contained HTML page about runs and their evaluations.

    Examples:
    harness report runs/* --out report

    Returns:
        The paths and the main table.
    """
    from harness.config import current
    from harness.locate import run_folder
    from harness.stamps import MEANING
    from reports.page import build

    config, _ = current()
    folders = list(dict.fromkeys(run_folder(run, config).resolve() for run in runs))
    made = build(folders, out, title=title, meanings=MEANING)
    return Report(html=str(made.html), markdown=str(made.markdown), csv=[str(p) for p in made.csvs], rows=made.rows)
