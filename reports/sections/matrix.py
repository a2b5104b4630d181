"""Train sets by test sets: SRCC of every configuration on every test set, a reason in every empty cell."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from reports import drawing, names, text
from reports.blocks import Column, Figure, Section, Table, Words
from reports.study import Study
from reports.tables import Config, Row

NOT_EVALUATED = "not evaluated"
HOLDS_TRAIN = "holds its train rows"
ROW, CELL, LINE = 0.42, 1.6, 0.15  # inches; of a line of a name
LABEL, HEAD, REASON = 56, 21, 26  # characters on a line


class Cell(NamedTuple):
    """One configuration on one test set; `row` is None where there is nothing."""

    value: float
    row: Row | None
    reason: str = ""


def section(study: Study) -> Section:
    """The heat map, and the same as a table."""
    grid = cells(study)
    return Section("matrix", "Across datasets", [Words(WORDS), _figure(study, grid), _table(study, grid)])


WORDS = (
    "Rows are what was trained, columns what it was tested on. A cell holds SRCC (the median where there are several "
    "runs) and n. Framed cells are test rows of the dataset that was trained on; all others are datasets that the run "
    "has never seen."
)


def columns(study: Study) -> list[str]:
    """Test datasets by name; with their rows where one configuration was tested on several parts of one dataset."""
    pairs = [(row.config, row.test) for row in study.rows]
    several = {test for (_, test) in {pair for pair in pairs if pairs.count(pair) > 1}}
    return sorted({_column(row, several) for row in study.rows})


def _column(row: Row, several: set[str]) -> str:
    return text.rows_name(row) if row.test in several else row.test


def cells(study: Study) -> dict[tuple[Config, str], Cell]:
    """Every configuration by every column; none is left out."""
    heads = columns(study)
    found: dict[tuple[Config, str], Cell] = {}
    for row in study.rows:
        value = row.middle(lambda m: m.scores.srcc)
        column = row.test if row.test in heads else text.rows_name(row)
        found[row.config, column] = Cell(value.value, row, value.reason)
    tested = {(row.config, row.test) for row in study.rows}
    for config in study.configs:
        for column in heads:
            own = column in config.train.split("+") and (config, column) not in tested
            found.setdefault((config, column), Cell(math.nan, None, HOLDS_TRAIN if own else NOT_EVALUATED))
    return found


def _table(study: Study, grid: dict[tuple[Config, str], Cell]) -> Table:
    heads = columns(study)
    rows = [
        [
            study.head(config),
            config.train,
            config.encoder,
            names.features(config.features),
            *(_text(grid[config, column]) for column in heads),
            " ".join(study.stamps(row for row in study.rows if row.config == config)),
        ]
        for config in study.configs
    ]
    named = [Column("head"), Column("trained on"), Column("encoder"), Column("features")]
    return Table(
        "SRCC by what was trained and what it was tested on; * marks test rows of the dataset that was trained on.",
        [*named, *(Column(head, True) for head in heads), Column("stamps")],
        [("", rows)],
    )


def _text(cell: Cell) -> str:
    if cell.row is None:
        return cell.reason
    value = text.number(cell.value) if math.isfinite(cell.value) else f"none: {cell.reason}"
    return value + ("*" if cell.row.own else "")


def _figure(study: Study, grid: dict[tuple[Config, str], Cell]) -> Figure:
    heads, configs = columns(study), study.configs
    values = np.array([[grid[config, column].value for column in heads] for config in configs])
    finite = values[np.isfinite(values)]
    low = min(0.0, float(finite.min())) if len(finite) else 0.0
    stamps = study.stamps(study.rows)
    title = "SRCC, trained on (rows) and tested on (columns)" + (f" [{' '.join(stamps)}]" if stamps else "")
    svg, file = _draw(study, grid, values, low, title)
    shared = names.shared(configs)
    caption = (
        f"{title}. {shared[:1].upper()}{shared[1:]}{'. ' if shared else ''}Colour from {text.number(low, 1)} to 1."
    )
    return Figure("matrix", title, _describe(study, grid), caption, svg, file)


def _draw(
    study: Study, grid: dict[tuple[Config, str], Cell], values: np.ndarray, low: float, title: str
) -> tuple[str, str]:
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib.patches import Rectangle

    heads, configs = columns(study), study.configs
    common = set(study.stamps(study.rows)).intersection(*(row.stamps for row in study.rows))
    labels = [drawing.wrapped(_label(study, config, common), LABEL) for config in configs]
    shown = [drawing.wrapped(head, HEAD) for head in heads]
    reasons = [drawing.wrapped(cell.reason, REASON) for cell in grid.values()]
    row = max(ROW, LINE * max(drawing.deepest(labels), drawing.deepest(reasons)) + 0.12)
    width = 0.075 * max(len(line) for label in labels for line in label.split("\n")) + CELL * len(heads) + 0.6
    with drawing.style():
        figure, axes = drawing.canvas(width, row * len(configs) + LINE * drawing.deepest(shown) + 0.6)
        axis = axes[0, 0]
        colours = mpl.colormaps["cividis"]
        sns.heatmap(
            np.nan_to_num(values, nan=low),
            mask=~np.isfinite(values),
            ax=axis,
            cmap=colours,
            vmin=low,
            vmax=1.0,
            cbar=False,
            xticklabels=shown,
            yticklabels=labels,
            linewidths=1.5,
            linecolor=drawing.PAPER,
        )
        for i, config in enumerate(configs):
            for j, column in enumerate(heads):
                cell = grid[config, column]
                if math.isfinite(cell.value):
                    ink = drawing.text_on(colours((cell.value - low) / (1.0 - low))[:3])
                    n = text.counts(m.scores.n for m in cell.row.members) if cell.row else ""
                    axis.text(
                        j + 0.5, i + 0.53, text.number(cell.value), ha="right", va="center", color=ink, weight="bold"
                    )
                    axis.text(j + 0.54, i + 0.53, f"n {n}", ha="left", va="center", color=ink, fontsize=7.5)
                else:
                    axis.text(
                        j + 0.5,
                        i + 0.5,
                        drawing.wrapped(cell.reason, REASON),
                        ha="center",
                        va="center",
                        color=drawing.MUTED,
                        fontsize=7.5,
                    )
                if cell.row is not None and cell.row.own:
                    box = Rectangle((j + 0.012, i + 0.05), 0.976, 0.9, fill=False, edgecolor=drawing.INK, linewidth=2)
                    axis.add_patch(box)
        axis.xaxis.tick_top()
        axis.xaxis.set_label_position("top")
        axis.set_xlabel("tested on", color=drawing.MUTED)
        axis.tick_params(length=0, rotation=0)
        return drawing.svg(figure, "matrix", title, _describe(study, grid))


def _label(study: Study, config: Config, common: set[str]) -> str:
    own = [s for s in study.stamps(row for row in study.rows if row.config == config) if s not in common]
    return study.labels[config] + (f"  [{' '.join(own)}]" if own else "")


def _describe(study: Study, grid: dict[tuple[Config, str], Cell]) -> str:
    have = [cell.value for cell in grid.values() if math.isfinite(cell.value)]
    ends = f"SRCC from {text.number(min(have))} to {text.number(max(have))}; " if have else ""
    size = f"{text.plural(len(study.configs), 'configuration')} by {text.plural(len(columns(study)), 'test set')}"
    return f"Heat map of {size}: {ends}{len(grid) - len(have)} cells are empty. The table below holds the same numbers."
