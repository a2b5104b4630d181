"""What benchmarks work on: JPEGs of any size from real photographs, and a store that waits for them. Times nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from cache.blocks import PlanItem
from cache.encoders.base import Encoder
from cache.features import expand
from cache.identity import Identity
from cache.images import DECODING, probe
from cache.store import FeatureStore
from cache.views import parse_view
from harness.engines.local import Job


def photographs(folder: Path, count: int, width: int, height: int) -> list[Path]:
    """JPEGs of quality 92, 4:2:0: photographs that scikit-image ships, side by side and mirrored until they fill the
    frame, each file cut at another place, so that detail is that of a camera's own pixels and no two are equal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [np.asarray(Image.fromarray(p).resize((512, 384))) for p in (data.astronaut(), data.coffee(), data.cat())]
    row = np.concatenate([*pieces, *(piece[:, ::-1] for piece in pieces)], axis=1)
    tile = np.concatenate([row, row[::-1, ::-1]])
    repeats = (-(-height // tile.shape[0]) + 1, -(-width // tile.shape[1]) + 1, 1)
    ground = np.tile(tile, repeats)
    files = []
    for i in range(count):
        top, left = (97 * i) % tile.shape[0], (131 * i) % tile.shape[1]
        file = folder / f"{i:04}.jpg"
        Image.fromarray(ground[top : top + height, left : left + width]).save(file, quality=92)
        files.append(file)
    return files


def job(
    root: Path,
    files: Sequence[Path],
    encoder: Encoder,
    features: Sequence[str],
    view: str | None = None,
    resize: str = "pillow",
    batch_size: int | None = None,
) -> Job:
    """A new store below `root` with these files planned."""
    seen = parse_view(view or encoder.spec.view, resize)
    identity = Identity(encoder=encoder.identity, view=seen.identity(), decoding=DECODING)
    store = FeatureStore.create(root, "benchmark", identity, {}, encoder.spec.taps)
    items = []
    for file in files:
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        items.append(PlanItem(file.name, str(file), digest, len(content), 1, *probe(content)))
    store.plan(items, heavy=encoder.spec.heavy)
    wanted = expand(features, [tap.name for tap in encoder.spec.taps])
    return Job(store, wanted, [item.id for item in items], Path("/"), seen, batch_size, {})
