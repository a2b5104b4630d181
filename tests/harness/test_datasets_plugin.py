"""A dataset that another package offers: found by its entry point, listed, opened, split, held to the same suite."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import harness
from harness.datasets.conformance import check_dataset
from harness.datasets.page import Info
from harness.errors import UsageError
from harness.registry import datasets
from harness.verbs.datasets import info, ls

PAGE = '''
"""Street: photographs of one street, by day and by night."""

from harness.datasets.layout import Layout, Source
from harness.datasets.scale import ScoreScale
from harness.datasets.spec import DatasetSpec, sourced

READ = Layout(
    dataset="street",
    sources=(Source(files=("scores.csv",), columns={"name": "file", "mos": "score", "official_part": "part"}),),
    pattern=r"(?P<house>h\\d+)_(?P<scene>day|night)\\.png",
    example="h1_day.png",
    group="{house}",
    images=("photos/{name}",),
)

SPEC = DatasetSpec(
    name="street",
    title="Street",
    year=2026,
    count=4,
    references=0,
    distortions=0,
    scale=ScoreScale("MOS", 1.0, 5.0, True, "MOS"),
    label_variant="column score",
    group_rule="house",
    official_split="2 train, 2 test",
    tree="photos/h1_day.png ...\\nscores.csv",
    terms="CC0",
    licence_thumbnails=True,
    citation="",
    obtain="Ask the neighbours.",
    sources=sourced("counted", "count", "scale"),
    reader="street_iqa.street:READ",
    plugin="street-iqa",
)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package as pip would have installed it: its modules and a .dist-info with an entry point, on the path."""
    site = tmp_path / "site"
    (site / "street_iqa").mkdir(parents=True)
    (site / "street_iqa" / "__init__.py").write_text("")
    (site / "street_iqa" / "street.py").write_text(PAGE)
    info_folder = site / "street_iqa-1.0.dist-info"
    info_folder.mkdir()
    (info_folder / "METADATA").write_text("Metadata-Version: 2.1\nName: street-iqa\nVersion: 1.0\n")
    (info_folder / "entry_points.txt").write_text("[sam_iqa.datasets]\nstreet = street_iqa.street:SPEC\n")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    yield site
    for name in ("street_iqa", "street_iqa.street"):
        sys.modules.pop(name, None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "street"
    (folder / "photos").mkdir(parents=True)
    lines = ["file,score,part"]
    for number, (house, scene) in enumerate((h, s) for h in ("h1", "h2") for s in ("day", "night")):
        (folder / "photos" / f"{house}_{scene}.png").write_bytes(bytes([number]))
        lines.append(f"{house}_{scene}.png,{number + 1},{'training' if house == 'h1' else 'test'}")
    (folder / "scores.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_plugins_dataset_is_listed_and_opened_by_name(package: Path, root: Path) -> None:
    assert "street" in [row.name for row in ls()]
    page = info("street")
    assert isinstance(page, Info)
    assert page.spec.obtain == "Ask the neighbours."
    data = harness.dataset("street", root)
    assert (data.present, data.missing, data.unlabelled) == (4, 0, 0)
    assert data.labelled["group"].tolist() == ["h1", "h1", "h2", "h2"]
    assert data.labelled["scene"].tolist() == ["day", "night", "day", "night"]
    assert data.labelled["official_part"].tolist() == ["train", "train", "test", "test"]
    # A group is a house: day and night of one house stay together.
    split = data.split("random:1")
    assert {name[:2] for name in split.train}.isdisjoint({name[:2] for name in split.test})
    assert data.quality_map().to_quality(data.labelled["mos"]).tolist() == [0, 0.25, 0.5, 0.75]


def test_a_plugins_dataset_keeps_to_the_suite_that_ours_keep_to(package: Path, root: Path) -> None:
    check_dataset(datasets().get("street"), root)


@pytest.mark.data
@pytest.mark.usefixtures("package")
def test_a_plugins_dataset_goes_from_photographs_to_the_report(
    root: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real photographs and a real encoder, by the dataset's name alone; 12 houses, each by day and by night."""
    monkeypatch.setenv("IQA_DATA", str(root.parent))
    photographs = sorted((data_root / "images/livec/Images").glob("*.JPG"))[:24]
    shutil.rmtree(root / "photos")
    (root / "photos").mkdir()
    lines = ["file,score,part"]
    for number, photograph in enumerate(photographs):
        name = f"h{number // 2}_{'night' if number % 2 else 'day'}.png"
        with Image.open(photograph) as image:
            image.resize((96, 72)).save(root / "photos" / name)
        lines.append(f"{name},{1 + number % 5},{'training' if number < 16 else 'test'}")
    (root / "scores.csv").write_text("\n".join(lines) + "\n")
    stored = harness.precompute(dataset="street", encoder="efficientnet-lite0", features=["stage.2:moments"])
    assert (stored.encoded, stored.missing, stored.stamps) == (24, 0, [])
    run = harness.train_head(variant="ridge", dataset="street")[0]
    assert (run.split, run.n, run.stamps) == ("official", 8, [])
    again = harness.evaluate([run], on="street")[0]
    assert (again.rows, again.srcc) == ("official test", run.srcc)
    page = Path(harness.report([run], out="report").html).read_text(encoding="utf-8")
    assert "street" in page


def test_a_plugin_may_not_take_a_built_ins_name(package: Path) -> None:
    path = package / "street_iqa-1.0.dist-info" / "entry_points.txt"
    path.write_text("[sam_iqa.datasets]\nspaq = street_iqa.street:SPEC\n")
    importlib.invalidate_caches()
    with pytest.raises(UsageError, match="Two packages offer the dataset 'spaq'"):
        datasets().names()


def test_a_plugin_that_cannot_be_imported_names_itself(package: Path) -> None:
    (package / "street_iqa" / "street.py").write_text("import no_such_package\n")
    with pytest.raises(UsageError, match=r"'street' could not be loaded from street_iqa\.street:SPEC"):
        datasets().get("street")
