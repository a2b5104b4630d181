"""Predictions made elsewhere: a CSV of id and prediction joined to a dataset's ids, loudly. Never scores them."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from harness.errors import NotFoundError, UsageError


class Joined(NamedTuple):
    """Predictions by the dataset's own ids, and what was noticed on the way."""

    values: dict[str, float]
    notes: list[str]
    digest: str


def join(file: Path, asked: list[str], known: set[str]) -> Joined:
    """Reads a CSV of id and prediction and joins it by id: exactly, else by case where that is unambiguous.

    Raises:
        NotFoundError: no such file, or not one asked id in it.
        UsageError: other columns, something that is no number, or an id with two different predictions.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError as error:
        raise NotFoundError(f"Expected predictions at {file}, found no such file. Correct the path.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UsageError(f"Expected a CSV with the columns id and prediction at {file}, found {error}.") from error
    missing = [column for column in ("id", "prediction") if column not in table.columns]
    if missing:
        raise UsageError(
            f"{file}: expected the columns id and prediction, found {', '.join(map(str, table.columns))}. Rename them."
        )
    values, notes = _once(file, list(zip(table["id"], table["prediction"], strict=True)))
    values, more = _by_case(values, known)
    unknown = sorted(set(values) - known)
    if unknown:
        more.append(
            f"{len(unknown):,} predictions for ids that the dataset does not have, such as {unknown[0]!r}: left out"
        )
    wanted = {i: values[i] for i in asked if i in values}
    if not wanted:
        raise NotFoundError(
            f"{file}: expected ids such as {asked[0]!r}, found {len(values)} others, such as "
            f"{next(iter(values), '')!r}. "
            "Ids are file names as the dataset has them: harness splits show, or the manifest, lists them."
        )
    if len(wanted) < len(asked):
        first = next(i for i in asked if i not in wanted)
        more.append(
            f"{len(asked) - len(wanted):,} of {len(asked):,} asked rows have no prediction, such as {first!r}: "
            "they are failed rows"
        )
    beyond = len(set(values) & known) - len(wanted)
    if beyond:
        more.append(f"{beyond:,} predictions for rows that were not asked for: left out")
    return Joined(wanted, [*notes, *more], hashlib.sha256(file.read_bytes()).hexdigest())


def _once(file: Path, rows: list[tuple[str, str]]) -> tuple[dict[str, float], list[str]]:
    """Id -> prediction; an empty cell is NaN, which fails later, with its reason."""
    values: dict[str, float] = {}
    doubled = 0
    for image_id, text in rows:
        try:
            number = float(text or "nan")
        except ValueError as error:
            raise UsageError(
                f"{file}: expected a number for {image_id!r}, found {text!r}. Correct that row."
            ) from error
        if image_id in values:
            doubled += 1
            old = values[image_id]
            if old != number and not (math.isnan(old) and math.isnan(number)):
                raise UsageError(f"{file}: {image_id!r} has two predictions, {old:g} and {number:g}. Keep one of them.")
        values[image_id] = number
    return values, [f"{doubled:,} ids stand there twice with the same prediction"] if doubled else []


def _by_case(values: dict[str, float], known: set[str]) -> tuple[dict[str, float], list[str]]:
    """Ids that differ from the dataset's only by case, renamed where that is unambiguous."""
    folded: dict[str, list[str]] = {}
    for image_id in known:
        folded.setdefault(image_id.casefold(), []).append(image_id)
    renamed: dict[str, float] = {}
    changed = 0
    for image_id, value in values.items():
        alike = folded.get(image_id.casefold(), [])
        if image_id not in known and len(alike) == 1 and alike[0] not in values:
            renamed[alike[0]], changed = value, changed + 1
        else:
            renamed[image_id] = value
    return renamed, [f"{changed:,} ids differ from the dataset's in upper and lower case: joined"] if changed else []
