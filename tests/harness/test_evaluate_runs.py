"""Which runs `evaluate` and `predict` can use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import harness
from harness import console
from harness.errors import UsageError
from harness.runs import fitted
from harness.verbs.score import score


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run folder of predictions made elsewhere."""
    monkeypatch.chdir(tmp_path)
    Path("lab").mkdir()
    frame = pd.DataFrame({"id": [f"{i}.png" for i in range(20)], "mos": np.arange(20.0)})
    frame.to_csv("lab/labels.csv", index=False)
    frame.rename(columns={"mos": "prediction"}).to_csv("mine.csv", index=False)
    return Path(score(Path("mine.csv"), dataset="lab", labels=Path("lab"), split="all")[0].folder)


def test_predictions_made_elsewhere_have_no_head_to_evaluate_or_predict_with(submitted: Path) -> None:
    with pytest.raises(UsageError, match=r"predictions that were made elsewhere \(lab-mine-.*harness score"):
        harness.evaluate([submitted], on="lab")
    Path("a.png").touch()
    with pytest.raises(UsageError, match="these have no head"):
        harness.predict([Path("a.png")], run=submitted)


def test_beside_fitted_runs_they_are_left_out_aloud(submitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap: `evaluate runs/* --on livec`, the help's own example, failed once `score` had put a run there."""
    said: list[str] = []
    monkeypatch.setattr(console, "say", said.append)
    (submitted.parent / "ours/head").mkdir(parents=True)
    assert fitted([submitted, submitted.parent / "ours"]) == [submitted.parent / "ours"]
    assert submitted.name in said[0]
