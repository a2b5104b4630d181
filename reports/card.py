"""What a run and an evaluation say of themselves, as JSON that another person can read. Never computes a score.

`runs/<id>/card.json` is a `RunCard`: what was fitted from what. `runs/<id>/evaluations/<rows>/card.json` is an
`Evaluation`: one run on one set of rows, with the predictions beside it. The order of the fields is part of the format.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from reports.errors import ReportError

VERSION = 1


class Provenance(msgspec.Struct, frozen=True):
    """Where a result comes from; none of it is part of an identity.

    Attributes:
        commit, dirty: of the checkout that ran; "" and None where it was an installed package.
        created: UTC, ISO 8601.
    """

    commit: str
    dirty: bool | None
    packages: dict[str, str]
    device: str
    python: str
    platform: str
    command: str
    created: str


class RunCard(msgspec.Struct, frozen=True, kw_only=True):
    """One fit.

    Attributes:
        dataset: what it learnt from; several are joined by `+`.
        features: names that the head reads, in order.
        encoder, view, store, store_key: of the features; a store is `<encoder>@<view>-<key8>`, its key the eight
            letters of its identity. Where features come from several stores, each with `+` between: `native+half`.
        split_note: what is special about the split, in words; "" if nothing.
        counts: train, valid, test, asked, used, failed: rows.
        failures: reason -> rows, of the run's own test rows.
        quality_map: how MOS became quality: slope, offset, source; of several datasets one map each, by name.
        gflop: of the encoder an image, 0 where unknown.
        parameters: numbers that the head learned.
        seconds: fit (one split's share), predict.
        valid_srcc: the best on validation rows, which chose; None without them.
        config: the resolved call that made it.
        notes: what is known to be shared by the encoder's training data and the dataset, in words.
    """

    version: int = VERSION
    id: str
    dataset: str
    variant: str
    features: list[str]
    encoder: str
    view: str
    store: str
    store_key: str
    split_kind: str
    split_name: str
    split_fingerprint: str
    split_note: str
    seed: int
    settings: dict[str, Any]
    counts: dict[str, int]
    failures: dict[str, int]
    stamps: list[str]
    label_digest: str
    quality_map: dict[str, Any]
    gflop: float
    parameters: int
    head_revision: int
    seconds: dict[str, float]
    valid_srcc: float | None
    provenance: Provenance
    config: dict[str, Any]
    notes: list[str] = []

    @property
    def datasets(self) -> list[str]:
        """The datasets that it learnt from."""
        return apart(self.dataset)

    @property
    def source(self) -> str:
        """Where its features come from: `sam@native`, `sam@native+half`, `sam@native+mae@half`; `submitted` of a run
        that read none.
        """
        prefixes = [*dict.fromkeys(name.rpartition("/")[0] for name in self.features)]
        if not any(prefixes):
            return f"{self.encoder}@{self.view}" if self.features else self.encoder
        encoders, views = (dict.fromkeys(prefix.partition("@")[side] for prefix in prefixes) for side in (0, 2))
        alike = len(encoders) == 1 or len(views) == 1  # else which view is whose must be said
        return f"{together(encoders)}@{together(views)}" if alike else together(prefixes)


def together(names: Iterable[str]) -> str:
    """Several names as one field of a card."""
    return "+".join(names)


def apart(field: str) -> list[str]:
    """The names that `together` put into a field."""
    return field.split("+")


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One run on one set of rows.

    Attributes:
        rows: what these rows are, in words: "official test", "all".
        counts: asked, used, missing (no image here), failed: rows; asked is the sum of the others.
        failures: reason -> rows that have no prediction.
        scorer: revision of `reports.scores`.
        lookalikes: of a "cleaned" evaluation, what was left out of it: (test id, id of the picture that was trained or
            chosen on and looks like it, bits in which their perceptual hashes differ).
        absent: why not one row could be predicted ("no feature store here"): all asked rows are missing then, and there
            is no prediction file; "" elsewhere.
        scale: name, kind, low, high, higher_is_better of the published labels, and how they became quality.
        notes: what the tested dataset is known to share with the one trained on, or with the encoder's training data.
    """

    version: int = VERSION
    run: str
    dataset: str
    rows: str
    counts: dict[str, int]
    failures: dict[str, int]
    stamps: list[str]
    scorer: str
    scale: dict[str, Any]
    seconds: float
    provenance: Provenance
    lookalikes: list[tuple[str, str, int]] = []
    absent: str = ""
    notes: list[str] = []


def save(card: RunCard | Evaluation, path: Path) -> None:
    """Writes a card whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")
    part.replace(path)


def load_run(path: Path) -> RunCard:
    """Reads a run's card.

    Raises:
        ReportError: not there, damaged, or of a newer version.
    """
    return _load(path, RunCard, "a run's card", "Is this a run folder? Train it again: harness train-head.")


def load_evaluation(path: Path) -> Evaluation:
    """Reads an evaluation's card; raises as `load_run`."""
    return _load(path, Evaluation, "an evaluation's card", "Evaluate again: harness evaluate RUN --on DATASET.")


class _Versioned(msgspec.Struct):
    version: int = VERSION


def _load[T: (RunCard, Evaluation)](path: Path, kind: type[T], what: str, advice: str) -> T:
    try:
        data = path.read_bytes()
        version = msgspec.json.decode(data, type=_Versioned).version
        if version > VERSION:  # asked first: a newer card may have other fields
            raise ReportError(
                f"Expected {what} of version {VERSION} at most at {path}, found version {version}. "
                "Install a newer sam-iqa-harness."
            )
        return msgspec.json.decode(data, type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ReportError(f"Expected {what} at {path}, found none that can be read ({reason}). {advice}") from error
