"""Training: which epoch is kept, what a seed fixes, and how batches of many grids are read."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heads import trainer
from heads.base import Examples, FitPlan, Head, Progress
from heads.checkpoint import builtin
from heads.descent import AdamW
from heads.errors import DataError, FitError
from heads.fft import FftHead
from heads.mlp import MlpHead
from heads.streams import Reader, chunks, measure

Make = Callable[..., Examples]
NONE = np.arange(0)
SMALL = {"epochs": 3, "width": 8, "hidden": 8, "batch": 8}


def maps(n: int, channels: int = 5, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    grids = [(4, 4), (3, 5), (1, 1), (6, 2)]
    return [(7 + 3 * random.standard_normal((*grids[i % 4], channels))).astype(np.float16) for i in range(n)]


@pytest.fixture
def rows(make_examples: Make) -> Examples:
    return make_examples(np.random.default_rng(1).random(40), {"neck:map": maps(40)})


def test_statistics_of_many_grids_are_those_of_all_places_at_once(rows: Examples) -> None:
    train = np.arange(5, 30)
    (mean, deviation) = measure(Reader(rows.features, ["neck:map"]), train)[0]
    every = np.concatenate([m.reshape(-1, 5) for m in maps(40)[5:30]]).astype(np.float64)
    np.testing.assert_allclose(mean, every.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, every.std(0), rtol=1e-5)


@given(st.integers(1, 300), st.integers(1, 64))
def test_chunks_hold_every_row_once_and_are_nearly_equal(n: int, size: int) -> None:
    """A last batch of one row would pull as hard as a full one."""
    parts = chunks(np.arange(n), size)
    assert np.concatenate(parts).tolist() == list(range(n))
    assert max(map(len, parts)) <= size
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.integers(1, 400))
def test_the_learning_rate_rises_then_falls_and_is_never_zero(steps: int) -> None:
    rates = [trainer.rate(step, steps) for step in range(steps)]
    peak = int(np.argmax(rates))
    assert min(rates) > 0
    assert max(rates) <= 1
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_epoch_with_the_best_validation_score_is_kept(rows: Examples, best: int) -> None:
    scores = [0.1, 0.2, 0.3]
    scores[best] = 0.9
    seen: list[np.ndarray] = []

    def scripted(quality: np.ndarray, prediction: np.ndarray) -> float:
        np.testing.assert_array_equal(quality, rows.quality[30:])
        seen.append(prediction)
        return scores[len(seen) - 1]

    head = FftHead(SMALL).fit(rows, FitPlan(np.arange(30), np.arange(30, 40)), scripted)
    np.testing.assert_array_equal(head.predict(rows[np.arange(30, 40)]), seen[best])
    notes = [entry["note"] for entry in head.history]
    assert [bool(note) for note in notes] == [epoch == best for epoch in range(3)]
    assert notes[best] == "kept: best of 3 epochs on 10 validation rows"
    assert [entry["valid_srcc"] for entry in head.history] == scores


@pytest.mark.parametrize(
    ("valid", "score", "why"),
    [
        (NONE, lambda q, p: 1.0, "there are no validation rows"),
        (np.arange(30, 40), None, "no score was given"),
        (np.arange(30, 40), lambda q, p: float("nan"), "none has a score"),
    ],
)
def test_with_nothing_to_choose_by_the_last_epoch_is_kept_and_history_says_so(
    rows: Examples, valid: np.ndarray, score: Callable[..., float] | None, why: str
) -> None:
    head = FftHead(SMALL).fit(rows, FitPlan(np.arange(30), valid), score)
    assert head.history[-1]["note"] == f"kept: the last epoch, as {why}"
    assert [entry["valid_srcc"] for entry in head.history] == [None] * 3
    without = FftHead(SMALL).fit(rows, FitPlan(np.arange(30), NONE))
    np.testing.assert_array_equal(head.predict(rows), without.predict(rows))


def test_the_seed_is_what_differs_between_two_fits(rows: Examples) -> None:
    plans = [FitPlan(np.arange(40), NONE, seed) for seed in (0, 0, 1)]
    a, b, c = (head.predict(rows) for head in FftHead(SMALL).fit_many(rows, plans))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)


def test_a_batch_may_hold_one_row_or_equal_labels(rows: Examples, make_examples: Make) -> None:
    """Batch norms and correlations end there; with singleton grids each group here is one row too."""
    head = FftHead(SMALL | {"batch": 1, "epochs": 1}).fit(rows, FitPlan(np.arange(9), NONE))
    assert np.isfinite(head.predict(rows)).all()
    labels = np.r_[np.zeros(39), 1.0]
    lonely = [np.full((2, i + 1, 5), i, np.float16) for i in range(40)]
    odd = make_examples(labels, {"neck:map": lonely})
    assert np.isfinite(FftHead(SMALL).fit(odd, FitPlan(np.arange(40), NONE)).predict(odd)).all()


def test_a_loss_that_is_no_number_ends_the_fit_with_advice(rows: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "quality_loss", lambda p, t, w: p.sum() * float("nan"))
    with pytest.raises(
        FitError, match=r"finite loss, found nan in epoch 1. Lower the learning rate: --set learning_rate="
    ):
        FftHead(SMALL).fit(rows, FitPlan(np.arange(40), NONE))


def test_progress_comes_once_an_epoch_in_the_order_of_the_plans(rows: Examples) -> None:
    events: list[Progress] = []
    plans = [
        FitPlan(np.arange(30), np.arange(30, 40)),
        FitPlan(np.arange(30), NONE, settings={"epochs": "1"}),
    ]
    FftHead(SMALL).fit_many(rows, plans, lambda q, p: 0.5, events.append)
    assert [(e.plan, e.plans, e.epoch, e.epochs, e.valid) for e in events] == [
        (0, 2, 1, 3, 0.5),
        (0, 2, 2, 3, 0.5),
        (0, 2, 3, 3, 0.5),
        (1, 2, 1, 1, None),
    ]


def test_several_maps_of_different_grids_and_widths_are_read_together(make_examples: Make) -> None:
    """Each map has its own reduction; which rows share a grid differs from map to map."""
    labels = np.random.default_rng(0).random(24)
    deep = [np.full((1 + i % 3, 2, 3), 0, np.float16) for i in range(24)]
    for i, m in enumerate(deep):
        m[..., 1] = labels[i]
    shallow = list(reversed(maps(24, channels=7)))
    both = make_examples(labels, {"deep:map": deep, "shallow:map": shallow})
    head = FftHead(SMALL | {"epochs": 12, "learning_rate": 0.01}).fit(both, FitPlan(np.arange(24), NONE))
    assert head.features == ["deep:map", "shallow:map"]
    assert head.widths == [3, 7]
    assert np.corrcoef(head.predict(both), labels)[0, 1] > 0.7
    swapped = make_examples(labels, {"shallow:map": shallow, "deep:map": deep})
    np.testing.assert_allclose(head.predict(swapped), head.predict(both), rtol=1e-5)


def test_several_summaries_are_standardised_each_by_its_own_columns(make_examples: Make) -> None:
    random = np.random.default_rng(0)
    labels = random.random(60)
    loud = (1e6 * random.standard_normal((60, 4))).astype(np.float32)
    quiet = (1e-6 * (labels[:, None] + 0.01 * random.standard_normal((60, 3)))).astype(np.float32)
    rows = make_examples(labels, {"loud:moments": loud, "quiet:moments": quiet})
    head = MlpHead({"epochs": 30, "batch": 10, "dropout": 0.0}).fit(rows, FitPlan(np.arange(60), NONE))
    assert np.corrcoef(head.predict(rows), labels)[0, 1] > 0.8


def test_a_missing_feature_and_another_width_are_refused_by_name(rows: Examples, make_examples: Make) -> None:
    head = FftHead(SMALL).fit(rows, FitPlan(np.arange(40), NONE))
    other = make_examples(rows.quality, {"block.5:map": maps(40)})
    with pytest.raises(DataError, match=r"Expected the feature neck:map .* found block.5:map"):
        head.predict(other)
    wide = make_examples(rows.quality, {"neck:map": maps(40, channels=6)})
    with pytest.raises(DataError, match="Expected 5 channels in neck:map, found 6"):
        head.predict(wide)


@pytest.mark.parametrize("variant", ["fft", "spatial", "sam-iqa"])
def test_map_heads_ask_for_the_outputs_map_of_every_store(variant: str) -> None:
    head: Head = builtin(variant)()
    assert head.default_features(["a:map", "neck:map", "neck:moments", "neck:map"], "neck") == ["neck:map"]
    assert head.default_features(["x@native/neck:map", "y@half/neck:map"], "neck") == [
        "x@native/neck:map",
        "y@half/neck:map",
    ]
    assert head.default_features(["a:moments"], "neck") == ["neck:map"]


@pytest.mark.parametrize("variant", ["mlp", "ridge"])
def test_summary_heads_ask_for_the_moments_of_every_tap(variant: str) -> None:
    head: Head = builtin(variant)()
    assert head.default_features(["a:map", "a:moments", "b:moments", "a:moments"], "a") == [
        "a:moments",
        "b:moments",
    ]
    assert head.default_features(["a:map"], "a") == ["*:moments"]


def test_what_was_drawn_before_a_fit_does_not_matter(rows: Examples) -> None:
    plan = FitPlan(np.arange(40), NONE, seed=3)
    first = FftHead(SMALL).fit(rows, plan).predict(rows)
    torch.rand(5)
    np.random.default_rng().random(3)
    np.testing.assert_array_equal(FftHead(SMALL).fit(rows, plan).predict(rows), first)


def test_the_descent_is_torchs_adamw_with_clipped_gradients() -> None:
    torch.manual_seed(0)
    ours = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
    theirs = copy.deepcopy(ours)
    matrices = [p for p in theirs.parameters() if p.ndim > 1]
    vectors = [p for p in theirs.parameters() if p.ndim == 1]
    reference = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0}])
    descent = AdamW(ours.parameters(), 0.3, longest=0.5)
    for step in range(20):
        x = torch.randn(16, 6)
        rate = 0.01 * (step + 1)
        descent.step((ours(x) - x.sum(1, keepdim=True)).square().mean(), rate)
        for group in reference.param_groups:
            group["lr"] = rate
        reference.zero_grad()
        (theirs(x) - x.sum(1, keepdim=True)).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        reference.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_training_does_not_load_torchs_compiler() -> None:
    """It takes four seconds to import, more than many a fit; torch.optim would load it."""
    code = (
        "import sys, numpy as np; from heads.base import FitPlan; from heads.conformance import "
        "planted, examples;"
        "from heads.fft import FftHead; rows = examples(*planted(['out:map']));"
        "FftHead({'epochs': 1}).fit(rows, FitPlan(np.arange(20), np.arange(0))).predict(rows);"
        "print('torch._dynamo' in sys.modules)"
    )
    root = Path(trainer.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False"
