"""A fitted head on a set of rows -> a prediction file and its card. Never fits, never chooses; every asked row stays
in the file.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import examples, stamps

if TYPE_CHECKING:
    import pandas as pd

    from cache.rows import Features
    from cache.store import FeatureStore
    from harness.datasets.dataset import Dataset
    from harness.datasets.scale import QualityMap
    from heads.base import Examples, Head
    from reports.card import Evaluation, Provenance

CARRIED = ("std", "group", "reference", "distortion", "level", "scene", "official_part")


def evaluate(
    run: str,
    head: Head,
    data: Dataset,
    store: FeatureStore,
    features: Features,
    joined: Examples,
    ids: list[str],
    rows: str,
    quality_map: QualityMap,
    run_stamps: list[str],
    provenance: Provenance,
) -> tuple[Evaluation, pd.DataFrame]:
    """Predicts the rows that have features and says of every other asked row why it has no prediction.

    Args:
        ids: the asked rows; each is one row of the prediction file.
        rows: what these rows are, in words: "official test", "all".
        quality_map: turns this dataset's MOS into quality; for the columns of the file, not for the head.
    """
    from reports.card import Evaluation
    from reports.scores import SCORER

    start = time.monotonic()
    frame = prediction_frame(data, ids, quality_map)
    why = examples.lost(data, ids, features, dict(store.failures()))
    frame["failure"] = [
        ("label is NaN" if np.isnan(m) else why.get(i, "")) for i, m in zip(frame["id"], frame["mos"], strict=True)
    ]
    usable = frame["failure"] == ""
    predicted = predict(head, joined, list(frame.loc[usable, "id"]))
    frame.loc[usable, "prediction"] = predicted
    frame.loc[usable & ~np.isfinite(frame["prediction"]), "failure"] = "prediction is not finite"
    reasons = Counter(str(reason) for reason in frame["failure"])
    used, missing = reasons.pop("", 0), reasons["image missing"]
    scale = data.spec.scale
    card = Evaluation(
        run=run,
        dataset=data.name,
        rows=rows,
        counts={"asked": len(frame), "used": used, "missing": missing, "failed": len(frame) - used - missing},
        failures={reason: count for reason, count in sorted(reasons.items()) if count},
        stamps=stamps.ordered([*run_stamps, *data_stamps(data, store)]),
        scorer=SCORER,
        scale={
            "name": scale.name,
            "kind": scale.kind,
            "low": scale.low,
            "high": scale.high,
            "higher_is_better": scale.higher_is_better,
            "quality": quality_map.source,
        },
        seconds=time.monotonic() - start,
        provenance=provenance,
    )
    return card, frame


def prediction_frame(data: Dataset, ids: list[str], quality_map: QualityMap) -> pd.DataFrame:
    """One row an asked id, with labels and carried columns, and no prediction yet."""
    frame = data.manifest.set_index("id", drop=False).loc[ids, ["id", "mos", *CARRIED]].reset_index(drop=True)
    frame.insert(
        2,
        "quality",
        np.asarray(quality_map.to_quality(frame["mos"].to_numpy(dtype=np.float64)), dtype=np.float64),
    )
    frame.insert(3, "prediction", np.nan)
    return frame


def predict(head: Head, joined: Examples, ids: list[str]) -> np.ndarray:
    """Quality of the given rows, in their order."""
    return np.asarray(head.predict(joined[joined.rows(ids)]), dtype=np.float64) if ids else np.empty(0)


def data_stamps(data: Dataset, store: FeatureStore) -> list[str]:
    """The stamps of a dataset as encoded in a store, the encoder's own among them."""
    tried = len(store.ids()) + len(store.failures())
    found = stamps.of_data(missing=data.missing, encoded=tried, present=data.present, proxy=data.scale.kind == "proxy")
    return stamps.ordered([*found, *store.provenance.get("stamps", [])])


def write(folder: Path, card: Evaluation, frame: pd.DataFrame) -> Path:
    """Writes `<folder>/<dataset>-<rows>/{card.json, predictions.parquet}`; the card last, so that a folder with a
    card is whole.
    """
    from reports import card as cards
    from reports import predictions

    place = folder / folder_name(card.dataset, card.rows)
    place.mkdir(parents=True, exist_ok=True)
    predictions.write(place / "predictions.parquet", frame)
    cards.save(card, place / "card.json")
    return place


def folder_name(dataset: str, rows: str) -> str:
    """`biq2021-official-test`, `livec-all`."""
    return f"{dataset}-{rows.replace(' ', '-').replace(':', '-')}"


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """SRCC and raw PLCC of a prediction frame, None where they have no value."""
    from reports.scores import plcc, srcc

    good = frame.loc[frame["failure"] == ""]
    quality, prediction = good["quality"].to_numpy(), good["prediction"].to_numpy()
    values = {"srcc": srcc(quality, prediction), "plcc": plcc(quality, prediction)}
    return {k: (float(v) if np.isfinite(v) else None) for k, v in values.items()} | {"n": len(good)}
