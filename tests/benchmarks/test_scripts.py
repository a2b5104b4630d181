"""Every benchmark runs, at its smallest: how fast is not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALLEST = {
    "codecs": "--images 1 --rounds 1",
    "decode": "--images 1 --rounds 1",
    "encode_cpu": "--encoder sam-tiny --rounds 1 --threads 1",
    "encode_gpu": "--device cpu --tiny --images 1 --rounds 1",
    "end_to_end": "--encoder sam-tiny --images 1 --rounds 1 --photographs 1",
    "manifest_scale": "--rows 1000",
    "memory": "--few 1 --many 2",
    "store_io": "--images 32 --rounds 1 --dir store_io",
}


def results() -> dict[str, tuple[int, bytes]]:
    return {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in (BENCHMARKS / "results").iterdir()}


def test_each_is_run_here() -> None:
    scripts = {f.stem for f in BENCHMARKS.glob("*.py") if "record.keep(" in f.read_text(encoding="utf-8")}
    assert scripts == set(SMALLEST)


NEEDS_DATA = {"codecs": pytest.mark.data}


@pytest.mark.parametrize("script", [pytest.param(name, marks=NEEDS_DATA.get(name, ())) for name in SMALLEST])
def test_a_look_prints_results_in_one_form_and_changes_none_that_are_kept(
    script: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = request.getfixturevalue("data_root") if script == "codecs" else ""
    before = results()
    path = os.pathsep.join([str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, BENCHMARKS / f"{script}.py", *SMALLEST[script].split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "SAM_IQA_DATA": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found
    for one in found:
        assert {"benchmark", "ratio", "goal", "met"} <= one.keys()
        assert isinstance(one["benchmark"], str)
        assert one["ratio"] is not None or one["why"]
        assert one["goal"] == "" or one["goal"].split()[0] in (">=", "<=")
        assert isinstance(one["met"], bool) == (one["goal"] != "" and one["ratio"] is not None)
    assert f"Not kept: {script}.json" in done.stderr
    assert results() == before
