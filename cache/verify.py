"""Reads every row of a store and says which is missing, torn or flipped. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cache.errors import StoreError
from cache.features import MAP
from cache.store import FeatureStore


class Finding(NamedTuple):
    """One thing that is wrong: the file, the image it concerns ("" for a whole file), and what."""

    path: Path
    id: str
    problem: str


def verify(store: FeatureStore) -> list[Finding]:
    """Every row of every feature is read and compared with its commit's checksum; every commit with its digest."""
    found = [
        Finding(path, "", "the commit cannot be read: its block counts as not encoded")
        for path in store.damaged()
    ]
    for name in store.features():
        features = store.select([str(name)])
        features.check = "always"
        for row, image_id in enumerate(features.ids):
            try:
                features.map(str(name), row) if name.what == MAP else features.summary(str(name), row)
            except StoreError as error:
                found.append(
                    Finding(
                        features.file(str(name), row),
                        image_id,
                        f"{name}: {str(error).partition(': ')[2].split('.')[0]}",
                    )
                )
    return found
