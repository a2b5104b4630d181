"""The same content as GitHub-flavoured Markdown; figures are files beside it. Everything from a card is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from reports.blocks import Section, Table


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~$&])", r"\\\1", " ".join(text.split()))


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole document."""
    parts = [f"# {escape(title)}", escape(subtitle)]
    for section in sections:
        parts.append(f"## {escape(section.title)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Any) -> str:
    if block.kind == "words":
        shown = escape(block.text)
        return f"**{shown}**" if block.tone == "lead" else f"> {shown}" if block.tone == "caution" else shown
    if block.kind == "figure":
        return f"![{escape(block.title)}](figures/{block.name}.svg)\n\n*{escape(block.caption)}*"
    if block.kind == "code":
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
        return f"{fence}sh\n{block.text}\n{fence}"
    if block.kind == "fold":
        inner = "\n\n".join(_block(one) for one in block.blocks)
        return f"<details>\n<summary>{_html(block.title)}</summary>\n\n{inner}\n\n</details>"
    return _table(block)


def _table(table: Table) -> str:
    lines = [_row([escape(column.name) for column in table.columns])]
    lines.append(_row(["--:" if column.number else ":--" for column in table.columns]))
    for heading, rows in table.groups:
        if heading:
            lines.append(_row([f"**{escape(heading)}**", *[""] * (len(table.columns) - 1)]))
        lines += [_row([escape(cell) for cell in row]) for row in rows]
    return f"{escape(table.caption)}\n\n" + "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
