"""Fixtures that every room's tests may use: where real data lie, and few threads so that tests run side by side."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# How long an example takes is no property of the code: tests run side by side on busy machines. A change is judged by
# the same examples everywhere; SAM_IQA_EXPLORE=1 looks for new ones.
hypothesis.settings.register_profile("same", deadline=None, derandomize=os.environ.get("SAM_IQA_EXPLORE") != "1")
hypothesis.settings.load_profile("same")

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real photographs, label files and splits; see docs/development.md."""
    place = os.environ.get("SAM_IQA_DATA", "")
    if place and (Path(place) / "labels").is_dir():
        return Path(place)
    if os.environ.get("SAM_IQA_REQUIRE_DATA") == "1":
        pytest.fail(f"SAM_IQA_REQUIRE_DATA=1, but SAM_IQA_DATA={place!r} is not a folder with labels/")
    pytest.skip("SAM_IQA_DATA is not set: real photographs and label files are not here")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test stands in a folder of its own, far from any harness.toml, and inherits no data or weights folders."""
    monkeypatch.chdir(tmp_path)
    for name in ("IQA_DATA", "IQA_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
