"""A dataset's labels kept beside its stores, so that heads train where the photographs are not. Never holds
pixels.

`<stores>/<dataset>/manifest.parquet` is the manifest, `dataset.json` the declared facts with what the reader
decided.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pandas as pd

from harness.datasets.dataset import Dataset
from harness.datasets.errors import DatasetError
from harness.datasets.manifest import read_manifest, write_manifest
from harness.datasets.spec import DatasetSpec

MANIFEST = "manifest.parquet"
FACTS = "dataset.json"


class _Facts(msgspec.Struct, frozen=True):
    spec: DatasetSpec
    note: str
    unlabelled: int


def save(dataset: Dataset, folder: Path) -> None:
    """Writes manifest and facts into `folder`, each whole or not at all; replaces an earlier copy."""
    write_manifest(dataset.manifest, folder / MANIFEST, dataset.name)
    part = folder / f"{FACTS}.{os.getpid()}.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(_Facts(dataset.spec, dataset.note, dataset.unlabelled))))
    part.replace(folder / FACTS)


def earlier(folder: Path) -> pd.DataFrame | None:
    """The manifest of an earlier `save`, or None: a copy that cannot be read only costs the files being read again."""
    try:
        return read_manifest(folder / MANIFEST)[0]
    except DatasetError:
        return None


def load(folder: Path) -> Dataset:
    """The dataset as `save` kept it; it has no root, so its images cannot be opened.

    Raises:
        DatasetError: not there, or damaged.
    """
    frame, _ = read_manifest(folder / MANIFEST)
    try:
        facts = msgspec.json.decode((folder / FACTS).read_bytes(), type=_Facts)
    except (OSError, msgspec.MsgspecError) as error:
        raise DatasetError(
            f"a dataset's facts in {folder / FACTS}",
            str(error),
            "Run `harness precompute` on it again: encoded images stay.",
        ) from error
    return Dataset(facts.spec, None, frame, facts.note, facts.unlabelled)
