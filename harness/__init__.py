"""sam-iqa-harness: frozen encoders read for image quality, encoded once. The names below are the public ones.

    import harness

    harness.precompute(dataset="biq2021", root="iqa/biq2021", encoder="efficientnet-lite0")
    runs = harness.train_head(dataset="biq2021", variant="ridge")
    harness.report(runs, out="report")

Importing this module imports nothing heavy; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import dataset, encoder, head, open_store, score
    from harness.splits.split import Split
    from harness.verbs.demo import demo
    from harness.verbs.doctor import doctor
    from harness.verbs.evaluate import evaluate
    from harness.verbs.precompute import precompute
    from harness.verbs.predict import predict
    from harness.verbs.report import report
    from harness.verbs.train_head import train_head

__all__ = [
    "Split",
    "dataset",
    "demo",
    "doctor",
    "encoder",
    "evaluate",
    "head",
    "open_store",
    "precompute",
    "predict",
    "report",
    "score",
    "train_head",
]

_HOMES = {
    "Split": "harness.splits.split",
    "dataset": "harness.api",
    "encoder": "harness.api",
    "head": "harness.api",
    "open_store": "harness.api",
    "score": "harness.api",
} | {
    name: f"harness.verbs.{name}"
    for name in ("demo", "doctor", "evaluate", "precompute", "predict", "report", "train_head")
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
