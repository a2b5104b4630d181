"""What any head must do, built-in or from a plugin. Never measures how good a head is on real images.

A plugin's test is one line: `check_head(MyHead)`. Rows are made here: maps of several grids, one of them
1x1 and one that no other row has, and the mean and deviation of their channels as summaries; two channels
carry the label.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from heads.base import Examples, FitPlan, Floats, Head, Progress, Rows
from heads.errors import DataError, HeadError

ROWS = 200
CHANNELS = 6
TRAIN, VALID = 120, 40  # the rest is never in a plan
GRIDS = ((6, 6), (5, 8), (6, 6), (7, 4))


class NotConformingError(Exception):
    """A head does not do what every head must; lists all checks that failed."""

    exit_code = 1


class PlantedSource:
    """Rows in memory that behave as a store's do.

    Args:
        ids: the rows.
        maps: for each row (h, w, C) float16; grids may differ.
        names: which features there are: `out:map`, `out:moments` or both.
        channels: C.
    """

    def __init__(
        self, ids: list[str], maps: list[NDArray[np.float16]], names: list[str], channels: int = CHANNELS
    ) -> None:
        self.ids = ids
        self.names = names
        self.maps = maps
        self._channels = channels

    def table(self, name: str) -> NDArray[np.float32]:
        """Mean and deviation of every channel: (n, 2 C)."""
        flat = [m.reshape(-1, m.shape[-1]).astype(np.float32) for m in self.maps]
        return np.array([np.concatenate([m.mean(axis=0), m.std(axis=0)]) for m in flat], dtype=np.float32)

    def batches(self, name: str, rows: Iterable[Rows]) -> Iterator[list[tuple[Rows, NDArray[np.float16]]]]:
        """Groups of equal grid for each array of rows."""
        for part in rows:
            groups: dict[tuple[int, ...], list[int]] = {}
            for position, row in enumerate(part):
                groups.setdefault(self.maps[row].shape, []).append(position)
            yield [
                (np.array(where, dtype=np.int64), np.stack([self.maps[part[i]] for i in where]))
                for where in groups.values()
            ]

    def channels(self, name: str) -> int:
        """C of the map, 2 C of its moments."""
        return self._channels * (1 if name.endswith(":map") else 2)

    def grids(self, name: str) -> NDArray[np.int64]:
        """(n, 2)."""
        return np.array([m.shape[:2] for m in self.maps], dtype=np.int64)

    def take(self, rows: Rows) -> PlantedSource:
        """The given rows."""
        return PlantedSource([self.ids[i] for i in rows], [self.maps[i] for i in rows], self.names, self._channels)


def planted(names: list[str], seed: int = 0) -> tuple[PlantedSource, Floats]:
    """Rows whose label stands in the mean of channel 0 and in the spread of channel 1."""
    random = np.random.default_rng(seed)
    quality = random.random(ROWS)
    maps: list[NDArray[np.float16]] = []
    for i in range(ROWS):
        grid = {3: (9, 3), ROWS - 1: (1, 1)}.get(i, GRIDS[i % len(GRIDS)])
        m = random.standard_normal((*grid, CHANNELS))
        m[..., 0] += 3 * quality[i]
        m[..., 1] *= 0.3 + 2 * quality[i]
        maps.append(m.astype(np.float16))
    ids = [f"row {i:03d}" for i in range(ROWS)]
    return PlantedSource(ids, maps, names), quality


def examples(source: PlantedSource, quality: Floats) -> Examples:
    """Labels beside rows; each row its own group."""
    unknown = np.full(len(quality), np.nan)
    return Examples(source, source.ids, quality, unknown, unknown, "planted", source.ids, [""] * len(quality))


def agreement(quality: Floats, prediction: Floats) -> float:
    """Pearson's correlation, to choose by."""
    return float(np.corrcoef(quality, prediction)[0, 1])


@dataclass
class Case:
    """A head under test: its class, planted rows, a plan, and one fit that checks may share."""

    kind: type[Head]
    settings: Mapping[str, Any]
    rows: Examples
    source: PlantedSource
    plan: FitPlan
    fitted: Head

    def fit(self, rows: Examples | None = None, **changes: Any) -> Head:
        """Another fit, on other rows or with a changed plan."""
        return self.kind(self.settings).fit(rows or self.rows, replace(self.plan, **changes), agreement)


def _need(holds: bool, message: str) -> None:
    if not holds:
        raise NotConformingError(message)


def _same(a: Head, b: Head, message: str) -> None:
    left, right = a.state(), b.state()
    equal = left.keys() == right.keys() and all(np.array_equal(left[k], right[k], equal_nan=True) for k in left)
    _need(equal, message)


def learns_a_planted_signal(case: Case) -> None:
    """Rows outside the plan are predicted far better than by chance."""
    rest = np.arange(TRAIN + VALID, ROWS - 1)
    found = agreement(case.rows.quality[rest], case.fitted.predict(case.rows[rest]))
    _need(found > 0.7, f"correlation {found:.3f} with a planted label, expected > 0.7")


def predicts_one_finite_number_a_row(case: Case) -> None:
    """(n,) float64, on mixed grids, 1x1 and one of its own among them; (0,) for no rows."""
    found = case.fitted.predict(case.rows)
    _need(found.shape == (ROWS,) and found.dtype == np.float64, f"found shape {found.shape}, {found.dtype}")
    _need(bool(np.isfinite(found).all()), f"{int((~np.isfinite(found)).sum())} predictions are not finite")
    _need(case.fitted.predict(case.rows[np.arange(0)]).shape == (0,), "no rows must give no predictions")


def predicts_on_the_scale_of_the_labels(case: Case) -> None:
    """Labels of another scale move the predictions with them."""
    other = examples(PlantedSource(case.rows.ids, case.source.maps, case.source.names), 100 * case.rows.quality + 7)
    found = case.fit(other).predict(other)[: TRAIN + VALID]
    _need(15 < float(found.mean()) < 100, f"mean prediction {found.mean():.3g} for labels from 7 to 107")


def reads_no_label_when_it_predicts(case: Case) -> None:
    """Unknown labels change nothing."""
    blank = replace(case.rows, quality=np.full(ROWS, np.nan))
    _need(
        np.array_equal(case.fitted.predict(blank), case.fitted.predict(case.rows)),
        "labels changed predictions",
    )


def sees_no_row_outside_its_plan(case: Case) -> None:
    """Other rows' labels and features may be anything, even NaN."""
    source = case.source
    outside = np.arange(TRAIN + VALID, ROWS)
    maps = [m.copy() for m in source.maps]
    for i in outside:
        maps[i][:] = np.nan
    quality = case.rows.quality.copy()
    quality[outside] = np.nan
    poisoned = examples(PlantedSource(case.rows.ids, maps, source.names), quality)
    _same(case.fit(poisoned), case.fitted, "rows outside the plan changed the fit")


def is_indifferent_to_row_order(case: Case) -> None:
    """Predictions follow their rows."""
    order = np.random.default_rng(1).permutation(ROWS)
    shuffled, straight = case.fitted.predict(case.rows[order]), case.fitted.predict(case.rows)[order]
    _need(np.allclose(shuffled, straight, rtol=1e-4, atol=1e-5), "the order of rows changed predictions")


def is_indifferent_to_its_company(case: Case) -> None:
    """A row is predicted the same alone, in sevens and among all."""
    whole = case.fitted.predict(case.rows)
    for size in (1, 7):
        parts = [case.fitted.predict(case.rows[np.arange(i, min(i + size, ROWS))]) for i in range(0, ROWS, size)]
        _need(
            np.allclose(np.concatenate(parts), whole, rtol=1e-4, atol=1e-5),
            f"batches of {size} changed predictions",
        )


def repeats_itself(case: Case) -> None:
    """The same seed gives the same arrays, whatever was drawn before; a fit leaves the generators as they
    were."""
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = case.fit()
    _need(bool(torch.equal(before, torch.random.get_rng_state())), "a fit moved torch's global generator")
    _same(again, case.fitted, "the same seed gave other weights")


def fits_many_as_it_fits_one(case: Case) -> None:
    """Several plans at once give the same heads as one by one, in order, and leave the head itself
    unfitted."""
    plans = [case.plan, replace(case.plan, train=case.plan.train[10:], seed=5), replace(case.plan, seed=5)]
    head = case.kind(case.settings)
    events: list[Progress] = []
    many = head.fit_many(case.rows, plans, agreement, events.append)
    _need(not head.features and len(many) == 3, "fit_many must return copies, one for each plan")
    for one, plan in zip(many, plans, strict=True):
        alone = head.fit(case.rows, plan, agreement).predict(case.rows)
        _need(np.allclose(one.predict(case.rows), alone, rtol=1e-4, atol=1e-5), "fitting many gave other heads")
    counts = [sum(event.plan == i for event in events) for i in range(3)]
    expected = [head.steps(plan) for plan in plans]
    _need(counts == expected, f"progress events a plan {counts}, steps() says {expected}")


def saves_and_loads(case: Case) -> None:
    """A loaded head is the same head, to the last bit of its predictions; refuses damage and newer
    revisions."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "head"
        case.fitted.save(folder)
        loaded = case.kind.load(folder)
        _same(loaded, case.fitted, "arrays changed on the disk")
        _need(
            np.array_equal(loaded.predict(case.rows), case.fitted.predict(case.rows)),
            "a loaded head predicts otherwise",
        )
        for what in ("settings", "features", "widths", "history"):
            _need(getattr(loaded, what) == getattr(case.fitted, what), f"{what} changed on the disk")
        _need(loaded.parameters() == case.fitted.parameters(), "parameters changed on the disk")
        card = json.loads((folder / "head.json").read_text(encoding="utf-8"))
        (folder / "head.json").write_text(json.dumps(card | {"revision": case.kind.revision + 1}), encoding="utf-8")
        _need(_refuses(lambda: case.kind.load(folder), HeadError), "a newer revision was loaded")
        (folder / "head.json").write_text(json.dumps(card), encoding="utf-8")
        data = bytearray((folder / "head.safetensors").read_bytes())
        data[-1] ^= 1
        (folder / "head.safetensors").write_bytes(bytes(data))
        _need(_refuses(lambda: case.kind.load(folder), DataError), "a flipped bit was not noticed")


def fits_the_least(case: Case) -> None:
    """Two train rows, equal labels in a batch, no validation rows: a fit with finite predictions."""
    two = case.fit(train=np.array([0, 1]), valid=np.arange(0))
    _need(bool(np.isfinite(two.predict(case.rows)).all()), "two train rows gave predictions that are not finite")
    quality = case.rows.quality.copy()
    quality[:TRAIN] = 0.5
    quality[0] = 0.6
    nearly = case.fit(replace(case.rows, quality=quality), valid=np.arange(0))
    _need(
        bool(np.isfinite(nearly.predict(case.rows)).all()),
        "nearly equal labels gave predictions that are not finite",
    )


def refuses_what_cannot_be_learned(case: Case) -> None:
    """Equal labels, no rows, unknown labels, features that are not finite, an unfitted head, unknown
    settings."""
    constant = replace(case.rows, quality=np.full(ROWS, 0.5))
    _need(_refuses(lambda: case.fit(constant), DataError), "equal labels were accepted")
    _need(_refuses(lambda: case.fit(train=np.arange(0)), DataError), "no train rows were accepted")
    unknown = replace(case.rows, quality=np.full(ROWS, np.nan))
    _need(_refuses(lambda: case.fit(unknown), DataError), "unknown labels were accepted")
    maps = [m.copy() for m in case.source.maps]
    maps[5][:] = np.nan
    broken = examples(PlantedSource(case.rows.ids, maps, case.source.names), case.rows.quality)
    _need(_refuses(lambda: case.fit(broken), DataError), "NaN features were accepted")
    _need(_refuses(lambda: case.kind(case.settings).predict(case.rows), HeadError), "an unfitted head predicted")
    _need(_refuses(lambda: case.kind({"no_such_setting": "1"}), HeadError), "an unknown setting was accepted")


def keeps_the_books(case: Case) -> None:
    """History, features, widths and parameters are there and are JSON; every setting is explained."""
    for entry in case.fitted.history:
        missing = {"epoch", "train_loss", "valid_srcc", "seconds", "note"} - entry.keys()
        _need(not missing, f"history lacks {missing}")
    json.dumps(case.fitted.history, allow_nan=False)
    _need(
        case.fitted.parameters() > 0 and case.kind().parameters() == 0,
        "parameters() must count what was learned",
    )
    text = case.kind.Settings.__doc__ or ""
    for field in msgspec.structs.fields(case.kind.Settings):
        _need(f"{field.name}:" in text, f"the setting {field.name} is not explained in Settings' docstring")
    _need(bool(case.kind.__doc__), "a head needs a docstring")


def _refuses(action: Callable[[], object], error: type[Exception]) -> bool:
    try:
        action()
    except error:
        return True
    return False


CHECKS: tuple[Callable[[Case], None], ...] = (
    learns_a_planted_signal,
    predicts_one_finite_number_a_row,
    predicts_on_the_scale_of_the_labels,
    reads_no_label_when_it_predicts,
    sees_no_row_outside_its_plan,
    is_indifferent_to_row_order,
    is_indifferent_to_its_company,
    repeats_itself,
    fits_many_as_it_fits_one,
    saves_and_loads,
    fits_the_least,
    refuses_what_cannot_be_learned,
    keeps_the_books,
)


def check_head(kind: type[Head], settings: Mapping[str, Any] | None = None) -> list[str]:
    """Runs every check on a head.

    Args:
        kind: the class; `default_features` says whether it reads maps or summaries.
        settings: to make it quick; it must still learn.

    Returns:
        Names of the checks, all of which passed.

    Raises:
        NotConformingError: names every check that failed, and why.
    """
    names = kind(settings).default_features(["out:map", "out:moments"], "out")
    source, quality = planted(names)
    rows = examples(source, quality)
    plan = FitPlan(np.arange(TRAIN), np.arange(TRAIN, TRAIN + VALID), seed=3)
    case = Case(kind, settings or {}, rows, source, plan, kind(settings).fit(rows, plan, agreement))
    failed: list[str] = []
    for check in CHECKS:
        try:
            check(case)
        except (NotConformingError, HeadError, ValueError) as error:
            failed.append(f"  {check.__name__}: {error}")
    if failed:
        raise NotConformingError(
            f"Expected {kind.__name__} to do what every head must; found {len(failed)} failures:\n" + "\n".join(failed)
        )
    return [check.__name__ for check in CHECKS]
