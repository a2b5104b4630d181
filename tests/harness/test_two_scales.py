"""A head on features of two views: one row an image, both scales side by side, from fit to prediction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import harness
from cache.encode import Encoded
from cache.memory import InMemory
from harness.errors import NotFoundError, UsageError
from heads.base import Examples, FitPlan
from reports.card import load_run
from reports.tables import config_of

pytestmark = pytest.mark.data

ENCODER = "efficientnet-lite0"
TAP = "stage.1:moments"
BOTH = [f"{ENCODER}@native/{TAP}", f"{ENCODER}@half/{TAP}"]


@pytest.fixture(scope="module")
def world(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 BIQ2021 photographs, 4 of them of the official test part, seen native and half; one of these four was torn
    before its half was made.
    """
    top = tmp_path_factory.mktemp("two")
    source, labels = data_root / "images/biq2021", data_root / "labels/biq2021"
    part = {name: set(pd.read_csv(labels / f"{name} (Images and MOS).csv").iloc[:, 0]) for name in ("Train", "Test")}
    here = sorted(path.name for path in source.glob("*.jpg"))
    chosen = {name: [image for image in here if image in part[name]] for name in part}
    images = top / "iqa/biq2021/Images"
    images.mkdir(parents=True)
    for name in [*chosen["Train"][:10], *chosen["Test"][:4]]:
        shutil.copy(source / name, images / name)
    (top / "harness.toml").write_text(
        f'[paths]\ndata = "iqa"\n[datasets.biq2021]\nlabels = "{labels}"\n', encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(top)
        encode = {"dataset": "biq2021", "encoder": ENCODER, "features": [TAP]}
        harness.precompute(**encode, view="native")
        torn = images / chosen["Test"][0]
        torn.write_bytes(torn.read_bytes()[:5000])
        harness.precompute(**encode, view="half")
    return top


@pytest.fixture
def here(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world)
    return world


def trained(**settings: Any) -> Any:
    given = {"variant": "ridge", "dataset": "biq2021", "view": ["native", "half"], "split": "random:1", **settings}
    return harness.train_head(**given)[0]


def card_of(run: Any) -> dict[str, Any]:
    return json.loads((Path(run.folder) / "card.json").read_text(encoding="utf-8"))


def predictions(run: Any) -> pd.DataFrame:
    return pd.read_parquet(next(Path(run.folder).glob("evaluations/*-test/predictions.parquet"))).set_index("id")


def test_two_scales_are_their_tables_side_by_side(here: Path) -> None:
    run = trained()
    assert run.features == BOTH
    stores = [harness.open_store(next(here.glob(f"stores/biq2021/*@{view}-*"))) for view in ("native", "half")]
    tables = [
        (rows := store.select([TAP])).ids and dict(zip(rows.ids, rows.table(TAP), strict=True)) for store in stores
    ]
    ids = sorted(set(tables[0]) & set(tables[1]))
    assert len(ids) == 13
    rows = [Encoded(i, "", 0, 0, "ok", "", {"both:moments": np.concatenate([t[i] for t in tables])}) for i in ids]
    data = harness.dataset("biq2021")
    mos = dict(zip(data.manifest["id"], data.manifest["mos"], strict=True))
    quality, unknown = np.array([mos[i] for i in ids]), np.full(len(ids), np.nan)
    examples = Examples(
        InMemory(rows, ["both:moments"]), ids, quality, unknown, unknown, "biq2021", ids, [""] * len(ids)
    )
    split = data.splits("random:1")[0]
    train, valid, test = ([i for i in part if i in ids] for part in (split.train, split.valid, split.test))
    plan = FitPlan(examples.rows(train), examples.rows(valid), 0)
    head = harness.head("ridge").fit(examples, plan, lambda q, p: harness.score(q, p).srcc)
    expected = head.predict(examples[examples.rows(test)])
    np.testing.assert_allclose(predictions(run).loc[test, "prediction"], expected, rtol=1e-6)


def test_what_failed_in_one_view_is_a_failed_row_with_its_reason(here: Path) -> None:
    """The trap: a row with features in one store, and rows of another image beside them."""
    run = trained(split="official")
    known = predictions(run)
    assert dict(known["failure"].value_counts()) == {"image missing": 1996, "": 3, "truncated": 1}
    assert known.loc[known["failure"] == "truncated", "prediction"].isna().all()
    assert card_of(run)["failures"]["truncated"] == 1
    assert trained(split="official", view=["native"]).n == 4


def test_a_run_says_of_which_views_it_is(here: Path) -> None:
    run = trained()
    card = card_of(run)
    assert (card["encoder"], card["view"]) == (ENCODER, "native+half")
    assert len(card["store"].split("+")) == len(card["store_key"].split("+")) == 2
    ids = {run.id, trained(view=["native"]).id, trained(view=["half"]).id}
    assert len(ids) == 3
    assert trained().id == run.id
    assert config_of(load_run(Path(run.folder) / "card.json")).encoder == f"{ENCODER}@native+half"


def test_such_a_run_is_evaluated_and_predicts(here: Path) -> None:
    run = trained()
    again = harness.evaluate([run], on="biq2021")[0]
    assert again.srcc == run.srcc
    known = predictions(run)
    image_id = known.index[known["failure"] == ""][0]
    image = next(p for p in (here / "iqa/biq2021/Images").iterdir() if p.name in image_id)
    empty = here / "empty.jpg"
    empty.touch()
    row, failed = harness.predict([image, empty], run=run)
    assert row.quality == pytest.approx(known.loc[image_id, "prediction"], abs=1e-4)
    assert failed.failure == "empty file"


def test_maps_of_two_scales_meet_in_one_head(here: Path) -> None:
    maps = {"dataset": "biq2021", "encoder": ENCODER, "features": ["stage.6:map"], "limit": 9}
    harness.precompute(**maps, view=["native", "half"], store="maps")
    run = trained(variant="fft", store="maps", features=["stage.6:map"], set=["epochs=1"])
    assert run.features == [f"{ENCODER}@{view}/stage.6:map" for view in ("native", "half")]
    assert run.n > 0


def test_features_of_two_encoders_meet_in_one_head(here: Path) -> None:
    harness.precompute(dataset="biq2021", encoder=ENCODER, features=[TAP], store="others")
    harness.precompute(dataset="biq2021", encoder="shortcuts", store="others")
    run = trained(encoder=[ENCODER, "shortcuts"], view=["native"], store="others")
    assert run.features == [f"{ENCODER}@native/{TAP}", "shortcuts@native/facts:vector"]
    assert (card_of(run)["encoder"], run.n) == (f"{ENCODER}+shortcuts", 2)
    image = next((here / "iqa/biq2021/Images").glob("*.jpg"))
    assert harness.predict([image], run=run)[0].failure == ""


@pytest.mark.usefixtures("here")
def test_one_view_may_give_other_features_than_the_other() -> None:
    run = trained(
        features=[f"{ENCODER}@native/stage.1:moments", f"{ENCODER}@half/stage.[1]:moments"], view=["native", "half"]
    )
    assert run.features == BOTH


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        (
            {"view": ["native", "long512"]},
            NotFoundError,
            r"--dataset biq2021 --encoder efficientnet-lite0 --view long512",
        ),
        ({"view": None}, UsageError, r"2 stores fit .*--view"),
        ({"features": ["stage.2:moments"]}, NotFoundError, r"--view native --features stage.2:moments"),
        ({"features": [f"{ENCODER}@quarter/{TAP}"]}, UsageError, r"none of the stores read: .*@native, .*@half"),
        ({"features": [f"{ENCODER}@half/{TAP}"]}, UsageError, r"No feature of efficientnet-lite0@native"),
    ],
)
def test_what_is_missing_says_what_to_type(settings: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        trained(**settings)
