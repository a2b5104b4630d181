"""SAM ViT-B/L/H in bf16 on a GPU: images a second, share of the measured matmul peak, and JPEG files to store.

    python benchmarks/encode_gpu.py [--device cuda] [--encoders b,l,h] [--images 256] [--rounds 5]
    python benchmarks/encode_gpu.py --device cpu --tiny       # only to see that it runs

The encoder alone is timed on pixels that lie on the device, in the batch that `precompute` finds; segment-anything's
own module in eager float32 on the same weights, in the largest of 1, 2, 4 ... 16 that fits; and ours with blocks that
are not compiled. They take turns, medians are compared. End to end is `precompute`'s engine over JPEG files of
1600 x 1200, map and moments stored, resized by torch; its share is of the encoder alone. Weights are random and seeded:
speed does not depend on them. Without a GPU, lines that say so. The goals are those of an H200.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import encode_cpu
import material
import record
import torch

from cache.encoders import sam
from cache.encoders.base import Encoder
from cache.encoders.sam_forward import Block
from cache.identity import EncoderIdentity
from cache.passes import out_of_memory
from harness.engines import batch, local, speed

GOALS = {"b": ">= 450", "l": ">= 160", "h": ">= 85"}  # images/s
SHARES = {"b": ">= 0.55", "l": ">= 0.6", "h": ">= 0.65"}  # of the measured matmul peak
FAMILIES = {"b": sam.SAM_VIT_B, "l": sam.SAM_VIT_L, "h": sam.SAM_VIT_H}
FEATURES = ["neck:map", "neck:moments"]


def rate(run: Callable[[torch.Tensor], Any], pixels: torch.Tensor) -> float:
    """Images a second of one pass."""
    start = time.perf_counter()
    run(pixels).flatten()[0].item()  # waits for the device
    return len(pixels) / (time.perf_counter() - start)


def largest(run: Callable[[torch.Tensor], Any], pixels: torch.Tensor) -> torch.Tensor:
    """As many of the pixels as pass at once: all, half, a quarter ..."""
    while True:
        try:
            rate(run, pixels)
            return pixels
        except Exception as error:
            if not out_of_memory(error) or len(pixels) == 1:
                raise
        pixels = pixels[: len(pixels) // 2]
        torch.cuda.empty_cache()


def measured(letter: str, settings: argparse.Namespace, folder: Path) -> list[record.Result]:
    """The lines of one encoder."""
    device, precision = settings.device, "bf16"
    family = sam.SAM_TINY if settings.tiny else FAMILIES[letter]
    shape = sam.SHAPES[family.spec.name]
    theirs = encode_cpu.reference(shape)
    module = sam.build(shape)
    module.load_state_dict(theirs.state_dict())
    identity = EncoderIdentity(family.spec.name, "seeded", sam.CODE, precision)
    module = sam.on_device(module, precision, device, shape.frame)
    encoder: Encoder = sam.SamEncoder(family.spec, module, identity, (), device)
    theirs = theirs.to(device)
    files = material.photographs(folder / "images", settings.images, 1600, 1200)
    job = material.job(folder / family.spec.name, files, encoder, FEATURES, resize="torch")
    size = batch.batch_size(job.store, encoder, job.view, job.pending())
    pixels = torch.randint(0, 256, (size, 3, shape.frame, shape.frame), dtype=torch.uint8, device=device)
    floats = torch.randn(min(16, size), 3, shape.frame, shape.frame, device=device)
    frame = (shape.frame, shape.frame)
    fast = module.through

    def ours(x: torch.Tensor) -> torch.Tensor:
        return encoder.encode(x, frame, ["neck"])["neck"]

    def plain(x: torch.Tensor) -> torch.Tensor:
        """Ours with blocks that are not compiled: as on a CPU."""
        module.through = Block.__call__
        try:
            return ours(x)
        finally:
            module.through = fast

    with torch.inference_mode():
        variants = {
            "ours": (ours, pixels),
            "plain": (plain, largest(plain, pixels)),
            "eager": (theirs, largest(theirs, floats)),
        }
        found: dict[str, list[float]] = {name: [] for name in variants}
        for i in range(settings.rounds + 1):
            for name, (run, x) in variants.items():
                reached = rate(run, x)
                if i:
                    found[name].append(reached)
    alone, uncompiled, eager = (statistics.median(found[name]) for name in variants)
    peak = speed.peak_gflops(device, precision)
    del theirs, floats
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    work = local.run([job._replace(batch_size=size)], encoder, lambda _: None)
    whole = work.images / work.seconds
    facts = {
        "images_per_s": round(alone, 2),
        "batch": size,
        "gflop_an_image": family.spec.gflop,
        "peak_bf16_tflops": round(peak / 1e3, 2),
        "not_compiled_images_per_s": round(uncompiled, 2),
        "eager_fp32_images_per_s": round(eager, 2),
        "end_to_end_images_per_s": round(whole, 2),
    }
    idle, share = 1 - work.busy / work.ready, alone * family.spec.gflop / peak
    return lines(letter, family.spec.name, (alone, share, whole / alone, idle, alone / eager), facts)


def lines(letter: str, name: str, found: Sequence[float], facts: dict[str, Any]) -> list[record.Result]:
    """What was found of one encoder, against the goals; nothing where nothing was run."""
    more = {} if found else {"why": "not run: no GPU was at hand"}
    alone, share, whole, idle, against = found or [None] * 5
    return [
        record.result(f"{name} bf16, images/s in the encoder", alone, GOALS[letter], **more, **facts),
        record.result(f"{name} bf16, share of the measured bf16 matmul peak", share, SHARES[letter], **more),
        record.result(f"{name} bf16, JPEG files to store, share of the encoder alone", whole, ">= 0.85", **more),
        record.result(f"{name} bf16, JPEG files to store, share of the time that it waits", idle, "<= 0.05", **more),
        record.result(f"{name} bf16, against segment-anything eager float32", against, ">= 8", **more),
    ]


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--encoders", default="b,l,h")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true")
    settings = parser.parse_args()
    letters = ["b"] if settings.tiny else settings.encoders.split(",")
    results: list[record.Result] = []
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        for letter in letters:
            results += lines(letter, FAMILIES[letter].spec.name, (), {})
    else:
        for letter in letters:
            with tempfile.TemporaryDirectory() as folder:
                results += measured(letter, settings, Path(folder))
    name = torch.cuda.get_device_name(settings.device) if torch.cuda.is_available() else "none"
    record.keep(__file__, results, ["torch", "segment-anything"], gpu=name)


if __name__ == "__main__":
    main()
