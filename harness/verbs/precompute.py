"""`harness precompute`: run a frozen encoder once over a dataset, into a feature store. Plans and prices before it
starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from harness.config import verb

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cache.blocks import BlockTask
    from cache.encoders.base import Encoder
    from cache.features import FeatureName
    from cache.identity import Identity
    from cache.store import FeatureStore
    from cache.views import View
    from harness.datasets.dataset import Dataset
    from harness.engines.speed import Speed


class Precomputed(msgspec.Struct, frozen=True):
    """What one `precompute` left behind."""

    store: str
    key: str
    images: int
    encoded: int
    already: int
    failed: int
    failures: dict[str, int]
    missing: int
    stamps: list[str]
    features: list[str]
    bytes: int
    seconds: float
    speed: Speed | None

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        from harness.console import duration, size

        lines = [
            f"{self.store}",
            f"  {self.images} images in the store ({self.encoded} encoded now in {duration(self.seconds)}, "
            f"{self.already} were there), {size(self.bytes)}",
        ]
        if self.speed is not None:
            lines.append(f"  {self.speed}")
        if self.failed:
            why = ", ".join(f"{n} {reason}" for reason, n in sorted(self.failures.items()))
            lines.append(f"  {self.failed} images failed: {why} (`harness stores info` lists them)")
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
        str | None, typer.Option(help="How an image becomes pixels: native, half, long1024, crops5x224, tiles512 ...")
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

    Returns:
        Counts, the store's path and key, stamps and seconds.

    Raises:
        NotFoundError: dataset root or weights are not where they were looked for.
        CacheError: damaged weights, another identity at that place.
    """
    from collections import Counter

    from cache.images import probe
    from cache.store import FeatureStore
    from harness import console, locate, stamps
    from harness.config import current
    from harness.datasets import saved
    from harness.datasets.dataset import open_dataset
    from harness.engines import batch, local, processes, speed
    from harness.recipe import recipe

    config, _ = current()
    folder = locate.needed_root(dataset, root, config)
    data = open_dataset(dataset, folder, locate.labels_folder(dataset, labels, config))
    devices = [encoder_device(one.strip()) for one in device.split(",")]
    resolved, chosen_view = resolve_encoder(encoder, weights, view, devices[0], precision, resize)
    wanted = wanted_features(resolved, chosen_view, features)
    stores = store or config.path("stores", "stores")
    opened = FeatureStore.create(
        stores,
        data.name,
        identity_of(resolved, chosen_view),
        _provenance(resolved, chosen_view),
        resolved.spec.taps,
    )
    there = bool(opened.ids())
    if there and if_exists == "fail":
        from harness.errors import ProtocolError

        raise ProtocolError(
            f"{opened.path}: holds {len(opened.ids())} images already, and --if-exists fail was asked for. "
            "Leave it out to go on with it, or choose another --store."
        )
    chosen = chosen_rows(data, limit)
    already = len(set(opened.ids()) & set(chosen))
    work, reached = speed.Work(0, 0.0, 0.0), None
    if not (there and if_exists == "skip"):
        with console.progress(f"look at {data.name}", len(chosen), "file") as bar:
            earlier = saved.earlier(stores / data.name)
            if earlier is not None:  # what is known of the other images stays known
                data = data.remembering(earlier)
            data = data.filled(probe, ids=chosen, known=earlier, progress=bar.advance)
        saved.save(data, stores / data.name)
        opened.plan(data.plan_items(chosen), heavy=resolved.spec.heavy, anew=if_exists == "recompute")
        tasks = opened.pending(wanted, chosen)
        for line in announce(opened, resolved, chosen_view, wanted, tasks, len(chosen), devices):
            console.say(line)
        together = batch_size or batch.batch_size(opened, resolved, chosen_view, tasks)
        reads = resolved.spec.reads_facts
        sources = dict(zip(data.manifest["id"], data.manifest["scene"], strict=True)) if reads else {}
        job = local.Job(opened, wanted, chosen, folder, chosen_view, together, sources)
        items = [item for task in tasks for item in task.items]
        with console.progress(f"encode {data.name}", len(items), "image") as bar:

            def advance(failed: int) -> None:
                bar.advance(note=f"{failed} failed" if failed else "")

            if len(devices) == 1:
                work = local.run(job, resolved, advance)
            else:
                work = processes.run(job, recipe(encoder, weights, precision), devices, advance)
        if items:
            reached = speed.speed(work, resolved, chosen_view, items, devices)
    status = opened.status()
    failures = dict(Counter(reason for _, reason in opened.failures()))
    found = stamps.of_data(
        missing=data.missing,
        encoded=len(opened.ids()) + sum(failures.values()),
        present=data.present,
        proxy=data.scale.kind == "proxy",
    )
    return Precomputed(
        store=str(opened.path),
        key=opened.key8,
        images=status.ok,
        encoded=work.images,
        already=already,
        failed=sum(failures.values()),
        failures=failures,
        missing=data.missing,
        stamps=stamps.ordered([*found, *resolved.stamps]),
        features=[str(f) for f in opened.features()],
        bytes=status.bytes,
        seconds=work.seconds,
        speed=reached,
    )


def resolve_encoder(
    name: str,
    weights: Path | None,
    view: str | None,
    device: str,
    precision: str = "fp32",
    resize: str = "pillow",
) -> tuple[Encoder, View]:
    """The loaded encoder and its view.

    Raises:
        UsageError: unknown encoder, view, resize or device.
        NotFoundError: its weights are not where they were looked for.
        WeightsError: the weights are damaged or of another shape.
    """
    from cache.encoders.base import seen_through
    from cache.views import parse_view
    from harness.recipe import recipe

    loaded = recipe(name, weights, precision).load(encoder_device(device))
    chosen_view = parse_view(view or loaded.spec.view, resize)
    seen_through(loaded, chosen_view)  # refuses what it would refuse at the first image
    return loaded, chosen_view


def encoder_device(device: str) -> str:
    """As `pick_device`, and `openvino`, which is none of torch's."""
    from cache.encoders.base import OPENVINO

    return device if device == OPENVINO else pick_device(device)


def pick_device(device: str) -> str:
    """`auto` -> the best device there is; anything else is checked.

    Raises:
        UsageError: this machine or this torch has no such device.
    """
    import torch

    from harness.errors import UsageError

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(
            f"--device {device}: torch {torch.__version__} cannot use it here ({reason}). Try cpu or auto."
        ) from error
    return device


def identity_of(encoder: Encoder, view: View) -> Identity:
    """What the numbers of a store mean: encoder, view and decoding rule."""
    from cache.identity import Identity
    from cache.images import DECODING

    return Identity(encoder=encoder.identity, view=view.identity(), decoding=DECODING)


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
    return first_by_hash(map(str, data.manifest.loc[data.manifest["present"], "id"]), limit)


def first_by_hash(ids: Iterable[str], count: int | None) -> list[str]:
    """As many ids as asked (None: all), those whose hashes come first; sorted."""
    import hashlib

    return sorted(sorted(ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())[:count])


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

    total = sum(len(task.items) for task in tasks)
    lines = [f"{store.dataset} · {store.name} (key {store.key8}) on {', '.join(devices)}"]
    if not total:
        return [*lines, f"{images} images, all encoded; nothing to do"]
    taps = list(dict.fromkeys(name.tap for name in wanted))
    seconds = predicted_seconds(encoder, view, tasks, taps) / len(set(devices))
    volume = sum(store.predicted_bytes(task, encoder.spec.grid_of(view)) for task in tasks)
    lines.append(
        f"{total} of {images} images to encode, {len(wanted)} features, about {size(volume)}, about {duration(seconds)}"
        + (f" ({encoder.spec.gflop:,.0f} GFLOP an image)" if encoder.spec.gflop else "")
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
