"""Made-up encoders and images for the store's tests. Nothing here is a network: means of pixels, so that the right
answer is known. Imported by conftest.py, and by the processes that the crash tests start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cache.blocks import PlanItem
from cache.encode import Item, encode_items
from cache.encoders.base import EncoderSpec, Tap
from cache.features import FeatureName, expand
from cache.identity import EncoderIdentity, Identity
from cache.images import DECODING, probe
from cache.store import FeatureStore
from cache.views import parse_view

SPEC = EncoderSpec(
    name="fake",
    title="Means of pixels, for tests",
    family="fake",
    taps=(Tap("fine", 3, 4), Tap("coarse", 5, 16)),
    output="coarse",
    view="native",
    normalisation="none",
    licence="none",
    source="tests",
    training_data="none",
    gflop=0.0,
    embedded=True,
    untrained=True,
    batch=4,
)


class FakeEncoder:
    """Means of pixels over each step of the grid, in float64: exact, the same in any batch."""

    spec = SPEC
    stamps: tuple[str, ...] = ("UNTRAINED",)
    device = "cpu"

    def __init__(self, weights: str = "none") -> None:
        self.identity = EncoderIdentity("fake", weights, "fake.1", "fp64")
        self.calls: list[tuple[int, ...]] = []

    def load(self, weights: Path | None, device: str) -> FakeEncoder:
        return self

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
        self.calls.append(tuple(pixels.shape))
        x = pixels[:, :, : valid[0], : valid[1]].double()
        found = {}
        for tap in taps:
            stride = next(t.stride for t in SPEC.taps if t.name == tap)
            b, _, h, w = x.shape
            gh, gw = -(-h // stride), -(-w // stride)
            padded = torch.nn.functional.pad(x, (0, gw * stride - w, 0, gh * stride - h))
            means = padded.reshape(b, 3, gh, stride, gw, stride).mean(dim=(3, 5))
            found[tap] = (means if tap == "fine" else torch.cat([means, means[:, :2] ** 2 / 99], dim=1)).float()
        return found


def identity(weights: str = "none") -> Identity:
    return Identity(FakeEncoder(weights).identity, parse_view("native").identity(), DECODING)


def new_store(root: Path, weights: str = "none") -> FeatureStore:
    return FeatureStore.create(root, "set", identity(weights), {"made": "by a test"}, SPEC.taps)


def write_image(path: Path, width: int, height: int, seed: int) -> Path:
    """A PNG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_images(folder: Path, sizes: Sequence[tuple[int, int]], seed: int = 0) -> list[str]:
    """i000.png, i001.png ... of the given (width, height)."""
    names = [f"i{i:03}.png" for i in range(len(sizes))]
    for i, (name, (width, height)) in enumerate(zip(names, sizes, strict=True)):
        write_image(folder / name, width, height, 1000 * seed + i)
    return names


def look(folder: Path, names: Iterable[str]) -> list[PlanItem]:
    """Images as they are now; one that cannot be looked at has size 0, one that is not there no sha256 either."""
    items = []
    for name in names:
        path = folder / name
        if not path.is_file():
            items.append(PlanItem(name, name, "", 0, 0, 0, 0))
            continue
        data, stat = path.read_bytes(), path.stat()
        try:
            width, height = probe(data)
        except Exception:
            width = height = 0
        digest = hashlib.sha256(data).hexdigest()
        items.append(PlanItem(name, name, digest, len(data), stat.st_mtime_ns, width, height))
    return items


def features(*patterns: str) -> list[FeatureName]:
    return expand(patterns, [tap.name for tap in SPEC.taps])


def work(
    store: FeatureStore,
    folder: Path,
    wanted: Sequence[FeatureName],
    ids: Sequence[str],
    encoder: Any = None,
    batch_size: int | None = None,
) -> int:
    """What an engine does with a planned store: encodes what is pending; returns how many images."""
    encoder, view = encoder or FakeEncoder(), parse_view("native")
    done = 0
    for _ in range(3):
        for task in store.pending(wanted, ids):
            items = [Item(i.id, folder / i.path, i.sha256, i.width, i.height) for i in task.items]
            rows = list(encode_items(items, encoder, view, task.features, batch_size=batch_size, threads=1))
            store.write(task, rows, SPEC.grid_of(view))
            done += len(rows)
    return done


def fill(
    root: Path, folder: Path, names: Sequence[str], patterns: Sequence[str] = ("*:map", "*:moments"), **more: Any
) -> FeatureStore:
    """`precompute` in small: looks, plans and encodes."""
    store = new_store(root)
    store.plan(look(folder, names), heavy=True)
    work(store, folder, features(*patterns), names, **more)
    return store


def truth(path: Path, name: FeatureName) -> np.ndarray:
    """What a store must hold for an image, computed without one."""
    rgb = np.array(Image.open(path).convert("RGB"))
    maps = FakeEncoder().encode(torch.from_numpy(rgb).permute(2, 0, 1)[None], rgb.shape[:2], [name.tap])[name.tap]
    if name.what.startswith("map"):
        exact = maps[0].permute(1, 2, 0).half().numpy()
        return exact if name.what == "map" else in_256_steps(exact)
    flat = maps[0].half().double().flatten(1)  # summaries are of what is stored
    std = flat.std(1) if flat.shape[1] > 1 else torch.zeros(len(flat), dtype=torch.float64)
    return torch.cat([flat.mean(1), std]).float().numpy()


def in_256_steps(exact: np.ndarray) -> np.ndarray:
    """What a map8 gives back of a map, number by number."""
    found = np.empty_like(exact)
    for c in range(exact.shape[2]):
        channel = exact[:, :, c].astype(np.float32)
        low, step = channel.min(), (channel.max() - channel.min()) / np.float32(255)
        for at, value in np.ndenumerate(channel):
            code = round(float((value - low) / step)) if step > 0 else 0  # round half to even, as rint does
            found[(*at, c)] = np.float16(np.float32(code) * step + low)
    return found


def stored(store: FeatureStore, name: FeatureName) -> dict[str, np.ndarray]:
    """Everything that a store holds of one feature."""
    rows = store.select_any([str(name)])
    read = rows.map if name.what.startswith("map") else rows.summary
    return {image_id: read(str(name), i) for i, image_id in enumerate(rows.ids)}


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def tear(path: Path, cut: int) -> None:
    """Takes the last bytes away."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-cut])


def flip(path: Path, position: int, bits: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= bits
    path.unlink()  # a new file, so that what a reader has mapped stays as it was
    path.write_bytes(data)
