"""MOS becomes quality in one place: declared for closed scales, fitted on train rows for open ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.datasets.errors import DatasetError
from harness.datasets.scale import QualityMap, ScoreScale

REALS = st.floats(-1e4, 1e4, allow_nan=False)


def closed(low: float, high: float, higher: bool = True) -> ScoreScale:
    return ScoreScale("MOS" if higher else "DMOS", low, high, higher, "MOS" if higher else "DMOS")


@given(low=REALS, width=st.floats(0.01, 1e4), share=st.floats(0, 1), higher=st.booleans())
def test_a_closed_scale_maps_its_declared_ends_to_0_and_1_in_the_right_direction(
    low: float, width: float, share: float, higher: bool
) -> None:
    scale = closed(low, low + width, higher)
    quality = scale.quality_map()
    assert quality.to_quality([low, low + width]) == pytest.approx([0, 1] if higher else [1, 0], abs=1e-5)
    expected = share if higher else 1 - share
    assert float(quality.to_quality(low + share * width)) == pytest.approx(expected, abs=1e-5)


def test_p17_a_closed_scale_ignores_the_labels_it_is_given_so_that_no_split_moves_it() -> None:
    scale = closed(0, 9)
    assert scale.quality_map([2.0, 3.0]) == scale.quality_map() == QualityMap(1 / 9, -0.0, "declared")


@given(
    mos=st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=40).filter(
        lambda xs: max(xs) - min(xs) > 0.1
    ),
    higher=st.booleans(),
)
def test_to_mos_undoes_to_quality_on_open_scales(mos: list[float], higher: bool) -> None:
    scale = ScoreScale("JOD", None, None, higher, "JOD")
    quality_map = scale.quality_map(mos)
    quality = quality_map.to_quality(mos)
    np.testing.assert_allclose(quality_map.to_mos(quality), mos, atol=1e-8)
    assert quality.mean() == pytest.approx(0.5)
    assert quality.std() == pytest.approx(0.2)
    assert quality_map.source == f"fitted on {len(mos)} train rows"
    best = int(np.argmax(mos)) if higher else int(np.argmin(mos))
    assert quality[best] == pytest.approx(quality.max())


def test_an_open_scale_without_train_rows_is_refused() -> None:
    scale = ScoreScale("ELO", None, None, True, "Elo")
    with pytest.raises(DatasetError, match="train rows for the open scale Elo"):
        scale.quality_map()


@pytest.mark.parametrize("mos", [[], [3.0], [3.0, 3.0], [1.0, float("nan")]])
def test_an_open_scale_cannot_be_fitted_on_labels_that_do_not_differ(mos: list[float]) -> None:
    with pytest.raises(DatasetError, match="at least two different finite train labels"):
        ScoreScale("MOS", None, None, True, "MOS").quality_map(mos)


@pytest.mark.parametrize(("low", "high"), [(0.0, None), (None, 1.0), (1.0, 1.0), (9.0, 0.0), (0.0, float("inf"))])
def test_half_open_and_reversed_ranges_are_refused(low: float | None, high: float | None) -> None:
    with pytest.raises(DatasetError):
        ScoreScale("MOS", low, high, True, "MOS")


def test_nan_stays_nan_and_deviations_are_never_negative() -> None:
    quality_map = closed(0, 100, higher=False).quality_map()
    assert np.isnan(quality_map.to_quality([np.nan, 50.0])).tolist() == [True, False]
    assert quality_map.spread([10.0]).tolist() == pytest.approx([0.1])


def test_labels_outside_a_declared_range_are_told_from_rounding() -> None:
    scale = closed(0, 1)
    assert scale.outside([0.0, 1.0, 1.0 + 1e-9, 1.01, -0.01, np.nan]).tolist() == [False] * 3 + [True] * 2 + [False]
    assert not ScoreScale("ELO", None, None, True, "Elo").outside([1e9]).any()
