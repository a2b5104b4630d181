"""Label against prediction, with the fitted curve: for each head its best configuration by validation."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import Any

import numpy as np

from reports import drawing, names, text
from reports.blocks import Figure, Section, Words
from reports.scores import fit
from reports.sections.verdict import chosen, is_proxy
from reports.study import Study
from reports.tables import Row, Scored

POINTS, PANELS, ACROSS = 2000, 12, 3
PANEL, KEY, LINE = 48, 40, 0.15  # characters on a line of a panel's title and of a key; inches a line
VECTORS = 300  # points of a panel that are drawn as shapes; more are a picture, or the page would weigh megabytes
GROUPS = len(drawing.OKABE_ITO)
EVERY = "all images"


def section(study: Study) -> Section:
    """One figure a test dataset, one panel a head."""
    wanted = _panels(study)
    shown = sorted(wanted, key=lambda row: not row.own)[:PANELS]
    figures = [
        _figure(study, i, test, [row for row in shown if row.test == test])
        for i, test in enumerate(sorted({row.test for row in shown}), start=1)
    ]
    words = [Words(WORDS)]
    if len(wanted) > PANELS:
        words.append(
            Words(
                f"{PANELS} of {len(wanted)} panels are shown, own test rows first, then by name; "
                "scores.csv has every evaluation."
            )
        )
    return Section("scatter", "Predictions", [*words, *figures])


WORDS = (
    "A panel for each head: its best configuration by validation score (by name where there is none), and of several "
    "runs the one whose SRCC is in the middle. The curve is the one that the fitted PLCC uses; it has seen these "
    f"labels. The dotted line is prediction = label. At most {POINTS:,} points a panel, drawn by a fixed seed; scores "
    "always use all."
)


def _panels(study: Study) -> list[Row]:
    found: list[Row] = []
    for key in sorted({(c.train, c.split, c.variant) for c in study.configs}):
        configs = [c for c in study.configs if (c.train, c.split, c.variant) == key]
        ranking = chosen(study, configs)
        best = ranking[0][1] if ranking else configs[0]
        found += [row for row in study.rows if row.config == best and math.isfinite(row.representative.scores.srcc)]
    return sorted(found, key=lambda row: (row.test, row.config))


def _figure(study: Study, number: int, test: str, rows: list[Row]) -> Figure:
    stamps = study.stamps(rows)
    title = f"Label and prediction on {test}" + (f" [{' '.join(stamps)}]" if stamps else "")
    parts = [_says(study, row) for row in rows]
    sampled = [row.representative.scores.n for row in rows if row.representative.scores.n > POINTS]
    sample = f" {POINTS:,} of {text.counts(sampled)} points are drawn." if sampled else ""
    shared = names.shared(row.config for row in rows)
    caption = f"{title}.{f' All panels: {shared}.' if shared else ''}{sample}"
    description = f"{text.plural(len(rows), 'scatter plot')} of quality against prediction. {'; '.join(parts)}."
    svg, file = _draw(study, f"scatter-{number}", rows, title, description)
    return Figure(f"scatter-{number}", title, description, caption, svg, file)


def _says(study: Study, row: Row) -> str:
    one = row.representative
    which = f" ({one.run.split_name}, the middle of {len(row.members)} runs)" if len(row.members) > 1 else ""
    return (
        f"{names.whole(row.config, study.notes[row.config])}, trained on {row.config.train}{which}: "
        f"SRCC {text.number(one.scores.srcc)}, n = {one.scores.n:,}, {one.scores.fit} curve"
    )


def scale_name(one: Scored) -> str:
    """The label axis: quality, and what it was made from; a proxy is never called MOS."""
    scale = one.evaluation.scale
    name = str(scale.get("name") or scale.get("kind") or "labels")
    if is_proxy(scale) and "proxy" not in name.lower():
        name = f"proxy ({name})"
    low, high = scale.get("low"), scale.get("high")
    ends = f" {low:g} to {high:g}" if isinstance(low, int | float) and isinstance(high, int | float) else ""
    turned = "" if scale.get("higher_is_better", True) else ", turned round"
    return f"quality from {name}{ends}{turned}"


def _draw(study: Study, name: str, rows: list[Row], title: str, description: str) -> tuple[str, str]:
    import seaborn as sns

    across = min(ACROSS, max(len(rows), 2))
    down = math.ceil(len(rows) / across)
    points = [_points(row.representative) for row in rows]
    groups = sorted({str(g) for p in points for g in p["group"]})
    if len(groups) > GROUPS:  # more than can be told apart by colour and shape
        points, groups = [p.assign(group=EVERY) for p in points], [EVERY]
    palette = dict(zip(groups, drawing.OKABE_ITO, strict=False))
    markers = dict(zip(groups, drawing.MARKERS, strict=False))
    titles = [_title(study, row) for row in rows]
    tall = 3.0 + LINE * drawing.deepest(titles)
    keys = [drawing.wrapped(group, KEY) for group in groups] if len(groups) > 1 else []
    beside = _beside(keys, across)
    below = 0.1 + LINE * drawing.deepest(keys) * math.ceil(len(keys) / beside) if keys else 0.0
    with drawing.style():
        figure, axes = drawing.canvas(3.7 * across, tall * down + below, nrows=down, ncols=across)
        for axis in axes.flat[len(rows) :]:
            axis.set_axis_off()
        labels = np.concatenate([data["quality"].to_numpy() for data in points])
        margin = 0.05 * float(np.ptp(labels))
        for axis, row, data, title_of in zip(axes.flat, rows, points, titles, strict=False):
            one = row.representative
            sns.scatterplot(
                data=data,
                x="prediction",
                y="quality",
                hue="group",
                style="group",
                hue_order=groups,
                style_order=groups,
                palette=palette,
                markers=markers,
                s=14,
                alpha=0.75 if one.scores.n < 500 else 0.4,
                linewidth=0,
                legend=False,
                rasterized=len(data) > VECTORS,
                ax=axis,
            )
            ends = np.array([data["prediction"].min(), data["prediction"].max()])
            axis.plot(ends, ends, color=drawing.MUTED, linewidth=1, linestyle=":", zorder=1)
            x = np.linspace(ends[0], ends[1], 100)
            axis.plot(
                x,
                fit(one.frame["quality"].to_numpy(), one.frame["prediction"].to_numpy())(x),
                color=drawing.INK,
                linewidth=1.8,
            )
            axis.set_title(title_of, fontsize=8.5)
            axis.set_ylim(labels.min() - margin, labels.max() + margin)
            axis.set_xlabel("prediction, in quality")
            axis.set_ylabel(drawing.wrapped(scale_name(one), 38) if axis.get_subplotspec().is_first_col() else "")
            axis.grid(True)
            axis.set_axisbelow(True)
        if keys:
            figure.legend(handles=_legend(keys), loc="outside lower center", ncols=beside, fontsize=8)
        return drawing.svg(figure, name, title, description)


def _points(one: Scored) -> Any:
    """Rows with a number, at most POINTS of them; the same rows for the same run, whatever their order."""
    data = one.frame.dropna(subset=["prediction"]).sort_values(by="id", kind="stable").reset_index(drop=True)
    if len(data) > POINTS:
        seed = int.from_bytes(hashlib.sha256(one.evaluation.dataset.encode()).digest()[:4], "big")
        data = data.iloc[np.sort(np.random.default_rng(seed).choice(len(data), POINTS, replace=False))]
    column = one.within.by or "group"
    group = data[column].fillna("").astype(str)
    sizes = Counter(group)
    few = len(sizes) <= GROUPS and min(sizes.values()) > 1
    return data.assign(group=group if few else EVERY)[["prediction", "quality", "group"]]


def _title(study: Study, row: Row) -> str:
    one = row.representative
    said = f"{one.run.split_name}: SRCC {text.number(one.scores.srcc)}, n {one.scores.n:,}"
    return f"{drawing.wrapped(study.labels[row.config], PANEL)}\n{drawing.wrapped(said, PANEL)}"


def _beside(keys: list[str], across: int) -> int:
    """Keys that fit beside each other below so many panels."""
    longest = max((len(line) for key in keys for line in key.split("\n")), default=0)
    return max(1, min(len(keys), PANEL * across // (longest + 6)))


def _legend(groups: list[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=4.5, label=group)
        for group, colour, marker in zip(groups, drawing.OKABE_ITO, drawing.MARKERS, strict=False)
    ]
