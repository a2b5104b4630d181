"""Run folders -> a page: one HTML file that needs nothing else, the same as Markdown, and CSVs. Never fits a head.

A pure function of cards and predictions: the same inputs give the same bytes, in whatever order the folders are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reports import csvs, markdown, text
from reports.blocks import Figure
from reports.sections import counts, matrix, protocol, provenance, scatter, scores, spread, verdict
from reports.study import Study, study

SECTIONS = (verdict, scores, matrix, spread, scatter, counts, provenance, protocol)
TEMPLATES = Path(__file__).parent / "templates"


class Page(NamedTuple):
    """What was written, and the main table for people."""

    html: Path
    markdown: Path
    csvs: list[Path]
    rows: list[dict[str, str]]


def build(folders: Sequence[Path], out: Path, title: str, meanings: Mapping[str, str] | None = None) -> Page:
    """Writes `out/{index.html, report.md, figures/*.svg, *.csv}` about runs and their evaluations.

    Args:
        folders: run folders, each with card.json and evaluations/; order and repetition do not matter.
        meanings: stamp -> one sentence, in the order in which stamps are shown.

    Raises:
        ReportError: no runs, a run without evaluations, or a file that cannot be trusted.
    """
    made = study(folders, meanings or {})
    sections = [section.section(made) for section in SECTIONS]
    figures = [block for section in sections for block in section.blocks if isinstance(block, Figure)]
    said = subtitle(made)
    place = out / "figures"
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.svg"):  # of an earlier report in this folder, which had more of them
        if old.stem.split("-")[0] in ("matrix", "spread", "scatter"):
            old.unlink()
    for figure in figures:
        (place / f"{figure.name}.svg").write_text(figure.file, encoding="utf-8", newline="\n")
    page = Page(out / "index.html", out / "report.md", csvs.write(made, out), scores.narrow(made))
    page.html.write_text(_html(title, said, sections), encoding="utf-8", newline="\n")
    page.markdown.write_text(markdown.page(title, said, sections), encoding="utf-8", newline="\n")
    return page


def subtitle(made: Study) -> str:
    """What the report is about, and when its results were made: by the cards, not by a clock."""
    runs = {one.run.id for one in made.scored}
    created = sorted({one.evaluation.provenance.created[:10] for one in made.scored} - {""})
    when = f", made {created[0]}" + (f" to {created[-1]}" if len(created) > 1 else "") if created else ""
    return (
        f"{text.plural(len(runs), 'run')} of {text.plural(len(made.configs), 'configuration')}, "
        f"{text.plural(len(made.scored), 'evaluation')}{when}"
    )


def _html(title: str, said: str, sections: Sequence[Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(title=title, subtitle=said, sections=sections)
