"""Settings: defaults < harness.toml < what was typed; a word that nobody knows is an error with a suggestion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer

from harness import config
from harness.errors import ConfigError


@config.verb
def precompute(
    dataset: Annotated[str, typer.Option()],
    encoder: Annotated[str, typer.Option()] = "sam-vit-b",
    features: Annotated[list[str] | None, typer.Option()] = None,
    store: Annotated[Path | None, typer.Option()] = None,
) -> tuple[str, str, list[str] | None, Path | None, config.Call]:
    """A verb that returns how it was called."""
    return dataset, encoder, features, store, config.current()[1]


def write(text: str) -> Path:
    file = Path("harness.toml")
    file.write_text(text, encoding="utf-8")
    return file.resolve()


def test_what_was_typed_wins_over_the_file_and_the_file_over_defaults() -> None:
    write('[precompute]\nencoder = "sam-tiny"\n')
    assert precompute(dataset="spaq")[1] == "sam-tiny"
    assert precompute(dataset="spaq", encoder="sam-vit-l")[1] == "sam-vit-l"


def test_a_default_that_is_typed_still_wins_over_the_file() -> None:
    """The trap: comparing a value with its default cannot tell "typed" from "left out"."""
    write('[precompute]\nencoder = "sam-tiny"\n')
    assert precompute(dataset="spaq", encoder="sam-vit-b")[1] == "sam-vit-b"


def test_the_file_is_found_from_a_folder_below_and_its_paths_start_at_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = write('[precompute]\nstore = "features"\nfeatures = "neck:map"\n')
    below = Path("a/b")
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    _, _, features, store, call = precompute(dataset="spaq")
    assert store == file.parent / "features"
    assert features == ["neck:map"]
    assert call.config_file == str(file)


@pytest.mark.parametrize(
    ("text", "wrong", "meant"),
    [
        ("[path]\ndata = 'x'\n", "path", "paths"),
        ("[paths]\ndta = 'x'\n", "dta", "data"),
        ("[datasets.spaq]\nrot = 'x'\n", "rot", "root"),
        ("[weights]\nsam-vit = 'x'\n", "sam-vit", "sam-vit-"),
        ("[precompute]\nencodr = 'x'\n", "encodr", "encoder"),
    ],
)
def test_an_unknown_word_is_an_error_with_a_suggestion(text: str, wrong: str, meant: str) -> None:
    write(text)
    with pytest.raises(ConfigError, match=f"{wrong}.*did you mean '{meant}"):
        config.load()


def test_broken_toml_names_file_and_place() -> None:
    file = write("[paths\n")
    with pytest.raises(ConfigError, match=r"harness\.toml is not valid TOML.*line 1") as caught:
        config.load()
    assert str(file) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_setting_says_what_to_type() -> None:
    with pytest.raises(ConfigError, match=r"precompute needs --dataset"):
        precompute()  # that is the mistake


def test_the_recorded_command_does_the_same_again() -> None:
    call = precompute(dataset="my set", features=["neck:map", "*:moments"])[4]
    assert call.command == "harness precompute --dataset 'my set' --features neck:map '*:moments'"
    assert call.settings["encoder"] == "sam-vit-b"


def test_python_may_say_paths_as_text_and_one_thing_where_several_may_stand() -> None:
    _, _, features, store, call = precompute(dataset="spaq", features="neck:map", store="stores")
    assert features == ["neck:map"]
    assert store == Path("stores")
    assert call.settings["features"] == ["neck:map"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("encoder = 3", r"encoder = 3 in \[precompute\]: expected `str`, got `int`"),
        ("features = [1]", r"features = \[1\] in \[precompute\]: expected `str`"),
    ],
)
def test_a_value_of_another_type_in_the_file_is_one_message(line: str, said: str) -> None:
    """The trap: `seed = "a"` was found out when a run had been written with it, which no command could read again."""
    write(f"[precompute]\n{line}\n")
    with pytest.raises(ConfigError, match=said):
        precompute(dataset="spaq")
