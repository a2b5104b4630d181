"""How every figure looks, and how it becomes SVG that follows the page's theme. Never decides what is drawn.

Ink and grid are drawn in colours that stand for the page's own (`currentColor`, a custom property), so that one picture
serves light, dark and print. The bytes depend on nothing but the drawing.
"""

from __future__ import annotations

import html
import io
import re
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#010203", "#020304", "#030405", "#040506"

# Okabe and Ito (2008), told apart by colour-blind readers; black is the ink, yellow too pale for a white page. On a
# dark page the same hues are lighter.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_ON_DARK = ("#4AA3DF", "#F5813F", "#2FC79A", "#DD9FC4", "#F0B030", "#9BD6F7")
MARKERS = ("o", "s", "^", "D", "v", "P")

_THEME = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "var(--paper)"} | {
    colour: f"var(--o{i})" for i, colour in enumerate(OKABE_ITO, start=1)
}


def _properties(ink: str, muted: str, line: str, paper: str, colours: tuple[str, ...]) -> str:
    named = "".join(f"--o{i}:{colour};" for i, colour in enumerate(colours, start=1))
    return f"svg{{color:{ink};--muted:{muted};--line:{line};--paper:{paper};{named}}}"


# A file of its own has no page around it; these are the page's colours (templates/page.css).
_FILE_STYLE = (
    _properties("#1b1f24", "#57606a", "#d0d7de", "#ffffff", OKABE_ITO)
    + "@media (prefers-color-scheme:dark){"
    + _properties("#e6e8ea", "#a3abb3", "#3a4148", "#14171a", _ON_DARK)
    + "}*{stroke-linejoin:round;stroke-linecap:butt}"
)

_RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sam-iqa-harness",
    "text.parse_math": False,  # a name may hold a dollar
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same widths everywhere
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "hatch.color": GRID,
    "hatch.linewidth": 0.8,
}


@contextmanager
def style() -> Iterator[None]:
    """Draws in the house's style inside; settings outside are not touched."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        cast("Any", mpl.rcParams).update(_RC)
        yield


def wrapped(text: str, width: int) -> str:
    """Text on lines of at most `width` characters: a long name takes height, never the room of what is drawn."""
    return textwrap.fill(text, width, break_on_hyphens=False)


def deepest(texts: Iterable[str]) -> int:
    """Lines of the longest of these, 1 at least."""
    return max((text.count("\n") + 1 for text in texts), default=1)


def canvas(width: float, height: float, **grid: Any) -> tuple[Figure, Any]:
    """A figure of some inches with axes in a grid; no window, no global state."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.subplots(squeeze=False, **grid)


def svg(figure: Figure, name: str, title: str, description: str) -> tuple[str, str]:
    """The figure as inline SVG and as the text of a file of its own; every id starts with `name`."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", dpi=160, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    width, height = map(float, text.split('viewBox="0 0 ')[1].split('"')[0].split())
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r"'DejaVu Sans'(, [\w' -]+)*", "system-ui, sans-serif", body)
    for colour, meaning in _THEME.items():
        body = re.sub(colour, meaning, body, flags=re.IGNORECASE)
    body = "\n".join(line for line in body.splitlines() if line.strip())
    words = f'<title id="{name}-title">{html.escape(title)}</title>\n'
    words += f'<desc id="{name}-desc">{html.escape(description)}</desc>\n'
    root = f'role="img" aria-labelledby="{name}-title {name}-desc" viewBox="0 0 {width:g} {height:g}"'
    inline = f'<svg {root} width="{width / 0.75:.0f}">\n{words}{body}\n</svg>'
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    head = f'<svg {spaces} {root} width="{width:g}pt" height="{height:g}pt">\n<style>{_FILE_STYLE}</style>'
    return inline, f"{head}\n{words}{body}\n</svg>\n"


def text_on(colour: tuple[float, float, float]) -> str:
    """Black or white, whichever stands out more on an RGB colour of 0-1 (WCAG relative luminance)."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"
