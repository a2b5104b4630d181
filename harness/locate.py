"""Where things are: dataset roots, weights, stores, runs. Each one missing gives one message that says what to type.

Order everywhere: what was typed, then `harness.toml`, then the environment (`IQA_DATA`, `IQA_WEIGHTS`).
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config import FILE, Config
from harness.errors import NotFoundError, UsageError, suggest

NO_FILES = ("random", "cache")  # instead of a weights file: seeded weights, or what the user's own cache holds

if TYPE_CHECKING:
    from cache.encoders.base import EncoderSpec
    from cache.store import FeatureStore
    from harness.datasets.dataset import Dataset
    from harness.datasets.spec import DatasetSpec


def dataset_root(name: str, typed: Path | None, config: Config) -> Path | None:
    """The folder of a dataset, or None where nobody named one.

    Raises:
        NotFoundError: a folder was named and is not there.
    """
    places: list[tuple[Path, str]] = []
    if typed is not None:
        places.append((typed, "--root"))
    if "root" in config.datasets.get(name, {}):
        places.append((config.resolve(config.datasets[name]["root"]), f"[datasets.{name}] root in {config.file}"))
    if "data" in config.paths:
        places.append((config.resolve(config.paths["data"]) / name, f"[paths] data in {config.file}, subfolder {name}"))
    if os.environ.get("IQA_DATA"):
        places.append((Path(os.environ["IQA_DATA"]) / name, f"$IQA_DATA/{name}"))
    for i, (path, source) in enumerate(places):
        if path.is_dir():
            return path
        if i == 0 and source.startswith(("--root", "[datasets")):
            raise NotFoundError(
                f"{name}: expected the dataset's folder at {path} ({source}), found no such folder. Correct the path."
            )
    return None


def needed_root(name: str, typed: Path | None, config: Config) -> Path:
    """As `dataset_root`, for work that cannot go on without the images."""
    root = dataset_root(name, typed, config)
    if root is not None:
        return root
    raise NotFoundError(
        f"{name}: where are its images? Looked at {_looked_at(name, config)}. Type --root DIR, or write into {FILE}:\n"
        f'[datasets.{name}]\nroot = "DIR"\n'
        f"`harness datasets info {name}` says how to obtain it and what the folder must look like."
    )


def _looked_at(name: str, config: Config) -> str:
    """The places where a dataset's folder was looked for, and what lacks there."""
    looked = [f"[datasets.{name}] root in {FILE} (not set)"]
    if "data" in config.paths:
        looked.append(f"{config.resolve(config.paths['data']) / name} (no such folder)")
    looked.append(
        f"{Path(os.environ['IQA_DATA']) / name} (no such folder)"
        if os.environ.get("IQA_DATA")
        else "$IQA_DATA (not set)"
    )
    return "; ".join(looked)


def labels_folder(name: str, typed: Path | None, config: Config) -> Path | None:
    """Where the label files lie if not in the dataset's own folder."""
    if typed is None and "labels" in config.datasets.get(name, {}):
        typed = config.resolve(config.datasets[name]["labels"])
    if typed is not None and not typed.exists():
        raise NotFoundError(
            f"{name}: expected its label files at {typed}, found no such folder or file. Correct --labels."
        )
    return typed


def labelled(name: str, root: Path | None, labels: Path | None, config: Config, stores: Path) -> Dataset:
    """A dataset's labels: read afresh where its folder is known, else as `precompute` saw them (beside its stores).

    Raises:
        NotFoundError: neither is there.
    """
    from harness.datasets import saved
    from harness.datasets.dataset import open_dataset

    beside = labels_folder(name, labels, config)
    folder = dataset_root(name, root, config)
    if folder is None and beside is None:
        if (stores / name / saved.MANIFEST).is_file():
            return saved.load(stores / name)
        raise NotFoundError(
            f"{name}: where are its labels? Looked at {_looked_at(name, config)}. Type --labels DIR (its label files "
            f"are enough) or --root DIR (the whole dataset), or write into {FILE}:\n"
            f'[datasets.{name}]\nlabels = "DIR"\n{_how_to_get_labels(page_of(name, stores), name)}'
        )
    data = open_dataset(name, folder, beside)
    earlier = saved.earlier(stores / name)
    return data if earlier is None else data.remembering(earlier)


def _how_to_get_labels(spec: DatasetSpec | None, name: str) -> str:
    if spec is not None and spec.label_files:
        return f"`harness datasets prepare {name} --to DIR` fetches its label files."
    return f"`harness datasets info {name}` says how to obtain it and what the folder must look like."


def labelled_once(
    root: Path | None, labels: Callable[[str], Path | None], config: Config, stores: Path
) -> Callable[[str], Dataset]:
    """As `labelled`, by name: each dataset's label files are read once, however often it is asked for.

    Args:
        labels: dataset -> where its label files lie, if they lie elsewhere.
    """

    @functools.cache
    def opened(name: str) -> Dataset:
        return labelled(name, root, labels(name), config, stores)

    return opened


def page_of(name: str, stores: Path) -> DatasetSpec | None:
    """What is declared of a dataset: by the registry, else as `precompute` kept it; None where neither knows it."""
    from harness.datasets import saved
    from harness.registry import datasets

    registry = datasets()
    if name in registry.names():
        return registry.get(name)
    return saved.load(stores / name).spec if (stores / name / saved.MANIFEST).is_file() else None


def weights_file(spec: EncoderSpec, typed: Path | None, config: Config) -> Path | None:
    """The weights file of an encoder; None where its weights come with a package or are seeded.

    Raises:
        NotFoundError: none there; says what to type.
    """
    if spec.family == "timm" and (str(typed) in NO_FILES or (typed is None and "." in spec.name)):
        return typed  # without any, its loader says what to type: a dotted name is no key of the file
    if typed is not None or spec.name in config.weights:
        path = typed or config.resolve(config.weights[spec.name])
        if not path.is_file():
            where = "--weights" if typed else f"[weights] {spec.name} in {config.file}"
            raise NotFoundError(
                f"{spec.name}: expected a weights file at {path} ({where}), found none. Correct the path."
            )
        return path
    if spec.embedded:
        return None
    folders = [config.path("weights", "")] if "weights" in config.paths else []
    folders += [Path(os.environ["IQA_WEIGHTS"])] if os.environ.get("IQA_WEIGHTS") else []
    for folder in folders:
        if spec.weights_file and (folder / spec.weights_file).is_file():
            return folder / spec.weights_file
    if not spec.weights_file:
        raise NotFoundError(
            f'{spec.name}: which weights? Type --weights FILE, or write into {FILE}:\n[weights]\n{spec.name} = "FILE"'
            + "\nor type --weights cache (your Hugging Face cache), or --weights random (seeded, stamped UNTRAINED)."
            * (spec.family == "timm")
        )
    looked = "; ".join([str(folder / spec.weights_file) for folder in folders] or ["$IQA_WEIGHTS (not set)"])
    raise NotFoundError(
        f"{spec.name}: where are its weights? Expected {spec.weights_file}; looked at {looked}. Type --weights "
        "FILE, set "
        f'IQA_WEIGHTS to the folder that holds it, write into {FILE}:\n[weights]\n{spec.name} = "FILE"\n'
        f"or fetch it once with its sha256 checked: harness encoders fetch {spec.name} --to DIR"
    )


def stores_under(folder: Path) -> list[Path]:
    """Store folders: `folder` itself, or `folder/<dataset>/<store>`."""
    if (folder / "features" / "zarr.json").is_file():
        return [folder]
    return sorted(header.parents[1] for header in folder.glob("*/*/features/zarr.json"))


def stores_top(folder: Path) -> Path:
    """The folder of `<dataset>/<store>` folders, where that or one store in it was named."""
    return folder.parents[1] if (folder / "features" / "zarr.json").is_file() else folder


def parts_of(store_name: str) -> tuple[str, str]:
    """`<encoder>@<view>-<key8>` -> encoder and view."""
    encoder, _, view = store_name.rpartition("-")[0].partition("@")
    return encoder, view


def find_stores(
    folder: Path, dataset: str | None, encoders: Sequence[str] | None, views: Sequence[str] | None
) -> list[FeatureStore]:
    """The one store that fits each encoder and view, all of one dataset; raises as `find_store`."""
    found: list[FeatureStore] = []
    for encoder in dict.fromkeys(encoders or [None]):
        for view in dict.fromkeys(views or [None]):
            known = found[0] if found else None
            wanted = encoder or (known.identity.encoder.name if known else None)
            found.append(find_store(folder, known.dataset if known else dataset, wanted, view))
    return found


def find_store(
    folder: Path,
    dataset: str | None,
    encoder: str | None = None,
    view: str | None = None,
    store_name: str | None = None,
) -> FeatureStore:
    """The one store that fits; otherwise a message that lists what there is.

    Raises:
        NotFoundError: no store, or none that fits.
        UsageError: several fit.
    """
    from cache.store import FeatureStore

    fitting = fitting_stores(folder, dataset, encoder, view, store_name)
    if len(fitting) == 1:
        return FeatureStore.open(fitting[0])
    told = {
        "--dataset": {path.parent.name for path in fitting},
        "--encoder": {parts_of(path.name)[0] for path in fitting},
        "--view": {parts_of(path.name)[1] for path in fitting},
    }
    flags = ", ".join(flag for flag, values in told.items() if len(values) > 1)
    asked = _asked(dataset, encoder, view, store_name)
    raise UsageError(
        f"{len(fitting)} stores {f'fit {asked}' if asked else 'are there'}; say which by "
        f"{flags}{', or by ' * bool(flags)}--store {folder}/DATASET/STORE:\n{_listing(fitting)}"
    )


def fitting_stores(
    folder: Path,
    dataset: str | None,
    encoder: str | None = None,
    view: str | None = None,
    store_name: str | None = None,
) -> list[Path]:
    """The folders of all stores that fit, at least one.

    Raises:
        NotFoundError: no store, or none that fits.
    """
    there = stores_under(folder)
    if not there:
        what = dataset or "NAME"
        raise NotFoundError(
            f"No feature store in {folder}. Make one first: harness precompute --dataset {what}, or say where: "
            "--store DIR."
        )
    fitting = [
        path
        for path in there
        if (dataset is None or path.parent.name == dataset)
        and (encoder is None or parts_of(path.name)[0] == encoder)
        and (view is None or parts_of(path.name)[1] == view)
        and (store_name is None or path.name == store_name)
    ]
    if fitting:
        return fitting
    asked = _asked(dataset, encoder, view, store_name)
    if store_name:
        encoder, view = parts_of(store_name)
    datasets = {path.parent.name for path in there}
    extra = suggest(dataset, datasets).split(".")[0] if dataset and dataset not in datasets else ""
    raise NotFoundError(
        f"No store in {folder} fits {asked}{extra}. There are:\n{_listing(there)}\n"
        f"Make it first: harness precompute --dataset {dataset or 'NAME'}"
        + (f" --encoder {encoder}" if encoder else "")
        + (f" --view {view}" if view else "")
        + (f" (the store wanted is {store_name})" if store_name else "")
    )


def _asked(dataset: str | None, encoder: str | None, view: str | None, store_name: str | None) -> str:
    typed = (("dataset", dataset), ("encoder", encoder), ("view", view), ("store", store_name))
    return " ".join(f"--{key} {value}" for key, value in typed if value)


def _listing(paths: Sequence[Path]) -> str:
    names = (f"  {path.parent.name:20} {path.name}" for path in paths)
    return "\n".join(
        name + (f"  ({in_words(differs)})" if differs else "")
        for name, differs in zip(names, told_apart(paths), strict=True)
    )


def told_apart(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Of each store, what sets it apart from others of its dataset, encoder and view, as `{"encoder.precision":
    "bf16"}`: their names differ by the key alone. Empty where its name says all.
    """
    from cache.errors import CacheError
    from cache.identity import Identity, what_differs
    from cache.store import FeatureStore

    alike: dict[tuple[str, str], list[Path]] = {}
    for path in paths:
        alike.setdefault((path.parent.name, path.name.rpartition("-")[0]), []).append(path)
    found: dict[Path, dict[str, str]] = {}
    for same in alike.values():
        identities: dict[Path, Identity] = {}
        for path in same if len(same) > 1 else ():
            with contextlib.suppress(CacheError):  # one that is damaged is listed by its name
                identities[path] = FeatureStore.open(path).identity
        found |= zip(identities, what_differs(list(identities.values())), strict=True)
    return [found.get(path, {}) for path in paths]


def in_words(differs: dict[str, str]) -> str:
    """`precision bf16, weights 3fa9c2e1`."""
    return ", ".join(f"{key.rpartition('.')[2]} {value[:24]}" for key, value in differs.items())


def run_folder(run: object, config: Config) -> Path:
    """A run's folder: by path, by its id under the runs folder, or of what `train_head` and `evaluate` returned.

    Raises:
        NotFoundError: no such run.
    """
    text = Path(str(getattr(run, "folder", run)))
    for path in (text, config.path("runs", "runs") / text):
        if (path / "card.json").is_file():
            return path
    runs = config.path("runs", "runs")
    names = [card.parent.name for card in runs.glob("*/card.json")] if runs.is_dir() else []
    raise NotFoundError(f"No run at {text} (expected a folder with card.json){suggest(text.name, names)}")
