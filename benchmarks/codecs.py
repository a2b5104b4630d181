"""Which numbers and which codec: encoder output of real photographs (EfficientNet-lite0, trained weights) as float16,
bfloat16 and 256 steps a channel, and through Zarr's codecs: error, bytes, and time to read.

    SAM_IQA_DATA=... python benchmarks/codecs.py [--images 48] [--rounds 9]

Reads `$SAM_IQA_DATA/images/biq2021` (the photographs whose hashed names come first). One image is one chunk; variants
alternate within a round; a ratio of times is the median over rounds of that round's ratio, in CPU-seconds, against
copying the same rows out of a mapped file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from cache import images
from cache.encoders.efficientnet import EFFICIENTNET_LITE0
from cache.forms import from_lines, to_lines

TAPS = ("stage.2", "stage.6", "head")
CODECS: dict[str, Any] = {
    "none": None,
    "zstd 1": ZstdCodec(level=1),
    "zstd 3": ZstdCodec(level=3),
    "gzip 1": GzipCodec(level=1),
    "blosc lz4 shuffle": BloscCodec(cname="lz4", shuffle="shuffle"),
    "blosc zstd 1 shuffle": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
    "blosc zstd 1 bitshuffle": BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
}


def result(benchmark: str, ratio: float, goal: str = "", **more: Any) -> record.Result:
    """One of many: said as soon as it is found."""
    found = record.result(benchmark, ratio, goal, **more)
    print(json.dumps(found), flush=True)
    return found


def encoded(folder: Path, count: int) -> dict[str, np.ndarray]:
    """Maps of photographs of one size, (n, h, w, C) float32 a tap."""
    encoder, found = EFFICIENTNET_LITE0.load(None, "cpu"), {tap: [] for tap in TAPS}
    files = sorted(folder.rglob("*.jpg"), key=lambda f: hashlib.sha256(f.name.encode()).hexdigest())
    for file in files:
        rgb = images.decode(file.read_bytes())
        if rgb.shape[:2] != (512, 512):
            continue
        maps = encoder.encode(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None], (512, 512), TAPS)
        for tap, values in maps.items():
            found[tap].append(values[0].permute(1, 2, 0).numpy())
        if len(found[TAPS[0]]) == count:
            break
    return {tap: np.stack(values) for tap, values in found.items()}


def errors(tap: str, exact: np.ndarray) -> list[record.Result]:
    """Root mean square of what storing changes, relative to that of the numbers."""
    half = exact.astype(np.float16)
    steps = np.stack([from_lines("map8", to_lines("map8", one)) for one in half])
    ways = {
        "float16": (half, ""),
        "bfloat16": (torch.from_numpy(exact).bfloat16().float().numpy(), ""),
        "map8 (256 steps a channel and image)": (steps, "<= 0.01"),
    }
    whole = np.sqrt(np.square(exact, dtype=np.float64).mean())
    return [
        result(
            f"{tap}: rms error, {name}",
            float(np.sqrt(np.square(stored - exact.astype(np.float64)).mean()) / whole),
            goal,
            bytes_of_float32=stored_bytes,
        )
        for (name, (stored, goal)), stored_bytes in zip(ways.items(), (0.5, 0.5, 0.25), strict=True)
    ]


def reading(tap: str, maps: np.ndarray, top: Path, rounds: int) -> list[record.Result]:
    """Bytes and reading time of every codec."""
    out = np.empty_like(maps[0])
    raw = top / f"{tap}.raw"
    maps.tofile(raw)
    mapped = np.memmap(raw, np.float16, "r", shape=maps.shape)

    def copy() -> None:
        for i in range(len(maps)):
            out[...] = mapped[i]

    coded = [to_lines("map8", one) for one in maps]

    def steps() -> None:
        for lines in coded:
            out[...] = from_lines("map8", lines)

    variants: dict[str, Callable[[], None]] = {"mapped": copy, "map8": steps}
    sizes = {}
    for name, codec in CODECS.items():
        path = top / f"{tap}-{name}"
        array = zarr.create_array(path, shape=maps.shape, dtype="f2", chunks=(1, *maps.shape[1:]), compressors=codec)
        array[:] = maps
        sizes[name] = sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / maps.nbytes

        def read(array: Any = array) -> None:
            for i in range(len(maps)):
                out[...] = array[i]

        read()
        np.testing.assert_array_equal(out, maps[-1])
        variants[name] = read
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, work in variants.items():
            start = time.process_time()
            work()
            if turn:
                seconds[name].append(max(time.process_time() - start, 1e-9))
    slower = {
        name: statistics.median(a / b for a, b in zip(taken, seconds["mapped"], strict=True))
        for name, taken in seconds.items()
    }
    rate = {name: round(maps.nbytes / 1e9 / statistics.median(taken), 3) for name, taken in seconds.items()}
    found = [result(f"{tap}: bytes, {name}", sizes[name], zeros=round(float((maps == 0).mean()), 3)) for name in CODECS]
    return found + [
        result(
            f"{tap}: CPU time to read, {name}, against a mapped file",
            slower[name],
            gb_per_cpu_s=rate[name],
            why="facts to choose by, most without a goal; zarr-python's own time for one small chunk is most of what "
            "it takes to read one, with or without a codec",
        )
        for name in (*CODECS, "map8")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    if not os.environ.get("SAM_IQA_DATA"):
        raise SystemExit("Set SAM_IQA_DATA to the folder that holds images/biq2021.")
    torch.set_num_threads(1)
    zarr.config.set({"async.concurrency": 1, "threading.max_workers": 1})
    maps = encoded(Path(os.environ["SAM_IQA_DATA"]) / "images" / "biq2021", asked.images)
    found: list[record.Result] = []
    with tempfile.TemporaryDirectory() as top:
        for tap, exact in maps.items():
            found += errors(tap, exact)
            found += reading(tap, exact.astype(np.float16), Path(top), asked.rounds)
    record.keep(__file__, found, ["numpy", "torch", "zarr"])


if __name__ == "__main__":
    main()
