"""Names of configurations: short, and never the same for two different ones."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import names, text
from reports.card import RunCard
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


def read(*features: str, encoder: str, view: str) -> tuple[str, str]:
    """What a run's encoder and features are called."""
    facts = dict.fromkeys(RunCard.__struct_fields__, "") | {"features": [*features], "encoder": encoder, "view": view}
    return RunCard(**cast("Any", facts)).source, names.features(features)


def test_features_of_two_stores_are_named_once_where_they_are_the_same() -> None:
    """The trap: `encoder@native/stage.1..7,encoder@native/head,encoder@half/stage.1..7,...` filled every table."""
    taps = ["stage.1:moments", "stage.2:moments", "head:moments"]
    own = [f"net@{view}/{tap}" for view in ("native", "half") for tap in taps]
    assert read(*own, encoder="net", view="native+half") == ("net@native+half", "stage.1..2,head:moments")
    own = ["net@native/stage.6:moments", "net@half/stage.5:moments"]
    assert read(*own, encoder="net", view="native+half")[1] == "native/stage.6:moments half/stage.5:moments"
    own = ["a@native/neck:map", "b@native/neck:map"]
    assert read(*own, encoder="a+b", view="native") == ("a+b@native", "neck:map")
    own = ["a@native/neck:map", "b@half/head:map"]
    assert read(*own, encoder="a+b", view="native+half") == ("a@native+b@half", "a@native/neck:map b@half/head:map")
    assert read("neck:map", encoder="a", view="native") == ("a@native", "neck:map")
    assert read(encoder="submitted", view="csv") == ("submitted", "")


STORES = ["a@native", "a@half", "b@native", "b@half"]
SEVERAL = st.lists(st.sampled_from(STORES), min_size=2, unique=True).flatmap(
    lambda stores: st.tuples(
        *(FEATURES.map(lambda own, store=store: [f"{store}/{f}" for f in own]) for store in stores)
    )
)


@given(SEVERAL, SEVERAL)
def test_two_lists_of_features_of_several_stores_never_look_the_same(one: Any, other: Any) -> None:
    lists = [[name for own in some for name in own] for some in (one, other)]
    called = [read(*some, encoder="", view="") for some in lists]
    assert (called[0] == called[1]) == (lists[0] == lists[1])


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
    assert names.viewed([one, third])[one] == ("toy", "")
    assert names.viewed([one, two, third])[third] == ("other", "half")
    both, mixed = config(encoder="toy@native+half"), config(encoder="toy@native+other@half")
    assert set(names.encoders([both, mixed]).values()) == {"toy@native+half", "toy@native+other@half"}
    assert set(names.viewed([both, mixed]).values()) == {("toy", "native+half"), ("toy@native+other@half", "")}


def test_what_predictions_made_elsewhere_do_not_have_is_left_out() -> None:
    """The trap: "encoder submitted, features , split official"."""
    one, two = (config(variant=v, encoder="submitted", features=()) for v in ("niqe", "brisque"))
    assert names.shared([one, two]) == "trained on alpha, split random"
    assert names.whole(one, "") == "niqe, predictions made elsewhere"
    assert set(names.labels([one, two], names.notes([one, two])).values()) == {"niqe", "brisque"}
    assert names.labels([one, config()], names.notes([one, config()]))[one] == "submitted · niqe"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.8421, "0.842"), (-0.0001, "0.000"), (-0.5, "-0.500"), (float("nan"), "–")]
)
def test_numbers_have_three_decimals_and_no_negative_zero(value: float, shown: str) -> None:
    assert text.number(value) == shown


def test_markdown_shows_text_as_it_is() -> None:
    assert escape("a|b\n<i>*_`[x](y)$&") == r"a\|b \<i\>\*\_\`\[x\](y)\$\&"
