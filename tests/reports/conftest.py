"""Run folders made on the spot: cards and predictions as the harness writes them, without an encoder or a head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports import card as cards
from reports import predictions
from reports.card import Evaluation, Provenance, RunCard

ORIGIN = Provenance(
    commit="0123456789abcdef0123456789abcdef01234567",
    dirty=False,
    packages={"numpy": "2.5.5", "torch": "2.15.0"},
    device="cpu",
    python="3.12.1",
    platform="Linux-x86_64",
    command="harness train-head --variant ridge",
    created="2026-11-25T08:00:00+00:00",
)
MOS = {"name": "MOS", "kind": "MOS", "low": 1.0, "high": 5.0, "higher_is_better": True, "quality": "declared"}
PROXY = {"name": "SSIM", "kind": "proxy", "low": 0.0, "high": 1.0, "higher_is_better": True, "quality": "declared"}


def predicted(
    n: int, noise: float = 0.1, seed: int = 0, groups: int = 0, prefix: str = "image", slope: float = 1.0
) -> pd.DataFrame:
    """A prediction file's rows: quality in 0-1, predictions with some noise, `groups` photographs (0: none)."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % groups if groups else np.arange(n)
    quality = rng.uniform(size=n)
    frame = pd.DataFrame({"id": [f"{prefix}{i:04d}.png" for i in range(n)]})
    frame["mos"] = 1 + 4 * quality
    frame["quality"] = quality
    shift = rng.normal(size=max(groups, 1))[group % max(groups, 1)] * noise if groups else 0.0
    frame["prediction"] = slope * quality + shift + noise * rng.normal(size=n)
    frame["std"] = np.nan
    frame["group"] = [f"photo{g}" for g in group] if groups else frame["id"]
    for name in ("reference", "distortion", "scene", "official_part", "failure"):
        frame[name] = ""
    frame["level"] = 0
    return frame


def evaluation(run: str, dataset: str, rows: str, frame: pd.DataFrame, **facts: Any) -> Evaluation:
    """The card of such a frame."""
    why = frame["failure"]
    missing = int((why == "image missing").sum())
    failed = int((why != "").sum()) - missing
    common: dict[str, Any] = {
        "run": run,
        "dataset": dataset,
        "rows": rows,
        "counts": {"asked": len(frame), "used": len(frame) - missing - failed, "missing": missing, "failed": failed},
        "failures": {str(k): int(v) for k, v in why[why != ""].value_counts().items()},
        "stamps": [],
        "scorer": "1",
        "scale": MOS,
        "seconds": 0.25,
        "provenance": ORIGIN,
    }
    return Evaluation(**{**common, **facts})


def make_run(
    top: Path,
    run: str,
    evaluations: list[tuple[str, str, pd.DataFrame]],
    scale: dict[str, Any] | None = None,
    **facts: Any,
) -> Path:
    """Writes `top/run/` with (dataset, rows, predictions) evaluations; `facts` go into the run's card."""
    common: dict[str, Any] = {
        "id": run,
        "dataset": "alpha",
        "variant": "ridge",
        "features": ["stage.1:moments", "stage.2:moments"],
        "encoder": "toy",
        "view": "native",
        "store": "toy@native-0123abcd",
        "store_key": "0123abcd",
        "split_kind": "official",
        "split_name": "official",
        "split_fingerprint": "f" * 64,
        "split_note": "the published split",
        "seed": 0,
        "settings": {"alphas": 25},
        "counts": {"train": 70, "valid": 10, "test": 20, "asked": 100, "used": 100, "failed": 0},
        "failures": {},
        "stamps": [],
        "label_digest": "a" * 64,
        "quality_map": {"slope": 0.25, "offset": -0.25, "source": "declared"},
        "gflop": 0.8,
        "parameters": 1281,
        "head_revision": 1,
        "seconds": {"fit": 0.5, "predict": 0.1},
        "valid_srcc": 0.9,
        "provenance": ORIGIN,
        "config": {},
    }
    card = RunCard(**{**common, **facts})
    folder = top / run
    for number, (dataset, rows, frame) in enumerate(evaluations):
        place = folder / "evaluations" / str(number)
        place.mkdir(parents=True)
        predictions.write(place / "predictions.parquet", frame)
        made = evaluation(run, dataset, rows, frame, stamps=card.stamps, scale=scale or MOS)
        cards.save(made, place / "card.json")
    folder.mkdir(parents=True, exist_ok=True)
    cards.save(card, folder / "card.json")
    return folder


@pytest.fixture(scope="session")
def make() -> Callable[..., Path]:
    """See `make_run`."""
    return make_run


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., pd.DataFrame]:
    """See `predicted`."""
    return predicted
