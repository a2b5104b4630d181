"""Settings: text becomes numbers within bounds, names are checked, and equal values are one value."""

from __future__ import annotations

import msgspec
import pytest

from heads.checkpoint import builtin
from heads.errors import HeadError
from heads.mlp import MlpSettings
from heads.network import MapSettings
from heads.ridge import RidgeSettings
from heads.settings import parse_settings


def test_text_becomes_the_type_of_the_field() -> None:
    found = parse_settings(MlpSettings, {"epochs": "7", "dropout": "0.5", "learning_rate": "1e-4"})
    assert (found.epochs, found.dropout, found.learning_rate) == (7, 0.5, 1e-4)


def test_equal_numbers_give_equal_bytes() -> None:
    """`1` and `1.0` would otherwise be two identities of one run."""
    texts = {msgspec.json.encode(parse_settings(RidgeSettings, {"alpha_low": v})) for v in (2, 2.0, "2", "2.0")}
    assert len(texts) == 1


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(HeadError, match=r"'epocs'; did you mean 'epochs'\? There are: epochs, batch"):
        parse_settings(MapSettings, {"epocs": "3"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "0"),
        ("epochs", "2.5"),
        ("dropout", "1"),
        ("learning_rate", "nan"),
        ("width", "many"),
        ("batch", ""),
    ],
)
def test_a_value_out_of_bounds_names_the_setting_and_the_value(name: str, value: str) -> None:
    with pytest.raises(HeadError, match=f"Setting {name}: .*found '{value}'"):
        parse_settings(MapSettings, {name: value})


def test_a_default_out_of_bounds_would_not_pass() -> None:
    """A struct's defaults are not checked when it is made; parse_settings checks them."""
    with pytest.raises(HeadError, match="select"):
        parse_settings(RidgeSettings, RidgeSettings(select="guess"))


def test_ridge_refuses_an_empty_range_of_regularisers() -> None:
    with pytest.raises(HeadError, match="alpha_low <= alpha_high"):
        builtin("ridge")({"alpha_low": "10", "alpha_high": "1"})


def test_wrong_usage_and_wrong_data_end_with_different_codes() -> None:
    from heads.errors import DataError, FitError

    assert (HeadError.exit_code, DataError.exit_code, FitError.exit_code) == (2, 3, 1)
