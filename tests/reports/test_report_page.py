"""The page as a reviewer reads it: what must stand in it, and what must never."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports import page
from reports.errors import ReportError
from reports.page import Page, build
from reports.results import load
from reports.scores import srcc

Make = Callable[..., Path]
Rows = Callable[..., pd.DataFrame]

MEANINGS = {"LIMITED": "fewer images", "SUBSET": "not the whole dataset", "PROXY": "labels come from a formula"}
EVIL = "<script>alert('id')</script>|`x`*$\\frac$.png"
REASON = 'not an image: <img src=x onerror="alert(1)">'
TITLE = 'A "title" </title><script>alert(1)</script> & $x_1$ | `b`'


class Reader(HTMLParser):
    """Tags with their attributes, table rows with their cells, figures with their words."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[tuple[str, list[tuple[str, dict[str, str], str]]]] = []
        self.figures: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        self.tags.append((tag, facts))
        if tag == "tr":
            self.rows.append((facts.get("class", ""), []))
        if tag in ("td", "th") and self.rows:
            self.rows[-1][1].append((tag, facts, ""))
        if tag == "figure":
            self.figures.append("")
        if tag not in ("meta", "br", "link", "img", "hr"):
            self._inside.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if "figcaption" in self._inside:
            self.figures[-1] += data
        if self._inside and {"td", "th"} & set(self._inside):
            tag, facts, text = self.rows[-1][1][-1]
            self.rows[-1][1][-1] = (tag, facts, text + data)


def read(made: Page) -> Reader:
    reader = Reader()
    reader.feed(made.html.read_text(encoding="utf-8"))
    reader.close()
    assert not reader._inside, "a tag is left open"
    return reader


def words(made: Page) -> str:
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", made.html.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, make: Make, rows_of: Rows) -> list[Path]:
    """`ridge` has the better validation score, `fft` the better test score; only ridge was tested on beta."""
    top = tmp_path_factory.mktemp("runs")
    own = rows_of(40, noise=0.3, seed=1)
    own.loc[0, ["id", "failure"]] = EVIL, REASON
    own.loc[1, "prediction"] = np.nan  # and no reason given
    own.loc[2:4, "failure"] = "image missing"
    better = rows_of(40, noise=0.02, seed=1)
    away = rows_of(60, noise=0.2, seed=2, groups=6, prefix="beta")
    return [
        make(
            top,
            "alpha-ridge-official-00000001",
            [("alpha", "official test", own), ("beta", "all", away)],
            variant="ridge",
            valid_srcc=0.9,
            stamps=["SUBSET"],
        ),
        make(
            top,
            "alpha-fft-official-00000002",
            [("alpha", "official test", better)],
            variant="fft",
            valid_srcc=0.7,
            stamps=["SUBSET"],
        ),
    ]


@pytest.fixture(scope="module")
def made(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    return build(folders, tmp_path_factory.mktemp("page"), TITLE, MEANINGS)


def test_validation_names_the_winner_where_the_test_would_name_another(made: Page) -> None:
    scores = pd.read_csv(made.csvs[0]).set_index(["head", "test"])["srcc"]
    assert scores["fft", "alpha"] > scores["ridge", "alpha"]
    said = words(made)
    assert "validation rows choose ridge on toy@native" in said
    assert "Next by validation: fft" in said
    lead = said[said.index("validation rows choose") : said.index("Next by validation")]
    assert "n = 35" in lead
    assert re.search(r"95% interval \[0\.\d{3}, 0\.\d{3}\]", lead)
    assert "Stamped SUBSET" in lead


def test_nothing_is_chosen_without_validation_scores(tmp_path: Path, make: Make, rows_of: Rows) -> None:
    runs = [
        make(tmp_path, f"alpha-{v}-official-1", [("alpha", "official test", rows_of(20))], variant=v, valid_srcc=None)
        for v in ("ridge", "mlp")
    ]
    said = words(build(runs, tmp_path / "out", "t"))
    assert "nothing was chosen among 2 configurations" in said
    assert "None is named the winner" in said


def test_every_row_and_every_figure_carries_its_stamps(made: Page) -> None:
    reader = read(made)
    tables: list[list[Any]] = []
    for kind, cells in reader.rows:
        if cells and all(facts.get("scope") == "col" for _, facts, _ in cells):
            tables.append([])
            names = [text for *_, text in cells]
        elif kind != "group" and "stamps" in names:
            tables[-1].append(cells[names.index("stamps")])
    rows = [row for table in tables for row in table]
    assert len(rows) > 8
    assert all("SUBSET" in text for *_, text in rows)
    assert len(reader.figures) >= 5
    assert all("[SUBSET]" in caption for caption in reader.figures)
    assert all("SUBSET" in row["stamps"] for row in made.rows)
    for frame in map(pd.read_csv, made.csvs[:3]):
        assert (frame["stamps"] == "SUBSET").all()
    assert "not the whole dataset" in words(made)
    assert "labels come from a formula" not in words(made)


def test_rows_without_a_number_are_counted_and_shown(made: Page) -> None:
    text = made.html.read_text(encoding="utf-8")
    assert "not an image: &lt;img src=x" in text
    assert "prediction is not finite" in text
    row = next(r for r in made.rows if r["head"] == "ridge" and r["test"].startswith("alpha"))
    assert row["n"] == "35/40"
    frame = pd.read_csv(made.csvs[0]).set_index(["head", "test"]).loc[("ridge", "alpha")]
    assert [frame[name] for name in ("asked", "n", "missing", "failed")] == [40, 35, 3, 2]
    lost = pd.read_csv(made.csvs[3])
    assert set(lost["reason"]) == {REASON, "prediction is not finite", "image missing"}
    assert EVIL in set(lost["id"])
    assert "3 missing, 2 failed" in words(made)


@pytest.mark.parametrize(
    ("scored", "reason"),
    [((3, 3, 10), "scenes of < 10 rows"), ((10, 3, 10), ""), ((10, 10, 0), "scenes of equal values")],
)
def test_rows_that_were_not_scored_make_no_group_large_enough(
    tmp_path: Path, make: Make, rows_of: Rows, scored: tuple[int, ...], reason: str
) -> None:
    """The trap: missing images counted towards the 10 rows a group, and 16 rows had an SRCC within of 0.999."""
    frame = rows_of(60, noise=0.01)
    frame["scene"] = [f"scene{i // 20}" for i in range(60)]
    frame.loc[[i % 20 >= scored[i // 20] for i in range(60)], "failure"] = "image missing"
    if "equal" in reason:
        frame.loc[frame["scene"] == "scene1", "prediction"] = 0.5
    page = build([make(tmp_path, "alpha-ridge-official-1", [("alpha", "official test", frame)])], tmp_path / "out", "t")
    said = pd.read_csv(page.csvs[0]).iloc[0]
    assert said["n"] == sum(scored)
    assert page.rows[0]["within"] == (reason or f"{said['srcc_within']:.3f}")
    assert pd.isna(said["srcc_within"]) == bool(reason)


def test_a_missing_cell_says_why(made: Page) -> None:
    matrix = pd.read_csv(made.csvs[2]).set_index("head")
    assert matrix.loc["fft", "beta"] == "not evaluated"
    assert float(matrix.loc["ridge", "beta"]) > 0
    assert "not evaluated" in words(made)
    assert "not evaluated" in (made.html.parent / "figures" / "matrix.svg").read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_elsewhere(made: Page) -> None:
    reader = read(made)
    text = made.html.read_text(encoding="utf-8")
    policy = next(f["content"] for t, f in reader.tags if t == "meta" and f.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in reader.tags}
    for _, facts in reader.tags:
        for name in ("src", "href", "xlink:href"):
            assert facts.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"https?://|url\((?!#)|@import", text)
    ids = [facts["id"] for _, facts in reader.tags if "id" in facts]
    assert len(ids) == len(set(ids))
    targets = {
        name.removeprefix("#")
        for _, f in reader.tags
        for name in (f.get("href"), f.get("xlink:href"))
        if name and name[0] == "#"
    }
    targets |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert targets <= set(ids)


def test_what_comes_from_a_card_is_escaped(made: Page) -> None:
    text = made.html.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "onerror=" not in re.sub(r"&lt;.*?&gt;", "", text)
    assert "&lt;script&gt;alert(&#39;id&#39;)" in text
    markdown = made.markdown.read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)<(script|img)", markdown)
    for table in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_same_inputs_give_the_same_bytes_in_any_order(folders: list[Path], made: Page, tmp_path: Path) -> None:
    again = build([*reversed(folders), folders[0]], tmp_path / "elsewhere", TITLE, MEANINGS)
    here, there = made.html.parent, again.html.parent
    files = sorted(p.relative_to(here) for p in here.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(there) for p in there.rglob("*") if p.is_file())
    assert {"index.html", "report.md", "figures/matrix.svg", "scores.csv"} <= {str(f) for f in files}
    for file in files:
        data = (here / file).read_bytes()
        assert data == (there / file).read_bytes(), file
        assert str(here).encode() not in data
        assert str(folders[0].parent).encode() not in data
    assert again.rows == made.rows


def test_figures_have_words_and_headers_a_scope(made: Page) -> None:
    reader = read(made)
    svgs = [facts for tag, facts in reader.tags if tag == "svg"]
    ids = {facts["id"]: tag for tag, facts in reader.tags if "id" in facts}
    assert len(svgs) == len(reader.figures)
    for facts in svgs:
        assert facts["role"] == "img"
        assert [ids[name] for name in facts["aria-labelledby"].split()] == ["title", "desc"]
    assert all(facts.get("scope") in ("col", "row", "rowgroup") for tag, facts in reader.tags if tag == "th")


def test_colours_stand_out_in_both_themes() -> None:
    style = (page.TEMPLATES / "page.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--([\w-]+): (#\w{6});", style[: style.index("@media")]))
    dark = light | dict(re.findall(r"--([\w-]+): (#\w{6});", style[style.index("@media") : style.index("* {")]))
    assert light["paper"] != dark["paper"]
    for theme in (light, dark):
        for ground in ("paper", "soft", "caution", "lead"):
            assert contrast(theme["ink"], theme[ground]) >= 4.5
        for text in ("muted", "link"):
            assert contrast(theme[text], theme["paper"]) >= 4.5
        assert contrast(theme["o1"], theme["paper"]) >= 3  # the marks that stand for runs
        assert contrast(theme["o2"], theme["paper"]) >= 3


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two #rrggbb."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_on_every_cell_colour_stands_out() -> None:
    import matplotlib as mpl

    from reports.drawing import text_on

    for step in range(101):
        colour = mpl.colormaps["cividis"](step / 100)[:3]
        shade = "#" + "".join(f"{round(255 * c):02x}" for c in colour)
        assert contrast(text_on(colour), shade) >= 4.5


@pytest.fixture(scope="module")
def left_out(tmp_path_factory: pytest.TempPathFactory, make: Make, rows_of: Rows) -> Page:
    """Leave-one-out over three photographs, labels by a formula, one run upside down, one constant."""
    top = tmp_path_factory.mktemp("loo")
    proxy = {"name": "SSIM", "kind": "proxy", "low": 0.0, "high": 1.0, "higher_is_better": True, "quality": "declared"}
    runs = []
    for i, name in enumerate(("camera", "coffee", "coins")):
        own = rows_of(20, seed=i, groups=1, prefix=name)
        away = rows_of(60, seed=10, noise=0.2, groups=6, prefix="x", slope=-1.0 if i == 0 else 1.0)
        if i == 2:
            own["prediction"] = 0.5
        runs.append(
            make(
                top,
                f"alpha-ridge-leave-one-out-{name}-{i}",
                [("alpha", f"leave-one-out:{name} test", own), ("beta", "all", away)],
                scale=proxy,
                split_kind="leave-one-out",
                split_name=f"leave-one-out:{name}",
                split_fingerprint=str(i) * 64,
                stamps=["PROXY"],
            )
        )
    return build(runs, tmp_path_factory.mktemp("page"), "Left out", MEANINGS)


def test_leave_one_out_says_how_little_it_proves(left_out: Page) -> None:
    said = words(left_out)
    assert (
        "How little this proves: on alpha every run is tested on the one group that was left out, 3 groups in all"
        in said
    )
    assert "beta has 6 groups of related images only" in said


def test_p15_several_runs_give_a_median_with_lowest_and_highest(left_out: Page) -> None:
    scores = pd.read_csv(left_out.csvs[0])
    table = pd.read_csv(left_out.csvs[1]).set_index("test")
    away = scores.loc[scores["test"] == "beta", "srcc"]
    assert away.min() < -0.5, "the sign is kept"
    for name, value in (("median", away.median()), ("min", away.min()), ("max", away.max())):
        assert table.loc["beta", f"srcc_{name}"] == pytest.approx(value, abs=0)
    row = next(r for r in left_out.rows if r["test"].startswith("beta"))
    assert (row["split"], row["SRCC"]) == ("leave-one-out ×3", f"{away.median():.3f}")
    assert row["interval"] == f"{away.min():.3f} to {away.max():.3f}"
    assert scores.loc[scores["test"] == "beta", "interval_by"].eq("group").all()


def test_p21_test_sets_are_never_pooled(made: Page, folders: list[Path]) -> None:
    """The trap: one SRCC over the rows of several datasets mixes their scales, and rewards telling them apart."""
    results = [result for result in load(folders) if result.run.variant == "ridge"]
    assert len(results) == 2
    scores = pd.read_csv(made.csvs[0])
    assert sorted(scores.loc[scores["head"] == "ridge", "test"]) == ["alpha", "beta"]
    for result in results:
        good = result.frame.dropna(subset=["prediction"]).query("failure == ''")
        row = scores[(scores["head"] == "ridge") & (scores["test"] == result.evaluation.dataset)].iloc[0]
        assert (row["n"], row["srcc"]) == (len(good), pytest.approx(srcc(good["quality"], good["prediction"])))


def test_a_run_without_a_correlation_is_said_not_hidden(left_out: Page) -> None:
    scores = pd.read_csv(left_out.csvs[0])
    assert "all predictions are equal" in set(scores["no_score"].dropna())
    row = next(r for r in left_out.rows if r["test"].startswith("alpha"))
    assert "2 of 3 runs" in row["interval"]


@pytest.mark.parametrize("n", [1, 2])
def test_a_test_of_one_or_two_rows_gives_a_page_without_a_number(
    tmp_path: Path, make: Make, rows_of: Rows, n: int
) -> None:
    """The trap: a figure without a single point warned of the colours of points."""
    run = make(tmp_path, "alpha-ridge-official-1", [("alpha", "official test", rows_of(n))])
    page = build([run], tmp_path / "out", "t")
    scores = pd.read_csv(page.csvs[0])
    assert (list(scores["n"]), scores["srcc"].isna().all()) == ([n], True)
    assert scores["no_score"].str.len().gt(0).all()


def test_names_of_any_length_leave_room_for_what_is_drawn(tmp_path: Path, make: Make, rows_of: Rows) -> None:
    """The trap: a name of a figure's width left its axes none ("constrained_layout not applied", cut labels)."""
    long = "x" * 200
    frame = rows_of(30, groups=3)
    frame["group"] = long + frame["group"]
    tests = [(f"{long}{i}", f"all of {long}", rows_of(30)) for i in range(3)]
    runs = [
        make(
            tmp_path,
            f"alpha-{variant}-official-1",
            [("alpha", "official test", frame), *tests[:tested]],
            variant=variant + long,
            encoder=encoder,
            features=[f"{encoder}@{view}/{long}.{i}:moments" for view in ("native", "half") for i in (1, 3)],
            view="native+half",
            split_name=f"official:{long}",
            stamps=["SUBSET", long],
            scale={"name": f"MOS of {long}", "kind": "MOS"},
        )
        for variant, encoder, tested in (("ridge", "toy", 3), ("mlp", "net" + long, 1))
    ]
    page = build(runs, tmp_path / "out", "t")
    figures = sorted((tmp_path / "out" / "figures").iterdir())
    assert len(figures) == 9
    for figure in figures:
        svg = figure.read_text(encoding="utf-8")
        width, height = map(float, svg.split('viewBox="0 0 ')[1].split('"')[0].split())
        assert max(width, height) < 2500
        assert long not in re.sub(r"<(title|desc).*?</\1>", "", svg, flags=re.DOTALL)
    assert page.rows[0]["encoder"].startswith("net")


def test_the_spread_tells_cleaned_rows_from_all(tmp_path: Path, make: Make, rows_of: Rows) -> None:
    """The trap: the same run stood twice in the figure under one name."""
    tested = [("alpha", rows, rows_of(30)) for rows in ("official test", "official test, cleaned")]
    page = build([make(tmp_path, "alpha-ridge-official-1", tested)], tmp_path / "out", "t")
    (figure,) = (page.html.parent / "figures").glob("spread-*.svg")
    assert "cleaned" in figure.read_text(encoding="utf-8")


def test_a_proxy_is_never_called_mos(left_out: Page) -> None:
    assert "Labels that no person gave (alpha: SSIM and beta: SSIM)" in words(left_out)
    for figure in (left_out.html.parent / "figures").glob("scatter-*.svg"):
        text = figure.read_text(encoding="utf-8")
        assert "proxy (SSIM)" in text
        assert "MOS" not in text


def test_an_older_and_larger_report_leaves_no_figure_behind(
    left_out: Page, folders: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "spread-9.svg").touch()
    (tmp_path / "figures" / "mine.svg").touch()
    build(folders[1:], tmp_path, "t")
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {
        "matrix.svg",
        "spread-1.svg",
        "scatter-1.svg",
        "mine.svg",
    }


def test_no_runs_and_runs_without_evaluations_are_refused(tmp_path: Path, make: Make, rows_of: Rows) -> None:
    with pytest.raises(ReportError, match="Expected run folders, found none"):
        build([], tmp_path / "out", "t")
    empty = make(tmp_path, "alpha-ridge-official-1", [])
    with pytest.raises(ReportError, match=r"Expected evaluations in .* found none"):
        build([empty], tmp_path / "out", "t")
    with pytest.raises(ReportError, match="Expected a run's card"):
        build([tmp_path], tmp_path / "out", "t")
    assert not (tmp_path / "out").exists()


def test_what_does_not_belong_together_is_refused(tmp_path: Path, make: Make, rows_of: Rows) -> None:
    evaluations = [("alpha", "official test", rows_of(20))]
    one = make(tmp_path / "a", "alpha-ridge-official-1", evaluations)
    with pytest.raises(ReportError, match="Expected every run once"):
        build([one, make(tmp_path / "b", "alpha-ridge-official-1", evaluations)], tmp_path / "out", "t")
    card = one / "evaluations" / "0" / "card.json"
    text = card.read_text()
    card.write_text(text.replace('"asked": 20', '"asked": 21'))
    with pytest.raises(ReportError, match="Expected 21 different rows"):
        build([one], tmp_path / "out", "t")
    card.write_text(text.replace("alpha-ridge-official-1", "another-run"))
    with pytest.raises(ReportError, match="found one of another-run"):
        build([one], tmp_path / "out", "t")
    (card.with_name("predictions.parquet")).write_bytes(b"PAR1")
    card.write_text(text)
    with pytest.raises(ReportError, match="Expected predictions"):
        build([one], tmp_path / "out", "t")
