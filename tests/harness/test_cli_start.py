"""The command line starts at once and explains itself; guards against a heavy import at start-up."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from harness.cli import main
from harness.verbs import VERBS, load_verb

HEAVY = ("torch", "zarr", "pandas", "scipy", "sklearn", "matplotlib", "pyarrow", "timm", "PIL", "numpy")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, harness.cli\n"
        "try: harness.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.strip() == "[]"
    assert "precompute" in done.stdout


def test_import_harness_imports_nothing_heavy() -> None:
    code = f"import sys, harness; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("group", ["datasets", "encoders", "heads"])
def test_ls_json_is_a_list_of_objects_with_name(group: str) -> None:
    done = run(group, "ls", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows
    assert all(isinstance(row["name"], str) for row in rows)


@pytest.mark.parametrize("verb", ["precompute", "train-head", "evaluate", "predict", "report", "demo", "doctor"])
def test_help_of_each_verb_has_examples(verb: str) -> None:
    done = run(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "Examples" in done.stdout
    assert f"harness {verb}" in done.stdout


def test_a_wrong_flag_is_one_message_and_exit_code_2() -> None:
    done = run("precompute", "--datset", "spaq")
    assert done.returncode == 2
    assert "--dataset" in done.stderr
    assert "Traceback" not in done.stderr


def test_version_is_printed() -> None:
    """The trap: an option of the whole program asked for a command first."""
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == version("sam-iqa-harness")


REQUIRED = [
    name
    for name in VERBS
    if not hasattr(load_verb(name), "__wrapped__")  # those may be filled from harness.toml, and say so themselves
    and any(p.default is inspect.Parameter.empty for p in inspect.signature(load_verb(name)).parameters.values())
]


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_needed_and_was_not_typed_is_named(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The trap: a missing option of a verb in a group was a TypeError with a traceback."""
    with pytest.raises(SystemExit) as caught:
        main(name.split())
    assert caught.value.code == 2
    assert "Missing" in capfd.readouterr().err


def test_ctrl_c_says_that_the_same_command_goes_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The trap: the parser turns Ctrl-C into an exception of its own, whose message is empty."""

    def stopped() -> None:
        """Is stopped."""
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.verbs.heads.ls", stopped)
    with pytest.raises(SystemExit) as caught:
        main(["heads", "ls"])
    assert caught.value.code == 130
    assert "Interrupted. What was committed is kept" in capfd.readouterr().err
