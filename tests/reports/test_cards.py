"""Cards and prediction files come back as they were written, or are refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports import card as cards
from reports import predictions
from reports.errors import ReportError


@pytest.fixture
def folder(tmp_path: Path, make: Callable[..., Path], rows_of: Callable[..., pd.DataFrame]) -> Path:
    return make(tmp_path, "alpha-ridge-official-0001", [("alpha", "official test", rows_of(20))])


def test_cards_come_back_as_they_were(folder: Path) -> None:
    run = cards.load_run(folder / "card.json")
    cards.save(run, folder / "again.json")
    assert cards.load_run(folder / "again.json") == run
    place = folder / "evaluations" / "0"
    evaluation = cards.load_evaluation(place / "card.json")
    cards.save(evaluation, place / "again.json")
    assert (place / "again.json").read_bytes() == (place / "card.json").read_bytes()
    assert list(json.loads((folder / "card.json").read_text()))[:3] == ["version", "id", "dataset"]
    assert not list(folder.glob(".*.part"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"id"', '"di"'),
        lambda text: text.replace('"seed": 0', '"seed": "none"'),
        lambda text: "\x00\xff",
    ],
)
def test_a_damaged_card_is_refused_with_what_to_do(folder: Path, spoil: Callable[[str], str]) -> None:
    path = folder / "card.json"
    path.write_text(spoil(path.read_text()), encoding="latin-1")
    with pytest.raises(ReportError, match=r"Expected a run's card at .*card\.json, found none .*harness train-head"):
        cards.load_run(path)


def test_no_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="No such file"):
        cards.load_run(tmp_path / "card.json")
    with pytest.raises(ReportError, match="harness evaluate"):
        cards.load_evaluation(tmp_path / "card.json")


def test_a_newer_card_is_refused_as_newer_even_with_other_fields(folder: Path) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps({"version": 99, "name": "of another shape"}))
    with pytest.raises(ReportError, match=r"version 99\. Install a newer"):
        cards.load_run(path)


def test_predictions_come_back_with_their_nulls(tmp_path: Path, rows_of: Callable[..., pd.DataFrame]) -> None:
    frame = rows_of(12)
    frame.loc[3, "prediction"] = np.nan
    frame.loc[3, "failure"] = "truncated file"
    frame.loc[4, "scene"] = None
    frame["level"] = pd.array([None, *range(11)], dtype="Int64")
    path = tmp_path / "predictions.parquet"
    predictions.write(path, frame)
    back = predictions.read(path)
    assert list(back.columns) == predictions.SCHEMA.names
    assert back["prediction"].isna().sum() == 1
    assert back["failure"][3] == "truncated file"
    assert pd.isna(back["scene"][4])
    assert pd.isna(back["level"][0])
    np.testing.assert_array_equal(back["quality"], frame["quality"])
    predictions.write(tmp_path / "again.parquet", back)
    pd.testing.assert_frame_equal(predictions.read(tmp_path / "again.parquet"), back)


def test_a_damaged_prediction_file_is_refused(tmp_path: Path, rows_of: Callable[..., pd.DataFrame]) -> None:
    path = tmp_path / "predictions.parquet"
    with pytest.raises(ReportError, match="Evaluate again"):
        predictions.read(path)
    predictions.write(path, rows_of(200))
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF  # inside a page: its checksum tells
    path.write_bytes(data)
    with pytest.raises(ReportError, match="Evaluate again"):
        predictions.read(path)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a"], "prediction": [0.5]}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(ReportError, match="mos, quality"):
        predictions.read(tmp_path / "p.parquet")
