"""`harness precompute`: run a frozen encoder once over a dataset, into a feature store. Plans and prices before it
starts.
"""

from __future__ import annotations

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

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        from harness.console import duration, size

        lines = [
            f"{self.store}",
            f"  {self.images} images in the store ({self.encoded} encoded now in {duration(self.seconds)}, "
            f"{self.already} were there), {size(self.bytes)}",
        ]
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
    view: Annotated[str | None, typer.Option(help="How an image becomes pixels: native, half, long1024 ...")] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"],
        typer.Option(help="Numbers that the encoder computes in; another one is another store."),
    ] = "fp32",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images a forward pass (default: the encoder's own).")
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
    import time
    from collections import Counter

    from cache.images import probe
    from cache.store import FeatureStore
    from harness import console, locate, stamps
    from harness.config import current
    from harness.datasets import saved
    from harness.datasets.dataset import open_dataset
    from harness.engines import local

    config, _ = current()
    folder = locate.needed_root(dataset, root, config)
    data = open_dataset(dataset, folder, locate.labels_folder(dataset, labels, config))
    resolved, chosen_view = resolve_encoder(encoder, weights, view, device, precision)
    wanted = wanted_features(resolved, features)
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
    encoded, seconds = 0, 0.0
    if not (there and if_exists == "skip"):
        with console.progress(f"look at {data.name}", len(chosen), "file") as bar:
            earlier = saved.earlier(stores / data.name)
            if earlier is not None:  # what is known of the other images stays known
                data = data.remembering(earlier)
            data = data.filled(probe, ids=chosen, known=earlier, progress=bar.advance)
        saved.save(data, stores / data.name)
        opened.plan(data.plan_items(chosen), heavy=resolved.spec.heavy, anew=if_exists == "recompute")
        tasks = opened.pending(wanted, chosen)
        for line in announce(opened, resolved, chosen_view, wanted, tasks, len(chosen)):
            console.say(line)
        start = time.monotonic()
        total = sum(len(task.items) for task in tasks)
        with console.progress(f"encode {data.name}", total, "image") as bar:
            sources = dict(zip(data.manifest["id"], data.manifest["scene"], strict=True))
            encoded = local.run(opened, wanted, chosen, folder, sources, resolved, chosen_view, batch_size, bar)
        seconds = time.monotonic() - start
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
        encoded=encoded,
        already=already,
        failed=sum(failures.values()),
        failures=failures,
        missing=data.missing,
        stamps=stamps.ordered([*found, *resolved.stamps]),
        features=[str(f) for f in opened.features()],
        bytes=status.bytes,
        seconds=seconds,
    )


def resolve_encoder(
    name: str, weights: Path | None, view: str | None, device: str, precision: str = "fp32"
) -> tuple[Encoder, View]:
    """The loaded encoder and its view.

    Raises:
        UsageError: unknown encoder, view or device.
        NotFoundError: its weights are not where they were looked for.
        WeightsError: the weights are damaged or of another shape.
    """
    from cache.views import parse_view
    from harness import locate
    from harness.config import current
    from harness.errors import UsageError
    from harness.registry import encoders

    family = encoders().get(name)
    known = family.spec.precisions
    if precision not in known:
        raise UsageError(f"{name} computes in {', '.join(known)}; found --precision {precision}.")
    chosen = {"precision": precision} if len(known) > 1 else {}
    file = locate.weights_file(family.spec, weights, current()[0])
    loaded = family.load(file, pick_device(device), **chosen)
    return loaded, parse_view(view or loaded.spec.view)


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


def wanted_features(encoder: Encoder, asked: list[str] | None) -> list[FeatureName]:
    """The features to make: those asked for, or what the encoder declares."""
    from cache.features import expand

    spec = encoder.spec
    return expand(asked or spec.kept, [tap.name for tap in spec.taps], vectors=spec.vectors)


def chosen_rows(data: Dataset, limit: int | None) -> list[str]:
    """The ids to encode: all that are present, or the N whose hashed ids come first (the same N whatever the row
    order).
    """
    import hashlib

    ids = sorted(str(i) for i in data.manifest.loc[data.manifest["present"], "id"])
    if limit is None or limit >= len(ids):
        return ids
    return sorted(sorted(ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())[:limit])


def announce(
    store: FeatureStore,
    encoder: Encoder,
    view: View,
    wanted: list[FeatureName],
    tasks: list[BlockTask],
    images: int,
) -> list[str]:
    """The lines before the work: key, images, predicted bytes and time."""
    from harness.console import duration, size

    total = sum(len(task.items) for task in tasks)
    lines = [f"{store.dataset} · {store.name} (key {store.key8}) on {encoder.device}"]
    if not total:
        return [*lines, f"{images} images, all encoded; nothing to do"]
    taps = list(dict.fromkeys(name.tap for name in wanted))
    seconds = predicted_seconds(encoder, view, tasks, taps)
    volume = sum(store.predicted_bytes(task, encoder.spec.grid_of(view)) for task in tasks)
    lines.append(
        f"{total} of {images} images to encode, {len(wanted)} features, about {size(volume)}, about {duration(seconds)}"
        + (f" ({encoder.spec.gflop:,.0f} GFLOP an image)" if encoder.spec.gflop else "")
    )
    return lines


def predicted_seconds(encoder: Encoder, view: View, tasks: list[BlockTask], taps: list[str]) -> float:
    """Time for all tasks: a light encoder is timed on a made-up image of the first planned size, a heavy one by its
    GFLOP and this device's measured matrix product (an encoder reaches about half of that)."""
    import time

    import torch

    from cache.encoders.base import Facts, ask

    items = [item for task in tasks for item in task.items]
    if encoder.spec.heavy:
        a = torch.ones(1024, 1024, device=encoder.device)
        (a @ a).sum().item()
        start = time.perf_counter()
        for _ in range(4):
            a = (a @ a) * 1e-4
        a.sum().item()
        rate = 4 * 2 * 1024**3 / max(time.perf_counter() - start, 1e-9)
        return len(items) * encoder.spec.gflop * 1e9 / (0.5 * rate)
    middle = sorted(items, key=lambda item: item.width * item.height)[len(items) // 2]
    width, height = view.size(middle.width, middle.height)
    pixels = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    facts = [Facts(max(middle.size, 1), width, height, 0, "")]  # sizes of a file that cannot be read are 0
    ask(encoder, pixels, (height, width), taps, facts)
    start = time.perf_counter()
    ask(encoder, pixels, (height, width), taps, facts)
    return (time.perf_counter() - start) * len(items)


def _provenance(encoder: Encoder, view: View) -> dict[str, object]:
    """Facts kept in the store's header beside the identity; none of them changes a number."""
    from harness.provenance import packages

    return {
        "encoder": encoder.spec.name,
        "title": encoder.spec.title,
        "licence": encoder.spec.licence,
        "training_data": encoder.spec.training_data,
        "gflop": encoder.spec.gflop,
        "output": encoder.spec.output,
        "features": list(encoder.spec.kept),
        "view": view.name,
        "stamps": list(encoder.stamps),
        "packages": packages(),
    }
