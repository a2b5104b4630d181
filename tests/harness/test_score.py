"""Predictions made elsewhere: joined loudly, scored like a run of ours, and nothing that was asked for is dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import harness
from harness.errors import NotFoundError, UsageError
from harness.verbs.score import Scored, Scorings, score


@pytest.fixture
def truth() -> pd.DataFrame:
    """A folder dataset of 40 labels that are lower-is-better, with a published split; its images are nowhere."""
    root = Path("lab")
    root.mkdir()
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"id": [f"I{i:02}.png" for i in range(40)], "mos": rng.uniform(0, 100, 40)})
    frame["official_part"] = ["test" if i % 2 else "train" for i in range(40)]
    frame.to_csv(root / "labels.csv", index=False)
    (root / "dataset.toml").write_text('name = "lab"\nlow = 0\nhigh = 100\nbetter = "lower"\nkind = "DMOS"\n')
    return frame


def scorings(table: pd.DataFrame, **settings: object) -> Scorings:
    table.to_csv("p.csv", index=False)
    return score("p.csv", dataset="lab", labels="lab", **settings)


def scored(table: pd.DataFrame, **settings: object) -> Scored:
    (one,) = scorings(table, **settings)
    return one


def guesses(truth: pd.DataFrame) -> pd.DataFrame:
    noise = np.random.default_rng(2).normal(0, 20, len(truth))
    return pd.DataFrame({"id": truth["id"], "prediction": truth["mos"] + noise})


def test_only_the_asked_rows_are_scored_and_the_direction_is_the_datasets(truth: pd.DataFrame) -> None:
    table = guesses(truth)
    found = scored(table)
    test = (truth["official_part"] == "test").to_numpy()
    expected = spearmanr(truth["mos"][test], table["prediction"][test]).statistic
    assert found.scores["srcc"] == pytest.approx(expected, abs=1e-12)
    assert (found.asked, found.scores["n"], found.rows) == (20, 20, "official test")
    assert found.stamps == []
    assert any("20 predictions for rows that were not asked for" in note for note in found.notes)
    assert scored(table, split="all").asked == 40


def test_a_predictor_of_quality_is_not_turned_round_but_one_of_distortion_is(truth: pd.DataFrame) -> None:
    table = guesses(truth)
    right = scored(table).scores["srcc"]
    assert scored(table, scale="any", better="lower").scores["srcc"] == pytest.approx(right)
    assert scored(table, scale="any").scores["srcc"] == pytest.approx(-right)
    assert scored(table, scale="any").scores["rmse"] is None


def test_a_direction_that_would_not_be_read_is_refused(truth: pd.DataFrame) -> None:
    """The trap: --better lower without --scale any was ignored, and a negative SRCC was the answer."""
    for scale in ("mos", "quality"):
        for better in ("lower", "higher"):
            with pytest.raises(UsageError, match=f"--scale any --better {better}"):
                scored(guesses(truth), scale=scale, better=better)


def test_predictions_that_are_read_otherwise_or_are_others_are_another_run(truth: pd.DataFrame) -> None:
    """The trap: one folder for both directions, two train sets and two files of one name: the last one stays."""
    table = guesses(truth)
    made = [
        scored(table),
        scored(table, scale="any"),
        scored(table, scale="any", better="lower"),
        scored(table, scale="any", trained_on="koniq10k"),
        scored(table, split="all"),
        scored(table.assign(prediction=-table["prediction"])),
    ]
    assert len({one.folder for one in made}) == len(made)
    assert all((Path(one.folder) / "card.json").is_file() for one in made)
    assert scored(table, scale="any").folder == scored(table, scale="any", better="higher").folder == made[1].folder


def test_every_split_that_was_asked_for_is_scored(truth: pd.DataFrame) -> None:
    """The trap: random:10 scored the first of ten, and nothing said so."""
    made = scorings(guesses(truth), split="random:3")
    assert [one.rows for one in made] == [f"random:{seed} test" for seed in range(3)]
    assert len({one.folder for one in made}) == 3
    report = harness.report(made, out="report")
    assert [(row["test"], row["split"]) for row in report.rows] == [("lab (test)", "random ×3")]
    assert len(scorings(guesses(truth), split="leave-one-out")) == 40  # labels are enough


def test_one_split_that_cannot_be_scored_leaves_no_run_behind(truth: pd.DataFrame) -> None:
    with pytest.raises(NotFoundError, match="expected ids such as"):
        scorings(guesses(truth).iloc[:1], split="leave-one-out")
    assert not Path("runs").exists()


def test_missing_and_nan_predictions_are_failed_rows_that_are_counted(truth: pd.DataFrame) -> None:
    """The trap: a join that drops what it does not find makes a better score out of fewer rows."""
    table = guesses(truth)
    table.loc[table["id"] == "I01.png", "prediction"] = np.nan
    found = scored(table[table["id"] != "I03.png"])
    assert (found.asked, found.scores["n"], found.scores["failed"]) == (20, 18, 2)
    assert any("'I03.png'" in note for note in found.notes)
    page = harness.report([found], out="report")
    html = Path(page.html).read_text(encoding="utf-8")
    assert "no prediction in the file" in html
    assert "prediction is not finite" in html


def test_case_is_joined_aloud_and_strangers_are_named(truth: pd.DataFrame) -> None:
    table = guesses(truth)
    table["id"] = table["id"].str.lower()
    table.loc[len(table)] = ["stranger.png", 1.0]
    found = scored(table)
    assert found.scores["n"] == 20
    assert any("upper and lower case" in note for note in found.notes)
    assert any("'stranger.png'" in note for note in found.notes)


def test_an_id_with_two_predictions_is_refused_and_a_repeated_one_is_said(truth: pd.DataFrame) -> None:
    table = guesses(truth)
    twice = pd.concat([table, table.iloc[:1]])
    assert any("twice" in note for note in scored(twice).notes)
    twice.iloc[-1, 1] = -1.0
    with pytest.raises(UsageError, match=r"'I00\.png' has two predictions"):
        scored(twice)


@pytest.mark.parametrize(
    ("table", "error", "said"),
    [
        (pd.DataFrame({"image": ["I01.png"], "prediction": [1]}), UsageError, "columns id and prediction"),
        (pd.DataFrame({"id": ["I01.png"], "prediction": ["good"]}), UsageError, "'good'"),
        (pd.DataFrame({"id": ["x.png"], "prediction": [1]}), NotFoundError, r"such as 'I01\.png'"),
    ],
)
@pytest.mark.usefixtures("truth")
def test_another_file_than_expected_is_refused(table: pd.DataFrame, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        scored(table)
