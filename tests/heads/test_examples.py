"""Rows and plans: joined by id, taken in any order, refused where they cannot be meant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from heads.base import Examples, FitPlan, Progress, check_plan
from heads.errors import DataError

Make = Callable[..., Examples]


@pytest.fixture
def rows(make_examples: Make) -> Examples:
    return make_examples(np.linspace(0, 1, 6), {"a:moments": np.arange(12, dtype=np.float32).reshape(6, 2)})


@pytest.mark.parametrize(
    "key",
    [
        ["i4", "i1"],
        ("i4", "i1"),
        np.array([4, 1]),
        [4, 1],
        slice(4, 0, -3),
    ],
)
def test_rows_are_taken_in_the_order_asked_for(rows: Examples, key: object) -> None:
    found = rows[key]
    assert found.ids == ["i4", "i1"]
    assert found.quality.tolist() == pytest.approx([0.8, 0.2])
    assert found.features.table("a:moments").tolist() == [[8, 9], [2, 3]]
    assert list(found.features.ids) == found.ids


def test_a_mask_and_no_rows_at_all_are_rows_too(rows: Examples) -> None:
    assert rows[rows.quality > 0.7].ids == ["i4", "i5"]
    assert len(rows[[]]) == 0


@pytest.mark.parametrize("key", [["i1", "no such"], np.array([9]), np.array([True, False])])
def test_a_row_that_is_not_there_is_refused(rows: Examples, key: object) -> None:
    with pytest.raises(DataError):
        rows[key]


def test_features_of_other_rows_are_not_joined_by_position(rows: Examples) -> None:
    """The trap: equal lengths and another order give labels to the wrong images without an error."""
    with pytest.raises(DataError, match="same order"):
        Examples(
            rows.features.take(np.array([1, 0, 2, 3, 4, 5])),
            rows.ids,
            rows.quality,
            rows.std,
            rows.votes,
            "fake",
            rows.group,
            rows.reference,
        )


def test_lengths_and_repeated_ids_are_checked(rows: Examples) -> None:
    n = np.full(2, np.nan)
    with pytest.raises(DataError, match="values of quality"):
        Examples(rows.features, rows.ids, n, rows.std, rows.votes, "fake", rows.group, rows.reference)
    with pytest.raises(DataError, match="unique ids"):
        Examples(rows.features.take(np.array([0, 0])), ["i0", "i0"], n, n, n, "fake", ["", ""], ["", ""])


@pytest.mark.parametrize(
    ("train", "valid", "match"),
    [
        ([], [1], "two train rows"),
        ([2], [], "1 rows that all have the label"),
        ([0, 6], [], "between 0 and 5"),
        ([0, 1], [-1], "valid rows between"),
        ([0, 1, 2], [2], "found 1 in both, such as 'i2'"),
    ],
)
def test_a_plan_that_cannot_be_fitted_is_refused(
    rows: Examples, train: list[int], valid: list[int], match: str
) -> None:
    with pytest.raises(DataError, match=match):
        check_plan(rows, FitPlan(np.array(train), np.array(valid)))


def test_progress_says_what_there_is_to_say() -> None:
    assert Progress("fft", 1, 10, 7, 20, 0.3121, 0.7812).text == "fit 2/10, epoch 7/20, loss 0.312, valid 0.781"
    assert Progress("ridge", 0, 1, 1, 1, None, None).text == ""
