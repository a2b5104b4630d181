"""Decoding and resizing 12-megapixel JPEGs, ours against Pillow's: CPU time on one core, and scaling with cores.

    OMP_NUM_THREADS=1 python benchmarks/decode.py [--images 4] [--rounds 7]

Pillow's way is what `segment-anything`'s users do: open, convert to RGB, resize the longer side to 1024. Ours is timed
with both resizers; pixels are compared before. Variants take turns over the same files, medians are compared;
the bare calls of simplejpeg (into memory that is there) and of torch, the most that can be reached by them, are among
them. Scaling is wall time of one thread over that of a thread a core with as many times the files, of the fast way.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import material
import numpy as np
import record
import simplejpeg
import torch
from PIL import Image

from cache import images
from cache.ahead import Room
from cache.views import parse_view

WIDTH, HEIGHT, LONG = 4000, 3000, 1024


def pillow(content: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    return np.asarray(picture.resize((LONG, LONG * HEIGHT // WIDTH), Image.Resampling.BILINEAR))


def pillow_decode(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def ours(resize: str) -> Callable[[bytes], np.ndarray]:
    """As `precompute` does it: a thread decodes into memory that it holds."""
    view, room = parse_view(f"long{LONG}", resize), Room()
    return lambda content: view.apply(images.decode(content, room=room.of(WIDTH, HEIGHT, [view])))


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    settings = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        contents = [f.read_bytes() for f in material.photographs(Path(folder), settings.images, WIDTH, HEIGHT)]
    exact, fast = ours("pillow"), ours("torch")
    there, view = np.empty((HEIGHT, WIDTH, 3), np.uint8), parse_view(f"long{LONG}", "torch")
    variants: dict[str, Callable[[bytes], np.ndarray]] = {
        "pillow": pillow,
        "exact": exact,
        "fast": fast,
        "pillow decode": pillow_decode,
        "decode": images.decode,
        "simplejpeg": lambda content: simplejpeg.decode_jpeg(content, "RGB", buffer=there),
        "resize": lambda _: view.apply(there),
    }
    furthest = 0
    for content in contents:
        expected = pillow(content)
        np.testing.assert_array_equal(exact(content), expected)
        np.testing.assert_array_equal(images.decode(content), pillow_decode(content))
        furthest = max(furthest, int(np.abs(fast(content).astype(int) - expected).max()))
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(settings.rounds):
        for name, run in variants.items():
            start = time.process_time()
            for content in contents:
                run(content)
            seconds[name].append((time.process_time() - start) / len(contents))
    took = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in took.items():
        print(f"{name:14} {value * 1e3:6.1f} ms of CPU an image")
    results = [
        record.result(
            "decode + resize of 12 MP, within one grey level, one core, against Pillow",
            took["pillow"] / took["fast"],
            ">= 2.4",
            cpu_ms={name: round(value * 1e3, 1) for name, value in took.items()},
            most_grey_levels_off=furthest,
            by_the_bare_calls=round(took["pillow"] / (took["simplejpeg"] + took["resize"]), 3),
            why="decode + resize: ours takes as long as simplejpeg's bare call into memory that is there and torch's "
            "resize (58 and 14 ms); Pillow's time swings with the price of a fresh page (158 and 239 ms on one machine "
            "within a day)",
            seen=[2.1, 2.8],
        ),
        record.result(
            "decode + resize of 12 MP, Pillow's own pixels, one core", took["pillow"] / took["exact"], ">= 1"
        ),
        record.result(
            "decode of 12 MP, Pillow's own pixels, one core",
            took["pillow decode"] / took["decode"],
            ">= 1.9",
            by_the_bare_call=round(took["pillow decode"] / took["simplejpeg"], 3),
            why="decode: ours is simplejpeg's bare call and fresh memory for the pixels, and Pillow does the same work "
            "by the same library; what Pillow takes beyond that are four bytes a pixel and two more copies, in 32,000 "
            "fresh pages of 4 kB where NumPy asks for 18 large ones. So the ratio is the price of a page: it is 1.5 "
            "with large pages for Pillow too (GLIBC_TUNABLES=glibc.malloc.hugetlb=1)",
            seen=[1.7, 2.4],
        ),
        record.result(
            f"scaling with cores: {os.cpu_count()} threads against one",
            scaling(fast, contents, settings.rounds),
            ">= 0.9",
            why="scaling: two threads share the memory's bandwidth, with other guests of the host as well",
            seen=[0.82, 0.94],
        ),
    ]
    record.keep(__file__, results, ["pillow", "simplejpeg", "torch"])


def scaling(run: Callable[[bytes], np.ndarray], contents: list[bytes], rounds: int) -> float:
    """Throughput of a thread a core over that of one, a core; the median over rounds in turns."""
    cores = os.cpu_count() or 1
    ratios: list[float] = []
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(cores) as many:
        for _ in range(rounds):
            start = time.perf_counter()
            list(one.map(run, contents))
            middle = time.perf_counter()
            list(many.map(run, contents * cores))
            ratios.append((middle - start) / (time.perf_counter() - middle))
    return statistics.median(ratios)


if __name__ == "__main__":
    main()
