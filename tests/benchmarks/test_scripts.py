"""Every benchmark runs, at its smallest: how fast is not looked at. In this process, which has imported torch already;
a process each would do little else.
"""

from __future__ import annotations

import copy
import json
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import zarr

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALLEST = {
    "codecs": "--images 1 --rounds 1",
    "decode": "--images 1 --rounds 1",
    "encode_cpu": "--encoder sam-tiny --rounds 1 --threads 1",
    "encode_gpu": "--device cpu --tiny --images 1 --rounds 1",
    "end_to_end": "--encoder sam-tiny --images 1 --rounds 1 --photographs 1 --large 1",
    "manifest_scale": "--rows 1000",
    "memory": "--few 1 --many 2",
    "store_io": "--images 32 --rounds 1 --dir store_io",
}
NEEDS = {
    "codecs": pytest.mark.data,
    "store_io": pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the page cache cannot be emptied here"),
}


def results() -> dict[str, tuple[int, bytes]]:
    return {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in (BENCHMARKS / "results").iterdir()}


@pytest.fixture
def as_typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A script finds its neighbours, and leaves neither them nor its settings behind."""
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS.parent), prepend=os.pathsep)  # of the processes that it starts
    monkeypatch.setattr(zarr.config, "config", copy.deepcopy(zarr.config.config))
    yield
    torch.set_num_threads(threads)
    for name in [n for n, m in sys.modules.items() if str(getattr(m, "__file__", "")).startswith(f"{BENCHMARKS}")]:
        del sys.modules[name]


def test_each_is_run_here() -> None:
    scripts = {f.stem for f in BENCHMARKS.glob("*.py") if "record.keep(" in f.read_text(encoding="utf-8")}
    assert scripts == set(SMALLEST)


@pytest.mark.usefixtures("as_typed")
@pytest.mark.parametrize("script", [pytest.param(name, marks=NEEDS.get(name, ())) for name in SMALLEST])
def test_a_look_prints_results_in_one_form_and_changes_none_that_are_kept(
    script: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if script == "codecs":
        monkeypatch.setenv("SAM_IQA_DATA", str(request.getfixturevalue("data_root")))
    monkeypatch.setattr("sys.argv", [f"{script}.py", *SMALLEST[script].split()])
    before = results()
    runpy.run_path(str(BENCHMARKS / f"{script}.py"), run_name="__main__")
    said = capsys.readouterr()
    assert results() == before
    assert f"Not kept: {script}.json" in said.err
    found = json.loads(said.out.splitlines()[-1])
    assert found
    for one in found:
        assert {"benchmark", "ratio", "goal", "met"} <= one.keys()
        assert isinstance(one["benchmark"], str)
        assert one["ratio"] is not None or one["why"]
        assert one["goal"] == "" or one["goal"].split()[0] in (">=", "<=")
        assert isinstance(one["met"], bool) == (one["goal"] != "" and one["ratio"] is not None)
