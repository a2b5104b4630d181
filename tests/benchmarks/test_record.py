"""What a benchmark finds: one form, and kept only where it was the whole benchmark and says why a goal was missed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

PLACE = Path(__file__).parents[2] / "benchmarks" / "record.py"


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, as a script `some.py` without arguments has it, with results of its own."""
    spec = importlib.util.spec_from_file_location("benchmarks_record", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["/anywhere/some.py"])
    return module


def kept(tmp_path: Path) -> dict[str, object] | None:
    file = tmp_path / "some.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


@pytest.mark.parametrize(
    ("ratio", "goal", "met"),
    [
        (2.0, ">= 2", True),
        (1.99999, ">= 2", False),
        (1.1, "<= 1.1", True),
        (1.2, "<= 1.1", False),
        (7.0, "", None),
        (None, ">= 2", None),
    ],
)
def test_a_goal_is_met_by_what_was_found_not_by_its_rounding(
    record: ModuleType, ratio: float | None, goal: str, met: bool | None
) -> None:
    found = record.result("a", ratio, goal, images=3)
    assert found == {"benchmark": "a", "ratio": ratio and round(ratio, 4), "goal": goal, "met": met, "images": 3}


def test_kept_with_how_it_was_measured(
    record: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trap: what was measured with one thread, and does not say so."""
    for name in record.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    results = [record.result("a", 2.5, ">= 2"), record.result("b", 1.5, ">= 2", why="it rained", seen=[1.5, 3])]
    record.keep("/anywhere/some.py", results, ["numpy"], gpu="none")
    found = kept(tmp_path)
    assert found is not None
    assert found["command"] == "OMP_NUM_THREADS=3 python benchmarks/some.py"
    assert found["results"] == json.loads(capsys.readouterr().out.splitlines()[-1]) == results


@pytest.mark.parametrize("more", [{}, {"why": ""}])
@pytest.mark.parametrize("ratio", [1.5, None])
def test_a_goal_that_is_missed_or_not_tried_is_not_kept_without_its_reason(
    record: ModuleType, tmp_path: Path, ratio: float | None, more: dict[str, str]
) -> None:
    results = [record.result("a", 2.5, ">= 2"), record.result("b", ratio, ">= 2", **more)]
    with pytest.raises(SystemExit, match=r"b: .*, >= 2 is missed, and no reason is given.*say it as .* `why`"):
        record.keep("/anywhere/some.py", results, [])
    assert kept(tmp_path) is None


@pytest.mark.parametrize("more", [{}, {"seen": []}, {"seen": [1.6, 1.9]}, {"seen": [1.0, 1.4]}])
def test_a_reason_holds_for_what_it_was_found_out_for(
    record: ModuleType, tmp_path: Path, more: dict[str, list[float]]
) -> None:
    """The trap: a text that excuses any miss, whatever became slower since it was written."""
    with pytest.raises(SystemExit, match=r"b: 1.5, >= 2 is missed, and `seen` is .*find out whether it still holds"):
        record.keep("/anywhere/some.py", [record.result("b", 1.5, ">= 2", why="it rained", **more)], [])
    assert kept(tmp_path) is None


@pytest.mark.parametrize("goal", [2.0, "2", "> 2", ">=2"])
def test_a_goal_has_one_form(record: ModuleType, tmp_path: Path, goal: object) -> None:
    with pytest.raises(SystemExit, match="expected a goal such as '>= 2'"):
        record.keep("/anywhere/some.py", [{"benchmark": "a", "ratio": 3, "goal": goal, "met": True}], [])
    assert kept(tmp_path) is None


def test_a_look_replaces_nothing(
    record: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trap: a run on one image, or on a machine without a GPU, in the place of the figures."""
    record.keep("/anywhere/some.py", [record.result("a", 2.5, ">= 2")], [])
    before = kept(tmp_path)
    record.keep("/anywhere/some.py", [record.result("a", None, ">= 2", why="no GPU")], [])
    monkeypatch.setattr("sys.argv", ["/anywhere/some.py", "--images", "1"])
    capsys.readouterr()
    record.keep("/anywhere/some.py", [record.result("a", 0.1, ">= 2")], [])
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["met"] is False
    assert said.err == "Not kept: some.json is for the whole benchmark, which has no arguments.\n"
    assert kept(tmp_path) == before is not None
