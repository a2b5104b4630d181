"""The cache's fakes, as one fixture: made-up encoders and images, and stores filled with them."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

torch.set_num_threads(1)


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cache_fakes", Path(__file__).with_name("fakes.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cache_fakes"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync guards against power loss, which no test can cause; kill -9 loses nothing that was written."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    return sys.modules.get("cache_fakes") or _load()


@pytest.fixture(scope="session")
def pages_reader() -> str:
    """The reader that docs/store.md gives to other programs."""
    page = Path(__file__).parents[2] / "docs" / "store.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    return code
