"""How much each SRCC moves: every run's own value and interval. Sorted by name, never by test score."""

from __future__ import annotations

import math

import numpy as np

from reports import drawing, names, text
from reports.blocks import Figure, Section, Words
from reports.study import Study
from reports.tables import Middle, Row

KINDS = ("own test rows", "another dataset")
LEAST, MOST, EACH, LINE = 0.3, 1.1, 0.085, 0.15  # inches a configuration, a run, a line of its name
LABEL = 56  # characters of a name on a line


def section(study: Study) -> Section:
    """One figure a test dataset; words where no run has a value there."""
    blocks = [
        _figure(study, i, test, rows) if any(_value(row).runs for row in rows) else Words(_nothing(test, rows))
        for i, (test, rows) in enumerate(study.tests(), start=1)
    ]
    return Section("spread", "Spread", [Words(WORDS), *blocks])


def _value(row: Row) -> Middle:
    return row.middle(lambda m: m.scores.srcc)


def _nothing(test: str, rows: list[Row]) -> str:
    return f"No run has an SRCC on {test}: {text.joined(sorted({_value(row).reason for row in rows}))}."


WORDS = (
    "Each point is one run (one split or seed), its line the 95% bootstrap interval of that run where there is one; "
    "the bar is the median. Configurations stand in the order of their names: an order by test score would be a choice "
    "by test score."
)


def _figure(study: Study, number: int, test: str, rows: list[Row]) -> Figure:
    stamps = study.stamps(rows)
    title = f"SRCC on {test}" + (f" [{' '.join(stamps)}]" if stamps else "")
    lines = sum(math.isfinite(m.srcc.low) for row in rows for m in row.members)
    runs = sum(len(row.members) for row in rows)
    values = [m.scores.srcc for row in rows for m in row.members if math.isfinite(m.scores.srcc)]
    none = sorted({m.srcc.reason for row in rows for m in row.members} - {""})
    words = f"{text.plural(runs, 'run')} of {text.plural(len(rows), 'configuration')}"
    ends = f", SRCC from {text.number(min(values))} to {text.number(max(values))}" if values else ", none with an SRCC"
    shared = names.shared(row.config for row in rows)
    missing = f" {runs - lines} without an interval ({'; '.join(none)})." if none else ""
    caption = f"{title}: {words}{ends}.{missing}{f' All: {shared}.' if shared else ''}"
    svg, file = _draw(study, f"spread-{number}", rows, title, f"{words}{ends}.")
    return Figure(f"spread-{number}", title, f"{words}{ends}.", caption, svg, file)


def _draw(study: Study, name: str, rows: list[Row], title: str, description: str) -> tuple[str, str]:
    import seaborn as sns

    noted = names.labels([row.config for row in rows], study.notes)
    several = {own for own in (True, False) if len({row.rows for row in rows if row.own == own}) > 1}
    labels = [noted[row.config] + (f", {row.rows}" if row.own in several else "") for row in rows]
    common = set(study.stamps(rows)).intersection(*(row.stamps for row in rows))
    labels = [
        drawing.wrapped(label + "".join(f"  [{s}]" for s in row.stamps if s not in common), LABEL)
        for label, row in zip(labels, rows, strict=True)
    ]
    most = max(len(row.members) for row in rows)
    each = max(float(np.clip(EACH * (most + 1), LEAST, MOST)), LINE * drawing.deepest(labels) + 0.1)
    with drawing.style():
        figure, axes = drawing.canvas(11.0, each * len(rows) + 0.8)
        axis = axes[0, 0]
        xs: list[float] = []
        ys: list[float] = []
        for place, row in enumerate(rows):
            offsets = np.linspace(-0.34, 0.34, len(row.members)) if len(row.members) > 1 else [0.0]
            colour = drawing.OKABE_ITO[0 if row.own else 1]
            for member, offset in zip(row.members, offsets, strict=True):
                if math.isfinite(member.srcc.low):
                    axis.hlines(place + offset, member.srcc.low, member.srcc.high, color=colour, linewidth=1, alpha=0.6)
                if math.isfinite(member.scores.srcc):
                    xs.append(member.scores.srcc)
                    ys.append(place + offset)
            value = _value(row)
            if value.runs > 1:
                axis.vlines(value.value, place - 0.4, place + 0.4, color=drawing.INK, linewidth=2, zorder=4)
            if not value.runs:
                axis.text(
                    0.01,
                    place,
                    drawing.wrapped(f"none: {value.reason}", 100),
                    transform=axis.get_yaxis_transform(),
                    va="center",
                    fontsize=7.5,
                )
        own = [row.own for row in rows for m in row.members if math.isfinite(m.scores.srcc)]
        if own:  # too few rows for any SRCC leave nothing to draw
            sns.scatterplot(
                x=xs,
                y=ys,
                hue=[KINDS[0] if o else KINDS[1] for o in own],
                style=[KINDS[0] if o else KINDS[1] for o in own],
                hue_order=KINDS,
                style_order=KINDS,
                palette=dict(zip(KINDS, drawing.OKABE_ITO, strict=False)),
                markers=dict(zip(KINDS, drawing.MARKERS, strict=False)),
                s=26,
                edgecolor=drawing.PAPER,
                linewidth=0.5,
                zorder=3,
                ax=axis,
                legend=len(set(own)) > 1,
            )
        if len(set(own)) > 1:
            axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8, handletextpad=0.2)
        axis.set_yticks(range(len(rows)), labels)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        for edge in range(1, len(rows)):
            axis.axhline(edge - 0.5, color=drawing.GRID, linewidth=0.6, zorder=0)
        axis.grid(axis="x")
        axis.set_axisbelow(True)
        if axis.get_xlim()[0] < 0 < axis.get_xlim()[1]:
            axis.axvline(0, color=drawing.MUTED, linewidth=1, zorder=1)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel("SRCC")
        axis.set_ylabel("")
        axis.spines["left"].set_visible(False)
        return drawing.svg(figure, name, title, description)
