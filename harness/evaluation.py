"""A fitted head on a set of rows -> a prediction file and its card. Never fits, never chooses; every asked row stays
in the file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from harness import console, examples, stamps
from harness.datasets import sharing

if TYPE_CHECKING:
    import pandas as pd

    from cache.store import FeatureStore
    from harness.datasets.dataset import Dataset
    from harness.datasets.scale import QualityMap
    from harness.datasets.spec import DatasetSpec
    from harness.examples import Joined
    from harness.splits.lookalikes import Twin
    from heads.base import Examples, Head
    from reports.card import Evaluation, Provenance

CARRIED = ("std", "group", "reference", "distortion", "level", "scene", "official_part")


def evaluate(
    run: str,
    head: Head,
    joined: Joined,
    ids: list[str],
    rows: str,
    run_stamps: list[str],
    provenance: Provenance,
    trained: Sequence[DatasetSpec] = (),
) -> tuple[Evaluation, pd.DataFrame]:
    """Predicts the rows that have features and says of every other asked row why it has no prediction.

    Args:
        ids: the asked rows; each is one row of the prediction file.
        rows: what these rows are, in words: "official test", "all".
        trained: pages of the datasets that the run was trained on, as far as they are known.
    """
    from reports.card import Evaluation
    from reports.scores import SCORER

    start = time.monotonic()
    frame = prediction_frame(joined.data, ids, joined.quality_map)
    why = joined.lost(ids)
    frame["failure"] = [
        ("label is NaN" if np.isnan(m) else why.get(i, "")) for i, m in zip(frame["id"], frame["mos"], strict=True)
    ]
    usable = frame["failure"] == ""
    predicted = predict(head, joined.examples, list(frame.loc[usable, "id"]))
    frame.loc[usable, "prediction"] = predicted
    frame.loc[usable & ~np.isfinite(frame["prediction"]), "failure"] = "prediction is not finite"
    scale = joined.data.scale
    card = Evaluation(
        run=run,
        dataset=joined.data.name,
        rows=rows,
        counts=counts(frame),
        failures=failures(frame),
        stamps=stamps.ordered([*run_stamps, *data_stamps(joined.data, joined.stores)]),
        scorer=SCORER,
        scale={**msgspec.to_builtins(scale), "quality": joined.quality_map.source},
        seconds=time.monotonic() - start,
        provenance=provenance,
        notes=known_to_be_shared(joined.data.spec, joined.stores, trained),
    )
    return card, frame


def known_to_be_shared(
    tested: DatasetSpec, stores: Sequence[FeatureStore], trained: Sequence[DatasetSpec] = ()
) -> list[str]:
    """What a test set shares with the datasets trained on and with the encoders' training data, as far as declared."""
    corpora = {s.identity.encoder.name: s.provenance.get("trained_on", [sharing.UNKNOWN]) for s in stores}
    notes = [note for encoder, own in corpora.items() for note in sharing.seen(encoder, own, tested)]
    return [note for page in trained for note in sharing.between(page, tested)] + notes


def cleaned(card: Evaluation, frame: pd.DataFrame, twins: Sequence[Twin]) -> list[tuple[Evaluation, pd.DataFrame]]:
    """The same evaluation without the rows that look like rows that were learnt from; none where there are no twins.

    Args:
        twins: asked pictures and what they look like; kept in the card.
    """
    alike = {twin.id for twin in twins}
    rest = frame.loc[[i not in alike for i in frame["id"]]].reset_index(drop=True)
    if len(rest) == len(frame):
        return []
    left_out = len(frame) - len(rest)
    console.say(f"{left_out} of {len(frame)} test rows look like rows learnt from: scored with and without them")
    said = msgspec.structs.replace(
        card,
        rows=f"{card.rows}, cleaned",
        counts=counts(rest),
        failures=failures(rest),
        lookalikes=[tuple(twin) for twin in twins],
    )
    return [(said, rest)]


def counts(frame: pd.DataFrame) -> dict[str, int]:
    """Rows asked, used, missing and failed; asked is the sum of the others."""
    why = Counter(str(reason) for reason in frame["failure"])
    used, missing = why[""], why[examples.MISSING]
    return {"asked": len(frame), "used": used, "missing": missing, "failed": len(frame) - used - missing}


def failures(frame: pd.DataFrame) -> dict[str, int]:
    """Reason -> rows without a prediction."""
    return dict(sorted(Counter(str(reason) for reason in frame["failure"] if reason).items()))


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


def data_stamps(data: Dataset, stores: Sequence[FeatureStore]) -> list[str]:
    """The stamps of a dataset as encoded in stores, the encoders' own among them."""
    tried = min(len(store.ids()) + len(store.failures()) for store in stores)
    found = stamps.of_data(missing=data.missing, encoded=tried, present=data.present, proxy=data.scale.kind == "proxy")
    return stamps.ordered([*found, *(stamp for store in stores for stamp in store.provenance.get("stamps", []))])


def write(folder: Path, card: Evaluation, frame: pd.DataFrame) -> Path:
    """Writes `<folder>/<dataset>-<rows>/{card.json, predictions.parquet}`; the card last, so that a folder with a
    card is whole. An evaluation that is absent as a whole has no predictions.
    """
    from reports import card as cards
    from reports import predictions

    place = folder / folder_name(card.dataset, card.rows)
    place.mkdir(parents=True, exist_ok=True)
    if not card.absent:
        predictions.write(place / "predictions.parquet", frame)
    cards.save(card, place / "card.json")
    return place


def folder_name(dataset: str, rows: str) -> str:
    """`biq2021-official-test`, `livec-all`."""
    return f"{dataset}-{rows.replace(',', '').replace(' ', '-').replace(':', '-')}"


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """SRCC and raw PLCC of a prediction frame, None where they have no value."""
    from reports.scores import plcc, srcc

    good = frame.loc[frame["failure"] == ""]
    quality, prediction = good["quality"].to_numpy(), good["prediction"].to_numpy()
    values = {"srcc": srcc(quality, prediction), "plcc": plcc(quality, prediction)}
    return {k: (float(v) if np.isfinite(v) else None) for k, v in values.items()} | {"n": len(good)}
