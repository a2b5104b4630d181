"""What a page is made of: words, tables, figures, code, folds. Plain data; others draw it as HTML and Markdown."""

from __future__ import annotations

from typing import Any, NamedTuple


class Words(NamedTuple):
    """A paragraph of plain text; `tone` is "", "lead" or "caution"."""

    text: str
    tone: str = ""
    kind: str = "words"


class Column(NamedTuple):
    """A column; numbers stand on the right."""

    name: str
    number: bool = False


class Table(NamedTuple):
    """A table whose first column names the row; `groups` are (heading or "", rows)."""

    caption: str
    columns: list[Column]
    groups: list[tuple[str, list[list[str]]]]
    kind: str = "table"


class Figure(NamedTuple):
    """A picture, with its words for those who do not see it; `svg` is inline SVG, `file` the same for a file."""

    name: str
    title: str
    description: str
    caption: str
    svg: str
    file: str
    kind: str = "figure"


class Code(NamedTuple):
    """Text to be copied as it is."""

    text: str
    kind: str = "code"


class Fold(NamedTuple):
    """Blocks behind a line that opens."""

    title: str
    blocks: list[Any]
    kind: str = "fold"


class Section(NamedTuple):
    """A part of the page with a heading of its own."""

    id: str
    title: str
    blocks: list[Any]
