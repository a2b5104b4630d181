"""One floor below the verbs, for people who write Python: datasets, stores, encoders, heads and scores by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from cache.encoders.base import Encoder
    from cache.store import FeatureStore
    from harness.datasets.dataset import Dataset
    from heads.base import Head
    from reports.scores import Scores


def dataset(name: str, root: str | Path | None = None, labels: str | Path | None = None) -> Dataset:
    """A dataset on this disk, with its labels.

    Args:
        root: its folder; default as for the command line (harness.toml, $IQA_DATA/NAME).
        labels: its label files, where they lie elsewhere.

    Raises:
        NotFoundError, DatasetError: folder, tree or labels are not as expected.
    """
    from harness import config, locate
    from harness.datasets.dataset import open_dataset

    settings = config.load()
    folder = locate.needed_root(name, Path(root) if root else None, settings)
    return open_dataset(name, folder, locate.labels_folder(name, Path(labels) if labels else None, settings))


def open_store(path: str | Path) -> FeatureStore:
    """A feature store by its folder.

    Raises:
        StoreError: not a store, or one of a newer format.
    """
    from cache.store import FeatureStore

    return FeatureStore.open(Path(path))


def encoder(name: str, weights: str | Path | None = None, device: str = "auto") -> Encoder:
    """A loaded encoder by name."""
    from harness.recipe import resolve_encoder

    return resolve_encoder(name, Path(weights) if weights else None, None, device)[0]


def head(variant: str, **settings: Any) -> Head:
    """An unfitted head: `harness.head("ridge").fit(examples, plan)`.

    Raises:
        UsageError: unknown head (with the nearest name).
        HeadError: unknown setting.
    """
    from harness.registry import heads

    return heads().get(variant)(settings)


def score(quality: np.ndarray, prediction: np.ndarray) -> Scores:
    """SRCC, PLCC raw and fitted, KRCC and RMSE of predictions, each with n.

    Args:
        quality: (n,) labels, higher is better.
        prediction: (n,) predictions on any scale, higher is better; not finite counts as failed.
    """
    from reports.scores import score as run

    return run(quality, prediction)
