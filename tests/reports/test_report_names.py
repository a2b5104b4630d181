"""Names of configurations: short, and never the same for two different ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import names, text
from reports.markdown import escape
from reports.tables import Config


def config(**facts: Any) -> Config:
    common: dict[str, Any] = {
        "train": "alpha",
        "encoder": "toy@native",
        "variant": "ridge",
        "features": ("neck:moments",),
        "split": "random",
        "settings": "{}",
        "store": "01234567",
        "labels": "a" * 64,
        "revision": 1,
    }
    return Config(**(common | facts))


@pytest.mark.parametrize(
    ("features", "short"),
    [
        (["neck:map"], "neck:map"),
        (["block.0:moments", "block.1:moments", "block.2:moments", "neck:moments"], "block.0..2,neck:moments"),
        (["block.9:moments", "block.10:moments", "block.12:moments"], "block.9..10,block.12:moments"),
        (["a.1:map", "b.2:map", "a.2:spectrum"], "a.1,b.2:map a.2:spectrum"),
    ],
)
def test_feature_names_are_short(features: list[str], short: str) -> None:
    assert names.features(features) == short


TAP = st.builds("{}.{}".format, st.sampled_from(["block", "stage"]), st.integers(0, 12)) | st.just("neck")
FEATURES = st.lists(st.builds("{}:{}".format, TAP, st.sampled_from(["map", "moments"])), min_size=1, unique=True)


@given(FEATURES, FEATURES)
def test_two_lists_of_features_never_look_the_same(one: list[str], other: list[str]) -> None:
    assert (names.features(one) == names.features(other)) == (one == other)


def test_settings_that_differ_are_named_and_others_are_not() -> None:
    configs = [config(settings='{"alphas": 25, "epochs": 2}'), config(settings='{"alphas": 25, "epochs": 9}')]
    assert sorted(names.notes(configs).values()) == ["epochs=2", "epochs=9"]
    other = config(variant="fft", settings='{"width": 3}')
    assert names.notes([*configs, other])[other] == ""
    assert set(names.notes([config(), config(labels="b" * 64)]).values()) == {"labels aaaaaaaa", "labels bbbbbbbb"}


def test_a_view_is_named_where_an_encoder_has_two() -> None:
    one, two, third = config(), config(encoder="toy@half"), config(encoder="other@half")
    assert set(names.encoders([one, third]).values()) == {"toy", "other"}
    assert set(names.encoders([one, two]).values()) == {"toy@native", "toy@half"}
    assert names.labels([one, third], names.notes([one, third]))[one] == "toy · ridge"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.8421, "0.842"), (-0.0001, "0.000"), (-0.5, "-0.500"), (float("nan"), "–")]
)
def test_numbers_have_three_decimals_and_no_negative_zero(value: float, shown: str) -> None:
    assert text.number(value) == shown


def test_markdown_shows_text_as_it_is() -> None:
    assert escape("a|b\n<i>*_`[x](y)$&") == r"a\|b \<i\>\*\_\`\[x\](y)\$\&"
