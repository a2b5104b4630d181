"""`harness precompute`: run a frozen encoder once over a dataset, into a feature store. Plans and prices before it
starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from cache.blocks import BlockTask
    from cache.encoders.base import Encoder
    from cache.features import FeatureName
    from cache.store import FeatureStore
    from cache.views import View
    from harness.datasets.dataset import Dataset
    from harness.engines.local import Job
    from harness.engines.speed import Speed


class Stored(msgspec.Struct, frozen=True):
    """The store of one view, after a `precompute`.

    Attributes:
        images: that are in it now; `already`: of those asked for, how many were before.
        failures: reasons -> images.
    """

    path: str
    key: str
    view: str
    images: int
    already: int
    failed: int
    failures: dict[str, int]
    features: list[str]
    bytes: int

    def lines(self) -> list[str]:
        """What a person reads of it."""
        from harness.console import size

        there = f", of those asked for {self.already} were there before" if self.already else ""
        lines = [self.path, f"  {self.images} images{there}, {size(self.bytes)}"]
        if self.failed:
            why = ", ".join(f"{n} {reason}" for reason, n in sorted(self.failures.items()))
            lines.append(f"  {self.failed} images failed: {why} (`harness stores info` lists them)")
        if "changed" in self.failures:
            lines.append("  changed: other bytes than at the last look; the same command again reads such a file anew")
        return lines


class Precomputed(msgspec.Struct, frozen=True):
    """What one `precompute` left behind.

    Attributes:
        stores: one a view, in the order asked for.
        encoded: images that were encoded now, counted in each view.
        missing: images of the dataset that are not on this disk.
    """

    stores: list[Stored]
    encoded: int
    missing: int
    stamps: list[str]
    seconds: float
    speed: Speed | None

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        from harness.console import duration

        lines = [line for store in self.stores for line in store.lines()]
        lines.append(f"  {self.encoded} encoded now in {duration(self.seconds)}")
        if self.speed is not None:
            lines.append(f"  {self.speed}")
        if self.missing:
            lines.append(f"  {self.missing} images of the dataset are not on this disk")
        if self.stamps:
            lines.append(f"  stamped {' '.join(self.stamps)}")
        return Text("\n".join(lines))


@verb
def precompute(
    dataset: Annotated[str, typer.Option(help="A name of `harness datasets ls`, or NAME of a folder dataset.")],
    root: Annotated[Path | None, typer.Option(help="Its folder (default: harness.toml, $IQA_DATA/NAME).")] = None,
    labels: Annotated[Path | None, typer.Option(help="Its label files, where they lie elsewhere.")] = None,
    encoder: Annotated[str, typer.Option(help="A name of `harness encoders ls`.")] = "sam-vit-b",
    weights: Annotated[Path | None, typer.Option(help="Weights file (default: harness.toml, $IQA_WEIGHTS).")] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            help="TAP:WHAT, several allowed: neck:map '*:moments' (default: what the encoder declares, which is mostly "
            "the output's map and all moments)."
        ),
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(
            help="How an image becomes pixels: native, half, long1024, crops5x224, tiles512 ...; several, as native "
            "half, are several stores from one reading of each image."
        ),
    ] = None,
    resize: Annotated[
        Literal["pillow", "torch"],
        typer.Option(
            help="Who resizes: pillow (SAM's own pixels), or torch (several times as fast, within one grey level); "
            "another one is another store."
        ),
    ] = "pillow",
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"],
        typer.Option(help="Numbers that the encoder computes in; another one is another store."),
    ] = "fp32",
    device: Annotated[
        str,
        typer.Option(
            help="cpu, cuda, cuda:1, mps or auto; several with commas, cuda:0,cuda:1: a process each; openvino for SAM "
            "and ONNX on a processor."
        ),
    ] = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images a forward pass (default: the encoder's own; on a GPU, what is fastest)."),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="The stores' folder (default: ./stores).")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only N images (stamped LIMITED); run again without it to go on."),
    ] = None,
    if_exists: Annotated[
        Literal["resume", "skip", "fail", "recompute"],
        typer.Option(help="What to do with a store that is there already."),
    ] = "resume",
) -> Precomputed:
    """Encodes a dataset once, into a feature store; the same command again goes on where it stopped.

    Examples:
    harness precompute --dataset spaq
    harness precompute --dataset biq2021 --root iqa/biq2021 --encoder efficientnet-lite0
    harness precompute --dataset biq2021 --features neck:map 'block.*:moments' --limit 100
    harness precompute --dataset biq2021 --encoder efficientnet-lite0 --view native half

    Returns:
        Each view's store with its counts; stamps, seconds and speed.

    Raises:
        NotFoundError: dataset root or weights are not where they were looked for.
        CacheError: damaged weights, another identity at that place.
    """
    from cache.images import probe
    from harness import console, locate, stamps
    from harness.config import current
    from harness.datasets import saved
    from harness.datasets.dataset import open_dataset
    from harness.devices import encoder_device
    from harness.engines import local, processes, speed
    from harness.recipe import recipe, resolve_encoder

    config, _ = current()
    folder = locate.needed_root(dataset, root, config)
    data = open_dataset(dataset, folder, locate.labels_folder(dataset, labels, config))
    devices = [encoder_device(one.strip()) for one in device.split(",")]
    resolved, views = resolve_encoder(encoder, weights, view, devices[0], precision, resize)
    stores = store or config.path("stores", "stores")
    wanted = [wanted_features(resolved, one, features) for one in views]  # before a store is made for any
    opened = [
        _Opened(_store(stores, data.name, resolved, one), one, names) for one, names in zip(views, wanted, strict=True)
    ]
    there = [one.store for one in opened if one.store.ids()]
    if there and if_exists == "fail":
        from harness.errors import ProtocolError

        raise ProtocolError(
            f"{there[0].path}: holds {len(there[0].ids())} images already, and --if-exists fail was asked for. "
            "Leave it out to go on with it, or choose another --store."
        )
    chosen = chosen_rows(data, limit)
    already = {one.view.name: len(set(one.store.ids()) & set(chosen)) for one in opened}
    todo = [one for one in opened if not (if_exists == "skip" and one.store in there)]
    work, reached = speed.Work(0, 0.0, 0.0, 0.0), None
    if todo:
        with console.progress(f"look at {data.name}", len(chosen), "file") as bar:
            earlier = saved.earlier(stores / data.name)
            if earlier is not None:  # what is known of the other images stays known
                data = data.remembering(earlier)
            known = None if if_exists == "recompute" else _believed(earlier, [one.store for one in opened])
            data = data.filled(probe, ids=chosen, known=known, progress=bar.advance)
        saved.save(data, stores / data.name)
        jobs = [_job(one, data, chosen, if_exists == "recompute", batch_size, devices, resolved) for one in todo]
        asked = [(job.view, [item for task in job.pending() for item in task.items]) for job in jobs]
        with console.progress(f"encode {data.name}", sum(len(items) for _, items in asked), "image") as bar:
            failed = 0

            def advance(bad: bool) -> None:
                nonlocal failed
                failed += bad
                bar.advance(note=f"{failed} failed" if failed else "")

            if len(devices) == 1:
                work = local.run(jobs, resolved, advance)
            else:
                work = processes.run(jobs, recipe(encoder, weights, precision), devices, advance)
        if work.images:
            reached = speed.speed(work, resolved, asked, devices)
    found = stamps.of_data(
        missing=data.missing,
        encoded=min(len(one.store.ids()) + len(one.store.failures()) for one in opened),
        present=data.present,
        proxy=data.scale.kind == "proxy",
    )
    return Precomputed(
        stores=[_stored(one.store, one.view, already[one.view.name]) for one in opened],
        encoded=work.images,
        missing=data.missing,
        stamps=stamps.ordered([*found, *resolved.stamps]),
        seconds=work.seconds,
        speed=reached,
    )


class _Opened(NamedTuple):
    store: FeatureStore
    view: View
    wanted: list[FeatureName]


def _believed(earlier: pd.DataFrame | None, stores: list[FeatureStore]) -> pd.DataFrame | None:
    """The rows of an earlier manifest that no store contradicts. A file may be another although size and time are what
    they were; once that was noticed (it failed as changed, `stores verify` read it) it is read again.
    """
    import numpy as np

    from harness.datasets.manifest import column, select

    if earlier is None:
        return None
    seen = [store.seen() for store in stores]
    rows = zip(column(earlier, "id"), column(earlier, "sha256"), strict=True)
    return select(earlier, np.array([all(s.get(i, known) == known for s in seen) for i, known in rows], dtype=bool))


def _store(stores: Path, dataset: str, encoder: Encoder, view: View) -> FeatureStore:
    """The store of one view, made where there is none."""
    from cache.store import FeatureStore
    from harness.recipe import identity_of

    facts = _provenance(encoder, view)
    return FeatureStore.create(stores, dataset, identity_of(encoder, view), facts, encoder.spec.taps)


def _job(
    opened: _Opened,
    data: Dataset,
    chosen: list[str],
    anew: bool,
    batch_size: int | None,
    devices: list[str],
    encoder: Encoder,
) -> Job:
    """Plans what is to be encoded into one store, and says what it will cost."""
    from harness import console
    from harness.engines.batch import batch_size as found
    from harness.engines.local import Job

    assert data.root is not None  # it was asked for
    store, view, wanted = opened
    store.plan(data.plan_items(chosen), heavy=encoder.spec.heavy, anew=anew)
    tasks = store.pending(wanted, chosen)
    for line in announce(store, encoder, view, wanted, tasks, len(chosen), devices):
        console.say(line)
    together = batch_size or found(store, encoder, view, tasks)
    scenes = dict(zip(data.manifest["id"], data.manifest["scene"], strict=True)) if encoder.spec.reads_facts else {}
    return Job(store, wanted, chosen, data.root, view, together, scenes)


def _stored(store: FeatureStore, view: View, already: int) -> Stored:
    from collections import Counter

    status, failures = store.status(), dict(Counter(reason for _, reason in store.failures()))
    return Stored(
        path=str(store.path),
        key=store.key8,
        view=view.name,
        images=status.ok,
        already=already,
        failed=sum(failures.values()),
        failures=failures,
        features=[str(f) for f in store.features()],
        bytes=status.bytes,
    )


def wanted_features(encoder: Encoder, view: View, asked: list[str] | None) -> list[FeatureName]:
    """The features to make: those asked for, or what the encoder declares.

    Raises:
        UsageError: a map of images that become several pictures each.
    """
    from cache.features import MAP, expand
    from harness.errors import UsageError

    spec = encoder.spec
    default = [kept for kept in spec.kept if not (view.several and kept.endswith(f":{MAP}"))]
    wanted = expand(asked or default, [tap.name for tap in spec.taps], vectors=spec.vectors)
    maps = [str(name) for name in wanted if name.what == MAP]
    if view.several and maps:
        raise UsageError(
            f"Expected summaries, which {view.name} takes over the several pictures that it makes of an image; found "
            f"{', '.join(maps)}. Ask for a summary (--features '*:moments'), or for maps in another view."
        )
    return wanted


def chosen_rows(data: Dataset, limit: int | None) -> list[str]:
    """The ids to encode: all that are present, or the N whose hashed ids come first (the same N whatever the row
    order).
    """
    from harness.datasets.dataset import first_by_hash

    return first_by_hash(map(str, data.manifest.loc[data.manifest["present"], "id"]), limit)


def announce(
    store: FeatureStore,
    encoder: Encoder,
    view: View,
    wanted: list[FeatureName],
    tasks: list[BlockTask],
    images: int,
    devices: list[str],
) -> list[str]:
    """The lines before the work: key, images, predicted bytes and time."""
    from harness.console import duration, size
    from harness.engines.speed import gflop

    items = [item for task in tasks for item in task.items]
    total = len(items)
    lines = [f"{store.dataset} · {store.name} (key {store.key8}) on {', '.join(devices)}"]
    if not total:
        return [*lines, f"{images} images, all encoded; nothing to do"]
    taps = list(dict.fromkeys(name.tap for name in wanted))
    seconds = predicted_seconds(encoder, view, tasks, taps) / len(set(devices))
    volume = sum(store.predicted_bytes(task, encoder.spec.grid_of(view)) for task in tasks)
    if total > images:
        lines.append(f"the {images} images asked for were planned with others before, in blocks that are made whole:")
    many = f"{total}" if total > images else f"{total} of {images}"
    lines.append(
        f"{many} images to encode, {len(wanted)} features, about {size(volume)}, about {duration(seconds)}"
        + (f" ({gflop(encoder, view, items) / total:,.0f} GFLOP an image)" if encoder.spec.heavy else "")
    )
    return lines


def predicted_seconds(encoder: Encoder, view: View, tasks: list[BlockTask], taps: list[str]) -> float:
    """Time for all tasks, in proportion to pixels: a light encoder is timed on a made-up picture of the middle planned
    size, a heavy one is taken by its GFLOP and this device's measured matrix product (an encoder reaches about half of
    that).
    """
    import time

    from cache.encoders.base import made_up
    from harness.engines.speed import gflop, peak_gflops

    items = [item for task in tasks for item in task.items]
    if encoder.spec.heavy:
        rate = peak_gflops(encoder.device, encoder.identity.precision)
        return gflop(encoder, view, items) / (0.5 * rate)
    middle = sorted(items, key=lambda item: item.width * item.height)[len(items) // 2]
    boxes = view.boxes(middle.width, middle.height)
    pixels = sum(box.width * box.height for box in boxes)
    width, height = boxes[0].width, boxes[0].height
    made_up(encoder, width, height, taps)
    start = time.perf_counter()
    made_up(encoder, width, height, taps)
    return (time.perf_counter() - start) * len(items) * pixels / (width * height)


def _provenance(encoder: Encoder, view: View) -> dict[str, object]:
    """Facts kept in the store's header beside the identity; none of them changes a number."""
    from cache.encoders.base import trained_on
    from harness.provenance import packages

    return {
        "encoder": encoder.spec.name,
        "title": encoder.spec.title,
        "licence": encoder.spec.licence,
        "training_data": encoder.spec.training_data,
        "trained_on": list(trained_on(encoder)),
        "gflop": encoder.spec.gflop,
        "output": encoder.spec.output,
        "features": list(encoder.spec.kept),
        "view": view.name,
        "stamps": list(encoder.stamps),
        "packages": packages(),
    }
