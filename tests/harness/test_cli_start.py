"""The command line starts at once and explains itself; guards against a heavy import at start-up."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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
