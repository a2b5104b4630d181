"""The main job on real photographs with real human scores: a real encoder, from image files to the report page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

import harness
from cache.errors import UsageError

pytestmark = pytest.mark.data

ENCODER = "efficientnet-lite0"


def some_images(source: Path, target: Path, count: int, suffix: str = ".jpg") -> list[str]:
    target.mkdir(parents=True)
    names = sorted(p.name for p in source.iterdir() if p.suffix.lower() == suffix)[
        :: max(1, len(list(source.iterdir())) // count)
    ][:count]
    for name in names:
        shutil.copy(source / name, target / name)
    return names


@pytest.fixture(scope="module")
def world(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 BIQ2021 and 12 LIVE Challenge photographs with their authors' label files."""
    top = tmp_path_factory.mktemp("world")
    some_images(data_root / "images/biq2021", top / "iqa/biq2021/Images", 40)
    some_images(data_root / "images/livec/Images", top / "iqa/livec/Images", 12)
    (top / "harness.toml").write_text(
        f"""
[paths]
data = "iqa"
stores = "stores"
runs = "runs"
[datasets.biq2021]
root = "iqa/biq2021"
labels = "{data_root / "labels/biq2021"}"
[datasets.livec]
root = "iqa/livec"
labels = "{data_root / "labels/livec"}"
""",
        encoding="utf-8",
    )
    return top


@pytest.fixture
def here(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world)
    return world


def encoded(dataset: str = "biq2021", **settings: object) -> object:
    return harness.precompute(dataset=dataset, encoder=ENCODER, features=["stage.6:map", "stage.*:moments"], **settings)


@pytest.fixture(scope="module")
def stores(world: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        encoded()
        encoded("livec")


@pytest.mark.usefixtures("stores")
def test_the_second_precompute_encodes_nothing(here: Path) -> None:
    again = encoded()
    assert again.encoded == 0
    assert again.stores[0].images == 40
    assert again.missing == 12_000 - 40
    assert again.stamps == ["SUBSET"]


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("variant", ["ridge", "mlp", "fft", "spatial", "sam-iqa"])
def test_every_head_goes_from_store_to_report(here: Path, variant: str) -> None:
    quick = [] if variant == "ridge" else ["epochs=2"]
    features = ["stage.6:map"] if variant in ("fft", "spatial", "sam-iqa") else None
    runs = harness.train_head(variant=variant, dataset="biq2021", features=features, set=quick, split="random:2")
    assert len(runs) == 2
    assert all(run.n > 0 and "SUBSET" in run.stamps for run in runs)
    away = harness.evaluate(runs, on="livec")
    assert {e.dataset for e in away} == {"livec"}
    assert all(e.asked == 1162 and e.n == 12 and e.failures == {"image missing": 1150} for e in away)
    page = harness.report([*runs, *away], out=f"report-{variant}")
    html = Path(page.html).read_text(encoding="utf-8")
    assert "SUBSET" in html
    assert "livec" in html
    assert "http://" not in html.replace("http://www.w3.org", "")


@pytest.mark.usefixtures("stores")
def test_the_official_split_is_the_default_and_its_missing_rows_are_counted(here: Path) -> None:
    run = harness.train_head(variant="ridge", dataset="biq2021")[0]
    assert run.split == "official"
    card = json.loads((Path(run.folder) / "evaluations/biq2021-official-test/card.json").read_text())
    assert card["counts"]["asked"] == 2000
    assert card["counts"]["used"] == run.n
    assert card["counts"]["missing"] == 2000 - run.n
    saved = json.loads((Path(run.folder) / "config.json").read_text())
    assert saved["settings"]["variant"] == "ridge"
    assert saved["command"].startswith("harness train-head --variant ridge")


@pytest.mark.usefixtures("stores")
def test_p02_changing_test_labels_changes_no_prediction_and_no_choice(
    here: Path, data_root: Path, tmp_path: Path
) -> None:
    """The trap: a choice (epoch, regulariser) that peeks at test rows."""
    labels = tmp_path / "labels"
    shutil.copytree(data_root / "labels/biq2021", labels)
    file = next(labels.glob("Test*"))
    frame = pd.read_csv(file)
    frame["MOS"] = 1.0 - frame["MOS"]
    frame.to_csv(file, index=False)
    settings = {"variant": "mlp", "dataset": "biq2021", "set": ["epochs=3"], "split": "official"}
    honest = harness.train_head(**settings)[0]
    turned = harness.train_head(**settings, labels=labels)[0]
    assert honest.id != turned.id
    one, other = (
        pd.read_parquet(Path(run.folder) / "evaluations/biq2021-official-test/predictions.parquet")
        for run in (honest, turned)
    )
    pd.testing.assert_series_equal(one["prediction"], other["prediction"])
    assert honest.valid_srcc == turned.valid_srcc
    assert honest.srcc != turned.srcc


@pytest.mark.usefixtures("stores")
def test_p03_labels_of_another_dataset_change_no_prediction_on_it(here: Path, data_root: Path, tmp_path: Path) -> None:
    """The trap: a "cross-dataset" checkpoint that was chosen on the dataset that it is tested on."""
    labels = tmp_path / "labels"
    shutil.copytree(data_root / "labels/livec", labels)
    file = labels / "AllMOS_release.mat"
    savemat(file, {"AllMOS_release": 100.0 - loadmat(file)["AllMOS_release"]})
    run = harness.train_head(variant="mlp", dataset="biq2021", set=["epochs=2"], split="random:1")[0]
    head = {p.name: p.read_bytes() for p in (Path(run.folder) / "head").iterdir()}
    place = Path(run.folder) / "evaluations/livec-all/predictions.parquet"
    honest, one = harness.evaluate([run], on="livec")[0], pd.read_parquet(place)
    turned, other = harness.evaluate([run], on="livec", labels=labels)[0], pd.read_parquet(place)
    pd.testing.assert_series_equal(one["prediction"], other["prediction"])
    assert turned.srcc == pytest.approx(-honest.srcc)
    assert {p.name: p.read_bytes() for p in (Path(run.folder) / "head").iterdir()} == head


@pytest.mark.usefixtures("stores")
def test_p18_shared_content_is_kept_in_the_cards_and_shown_in_the_report(here: Path, tmp_path: Path) -> None:
    """Both datasets are said to be of one site, and the encoder to have been trained on it."""
    for name in ("biq2021", "livec"):
        shutil.copytree(here / "stores" / name, tmp_path / "stores" / name)
    header = next((tmp_path / "stores/biq2021").glob("*/features/zarr.json"))
    header.write_text(header.read_text(encoding="utf-8").replace('"ImageNet-1k"\n', '"Unsplash"\n'), encoding="utf-8")
    common = {"store": tmp_path / "stores", "runs": tmp_path / "runs"}
    run = harness.train_head(variant="ridge", dataset="biq2021", split="random:1", **common)[0]
    card = json.loads((Path(run.folder) / "card.json").read_text(encoding="utf-8"))
    assert card["notes"] == [f"{ENCODER} was trained on Unsplash, a source of biq2021: the photographs of source ss03"]
    page = harness.report([run], out=tmp_path / "report")
    assert "was trained on Unsplash" in Path(page.html).read_text(encoding="utf-8")


@pytest.mark.usefixtures("stores")
def test_predict_gives_new_images_what_the_evaluation_gave_them(here: Path) -> None:
    run = harness.train_head(variant="ridge", dataset="biq2021", split="random:1")[0]
    predicted = pd.read_parquet(next(Path(run.folder).glob("evaluations/*/predictions.parquet"))).dropna(
        subset="prediction"
    )
    image = here / "iqa/biq2021/Images" / str(predicted["id"].iloc[0])
    empty = here / "nothing.jpg"
    empty.touch()
    row, failed = harness.predict([image, empty], run=run)
    assert row.quality == pytest.approx(predicted["prediction"].iloc[0], abs=1e-4)
    assert failed.quality is None
    assert "empty" in failed.failure


def test_growth_encodes_nothing_twice(data_root: Path, tmp_path: Path) -> None:
    """`--limit`, then all; a tap added; a map added; one image changed."""
    root = tmp_path / "biq2021"
    names = some_images(data_root / "images/biq2021", root / "Images", 10)
    common = {"dataset": "biq2021", "root": root, "labels": data_root / "labels/biq2021", "encoder": ENCODER}
    first = harness.precompute(**common, features=["stage.1:moments"], limit=4)
    assert (first.encoded, first.stores[0].images) == (4, 4)
    assert "LIMITED" in first.stamps
    rest = harness.precompute(**common, features=["stage.1:moments"])
    assert (rest.encoded, rest.stores[0].images, rest.stores[0].already) == (6, 10, 4)
    assert "LIMITED" not in rest.stamps
    store = harness.open_store(rest.stores[0].path)
    before = store.select(["stage.1:moments"]).table("stage.1:moments")
    assert harness.precompute(**common, features=["stage.6:moments"]).encoded == 10
    assert harness.precompute(**common, features=["stage.6:map"]).encoded == 10
    every = ["stage.1:moments", "stage.6:moments", "stage.6:map"]
    again = harness.precompute(**common, features=every)
    assert (again.encoded, again.speed) == (0, None)
    assert first.speed is not None
    assert first.speed.tflops > 0
    assert 0 <= first.speed.idle < 1
    shutil.copy(root / "Images" / names[1], root / "Images" / names[0])
    changed = harness.precompute(**common, features=every)
    assert (changed.encoded, changed.stores[0].images) == (1, 10)
    store = harness.open_store(rest.stores[0].path)
    after = store.select(["stage.1:moments"])
    place = {name: i for i, name in enumerate(after.ids)}
    table = after.table("stage.1:moments")
    assert (table[place[names[0]]] == table[place[names[1]]]).all()
    unchanged = [place[name] for name in names[1:]]
    assert (table[unchanged] == before[unchanged]).all()


def test_a_run_on_a_limited_store_is_not_taken_for_one_on_the_whole(data_root: Path, tmp_path: Path) -> None:
    """The trap: same split, same settings, other rows encoded, and the old run is read again."""
    root = tmp_path / "biq2021"
    names = some_images(data_root / "images/biq2021", root / "Images", 24)
    common = {"dataset": "biq2021", "root": root, "labels": data_root / "labels/biq2021"}
    encode = {**common, "encoder": ENCODER, "features": ["stage.2:moments"]}
    fit = {**common, "variant": "ridge", "split": "random:1"}
    harness.precompute(**encode, limit=16)
    limited = harness.train_head(**fit)[0]
    harness.precompute(**encode)
    whole = harness.train_head(**fit)[0]
    assert whole.id != limited.id
    assert harness.train_head(**fit)[0].id == whole.id
    Image.open(root / "Images" / names[0]).rotate(90).save(root / "Images" / names[0])
    harness.precompute(**encode)
    assert harness.train_head(**fit)[0].id != whole.id


def test_shortcuts_go_from_store_to_report(here: Path) -> None:
    """The row that others must beat: facts of the files and the source that the dataset tells, no pixels' content."""
    made = harness.precompute(dataset="biq2021", encoder="shortcuts")
    assert made.stores[0].features == ["facts:vector"]
    rows = harness.open_store(made.stores[0].path).select(["facts:vector"])
    sources = rows.table("facts:vector")[:, 7:]
    names = [image_id[:4] for image_id in rows.ids]
    assert (sources.sum(axis=1) == 1).all()
    assert len(set(names)) == len({tuple(row) for row in sources.tolist()}) == 3
    common = {"dataset": "biq2021", "encoder": "shortcuts", "split": "random:1"}
    runs = [
        *harness.train_head(variant="ridge", **common),
        *harness.train_head(variant="mlp", set=["epochs=2"], **common),
    ]
    assert all(run.n > 0 for run in runs)
    html = Path(harness.report(runs, out="report-shortcuts").html).read_text(encoding="utf-8")
    assert "facts:vector" in html
    with pytest.raises(UsageError, match="facts:map: facts gives one vector an image; expected facts:vector"):
        harness.train_head(variant="fft", **common)


def test_changing_labels_changes_no_fact_and_encodes_nothing(data_root: Path, tmp_path: Path) -> None:
    """The trap: `shortcuts` reads what a dataset tells of an image, and a label is told there too."""
    root, labels = tmp_path / "biq2021", tmp_path / "labels"
    some_images(data_root / "images/biq2021", root / "Images", 5)
    shutil.copytree(data_root / "labels/biq2021", labels)
    common = {"dataset": "biq2021", "root": root, "labels": labels, "encoder": "shortcuts"}
    first = harness.precompute(**common)
    for file in labels.glob("*.csv"):
        frame = pd.read_csv(file)
        frame["MOS"] = 1.0 - frame["MOS"]
        frame.to_csv(file, index=False)
    assert harness.precompute(**common).encoded == 0
    again = harness.precompute(**common, store=tmp_path / "elsewhere")
    one, other = (harness.open_store(made.stores[0].path).select(["facts:vector"]) for made in (first, again))
    assert one.contents == other.contents


def test_files_that_cannot_be_read_are_failed_rows_of_an_encoder_that_reads_facts(
    data_root: Path, tmp_path: Path
) -> None:
    """The trap: bytes a pixel of a file without pixels, in the prediction of how long it will take."""
    root = tmp_path / "biq2021"
    names = some_images(data_root / "images/biq2021", root / "Images", 3)
    for name in names[:2]:
        (root / "Images" / name).write_bytes(b"")
    made = harness.precompute(
        dataset="biq2021", root=root, labels=data_root / "labels/biq2021", encoder="shortcuts", store=tmp_path / "s"
    )
    assert (made.stores[0].images, made.stores[0].failures) == (1, {"empty file": 2})


@pytest.mark.parametrize(("encoder", "features"), [("nss", ["brisque:vector"]), ("pixel-spectrum", None)])
def test_other_floors_are_fitted_on_what_they_keep(here: Path, encoder: str, features: list[str] | None) -> None:
    """The trap: a head that reads moments alone has two numbers of `pixel-spectrum`, and nothing of a vector."""
    made = harness.precompute(dataset="biq2021", encoder=encoder)
    run = harness.train_head(variant="ridge", dataset="biq2021", encoder=encoder, split="random:1")[0]
    saved = json.loads((Path(run.folder) / "card.json").read_text())
    assert saved["features"] == (features or ["luma:moments", "luma:spectrum"]) == made.stores[0].features
