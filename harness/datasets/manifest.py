"""The manifest: one row an image, as a pandas table and as Parquet. Owns its columns; knows no dataset and no
scale.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.datasets import texts
from harness.datasets.errors import DatasetError

VERSION = 1

TEXT, REAL, WHOLE, FLAG = "text", "real", "whole", "flag"

COLUMNS: dict[str, tuple[str, Any]] = {
    "id": (TEXT, ""),  # stable across download trees
    "path": (TEXT, ""),  # relative to the root, with forward slashes; "" where the image is not there
    "present": (FLAG, False),
    "mos": (REAL, np.nan),  # as published
    "std": (REAL, np.nan),  # in units of mos; NaN: not published
    "votes": (REAL, np.nan),
    "group": (TEXT, ""),  # never on two sides of a split
    "reference": (TEXT, ""),  # id of the reference image
    "distortion": (TEXT, ""),
    "level": (WHOLE, 0),  # 0: none, or not declared
    "scene": (TEXT, ""),  # scene or source
    "official_part": (TEXT, ""),  # train, valid, test or ""
    "official_parts": (TEXT, ""),  # where several splits are published, all: "scene=train device=test"; see `parts_of`
    "is_reference": (FLAG, False),
    "failure": (TEXT, ""),  # why this row cannot be used; "" if it can
    "sha256": (TEXT, ""),  # "": not known yet
    "size": (WHOLE, 0),  # bytes
    "mtime": (WHOLE, 0),  # nanoseconds
    "width": (WHOLE, 0),  # pixels, orientation applied; 0: not known yet
    "height": (WHOLE, 0),
    "looks": (TEXT, ""),  # perceptual hash, hexadecimal; "": not known yet, "-": not decodable
}

PARTS = ("", "train", "valid", "test")
NAN_LABEL = "label is NaN"


def conform(columns: Mapping[str, Any] | pd.DataFrame) -> pd.DataFrame:
    """The manifest table of some columns: missing columns get their defaults, types are set, rows sorted by
    id.

    A labelled row whose mos is NaN gets the failure "label is NaN"; an empty group becomes the image's own
    id.

    Raises:
        DatasetError: an unknown column, an id that is empty or there twice, an unknown official part.
    """
    frame = pd.DataFrame(columns)
    unknown = [name for name in frame.columns if name not in COLUMNS]
    if unknown:
        raise DatasetError(f"manifest columns {', '.join(COLUMNS)}", ", ".join(map(repr, unknown)), "Leave these out.")
    table: dict[str, Any] = {}
    for name, (kind, default) in COLUMNS.items():
        values = frame[name] if name in frame.columns else pd.Series(default, index=frame.index)
        if kind == TEXT:
            table[name] = _text(values)
        elif kind == REAL:
            table[name] = values.astype(np.float64)
        elif kind == WHOLE:
            table[name] = values.fillna(0).astype(np.int64)
        else:
            table[name] = values.astype(bool)
    made = pd.DataFrame(table, columns=list(COLUMNS), copy=False)
    if not texts.ascending(texts.arrow(made["id"])):  # a sort copies the table, and whatever was kept is sorted already
        made = made.sort_values("id", kind="stable")
    _check_ids(made)
    parts = sorted(set(made["official_part"].unique()) - set(PARTS))
    if parts:
        raise DatasetError("official parts train, valid, test", ", ".join(map(repr, parts)), "Correct the reader.")
    made["group"] = made["group"].where(made["group"] != "", made["id"])
    nan = made["mos"].isna() & ~made["is_reference"] & (made["failure"] == "")
    made["failure"] = made["failure"].where(~nan, NAN_LABEL)
    return made.reset_index(drop=True)


def _text(values: Any) -> pd.Series:
    if isinstance(values.dtype, pd.StringDtype):
        return values.fillna("") if values.hasnans else values
    return values.astype(object).where(values.notna(), "").astype(str)


def column(frame: pd.DataFrame, name: str) -> NDArray[Any]:
    """One column as an array (text as objects)."""
    return np.asarray(frame[name])


def select(frame: pd.DataFrame, mask: NDArray[np.bool_]) -> pd.DataFrame:
    """The rows where the mask is true; the frame itself where it is true everywhere."""
    return frame if mask.all() else frame.iloc[np.flatnonzero(mask)]


def parts_of(frame: pd.DataFrame, split: str = "") -> NDArray[Any]:
    """The published part of each row; a dataset with several published splits has names for them.

    Args:
        split: "" for the split of the column `official_part`; else a name that `official_parts` uses ("device").

    Raises:
        DatasetError: no row has a part in a split of this name.
    """
    if not split:
        return column(frame, "official_part")
    parts = _named_parts(frame).get(split)
    if parts is None:
        there = ", ".join(official_names(frame)) or "none with a name"
        raise DatasetError(f"a published split {split!r}", there, "Use one of these.")
    return parts


def official_names(frame: pd.DataFrame) -> list[str]:
    """Names of the published splits, where there are several; that of the column `official_part` is the first."""
    own = column(frame, "official_part")
    return sorted(named := _named_parts(frame), key=lambda name: (not np.array_equal(named[name], own), name))


def _named_parts(frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    rows, texts = pd.factorize(column(frame, "official_parts"))  # few texts, many rows
    told = [dict(pair.split("=", 1) for pair in str(text).split()) for text in texts]
    names = sorted({name for one in told for name in one})
    return {name: np.array([one.get(name, "") for one in told], dtype=object)[rows] for name in names}


def _check_ids(frame: pd.DataFrame) -> None:
    """Of rows sorted by id."""
    empty = int(np.count_nonzero(column(frame, "id") == ""))
    if empty:
        raise DatasetError("an id in every row", f"{empty} rows without one", "Fill them in.")
    again = texts.repeated(texts.arrow(frame["id"]))
    if again:
        raise DatasetError(
            "every image once in the labels",
            f"{len(again)} names again, e.g. {again[0]!r}",
            "Remove the copies: two labels of one image cannot both be right.",
        )


def label_digest(frame: pd.DataFrame) -> str:
    """sha256 of the labels alone: lines `id TAB mos TAB std`, sorted by id, numbers as Python's shortest
    exact text.

    Reference rows carry no label and are left out. Rows, not files, are hashed: two trees with the same
    labels agree.
    """
    rows = select(frame.filter(items=["id", "mos", "std"]), ~column(frame, "is_reference"))
    digest, last = hashlib.sha256(), ""
    for lines in _label_lines(rows):
        if any(one > other for one, other in pairwise([last, *lines])):  # a manifest is sorted; this is another table
            every = sorted(line for some in _label_lines(rows) for line in some)
            return hashlib.sha256("".join(every).encode()).hexdigest()
        digest.update("".join(lines).encode())
        last = lines[-1]
    return digest.hexdigest()


def _label_lines(rows: pd.DataFrame, at_once: int = 100_000) -> Iterator[list[str]]:
    """Some thousands at a time: ten million at once take more memory than their table."""
    for start in range(0, len(rows), at_once):
        some = rows.iloc[start : start + at_once]
        columns = (some[name].tolist() for name in ("id", "mos", "std"))
        yield [f"{name}\t{mos!r}\t{std!r}\n" for name, mos, std in zip(*columns, strict=True)]


def write_manifest(frame: pd.DataFrame, path: Path, dataset: str) -> None:
    """Writes the table as Parquet; version, dataset and label digest are in the file's metadata. Atomic."""
    frame = conform(frame)
    facts = {"manifest_version": str(VERSION), "dataset": dataset, "label_digest": label_digest(frame)}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    pq.write_table(table, part)
    part.replace(path)


def read_manifest(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Reads what `write_manifest` wrote: the table, and version, dataset and label digest.

    Raises:
        DatasetError: not there, not a manifest, a newer version, or labels that do not fit their digest.
    """
    remedy = "Delete the file: it is made again from the label files."
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetError(f"a manifest in {path}", str(error).split("\n")[0], remedy) from error
    facts = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if facts.get("manifest_version") != str(VERSION):
        raise DatasetError(
            f"a manifest of version {VERSION} in {path}", f"version {facts.get('manifest_version')}", remedy
        )
    frame = conform(table.replace_schema_metadata(None).to_pandas())
    del table
    pa.default_memory_pool().release_unused()  # what reading needed beside the table is as large as the table
    if label_digest(frame) != facts.get("label_digest"):
        raise DatasetError(f"labels with the digest that {path} states", "other labels", remedy)
    return frame, facts
