"""A run's folder: written whole or not at all, and read again. Owns what lies in it; never fits, never scores."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import evaluation, provenance

if TYPE_CHECKING:
    import pandas as pd

    from heads.base import Head
    from reports.card import Evaluation, Provenance, RunCard


def write(
    place: Path, card: RunCard, results: Sequence[tuple[Evaluation, pd.DataFrame]], head: Head | None = None
) -> None:
    """Writes a run folder aside and moves it into place; `card.json` of a run means that all of it is there.

    Args:
        results: its evaluations with their predictions.
        head: the fitted head, kept with its history; None where the predictions were made elsewhere.
    """
    from reports import card as cards

    place.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        if head is not None:
            head.save(aside / "head")
            (aside / "history.json").write_text(json.dumps(head.history, indent=1), encoding="utf-8")
        (aside / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(card.config), indent=1))
        for result, frame in results:
            evaluation.write(aside / "evaluations", result, frame)
        cards.save(card, aside / "card.json")
        aside.chmod(0o755)
        if place.exists():  # left by a run that was cut off: it has no card
            shutil.rmtree(place)
        aside.rename(place)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def fitted(folders: list[Path]) -> list[Path]:
    """The runs among these that have a head; of the others it says that they are left out.

    Raises:
        UsageError: none has.
    """
    from harness import console
    from harness.errors import UsageError

    found = [folder for folder in folders if (folder / "head").is_dir()]
    others = ", ".join(folder.name for folder in folders if folder not in found)
    if not found:
        raise UsageError(
            f"Expected runs of `harness train-head`, found predictions that were made elsewhere ({others}): these "
            "have no head. Score them on another dataset with `harness score`."
        )
    if others:
        console.say(f"Left out, as predictions made elsewhere have no head: {others}")
    return found


def test_predictions(folder: Path, run: RunCard) -> pd.DataFrame:
    """A run's predictions on its own test rows."""
    from reports import predictions

    name = evaluation.folder_name(run.dataset, test_rows(run.split_name))
    return predictions.read(folder / "evaluations" / name / "predictions.parquet")


def has_own_test(folder: Path, run: RunCard) -> bool:
    """Whether the run was tested on rows of its own dataset; one that learnt from all of it was not."""
    return (folder / "evaluations" / evaluation.folder_name(run.dataset, test_rows(run.split_name))).is_dir()


def test_rows(split: str) -> str:
    """What a split's own test rows are called in an evaluation."""
    return f"{split} test"


def provenance_of(command: str) -> Provenance:
    """Where a result of this process comes from."""
    from reports.card import Provenance

    device = "cuda" if "torch" in sys.modules and sys.modules["torch"].cuda.is_available() else "cpu"
    return msgspec.convert(provenance.facts(command, device), Provenance)
