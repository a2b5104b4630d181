"""Our SAM ViT-B, by torch and by OpenVINO, against segment-anything's own forward on a CPU: same weights, same pixels,
same process. timm's and transformers' modules of ViT-B's shape take their turns too.

Variants take turns and medians are compared: CPU-seconds at one thread, which neighbours on a machine disturb least,
and wall at two. bf16 is measured where the processor multiplies it, else it is a line that says so. Errors are of the
neck: the largest by the largest value, and the rms by the rms. transformers is no dependency of the project: install it
for its line.

    OMP_NUM_THREADS=1 python benchmarks/encode_cpu.py [--rounds 3] [--depth 12] [--threads 1,2] [--no-peers]
    OMP_NUM_THREADS=1 python benchmarks/encode_cpu.py --encoder sam-tiny       # only to see that it runs

`--depth 3` is a quick look: one block of global attention to two of windows, the same share as in the whole.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Callable, Collection
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import record
import torch

from cache.encoders import sam

TORCH = (
    "half of ours are the layers' products at the rate of a bare one, 30% torch's fused attention, 6% copies, 5% the "
    "position terms, 3% laying out their tiles; tried and not taken: weights packed by MKL through torch's private "
    "operators (3-7% of a product, so 3% of the whole), fewer copies around windows (1%), transposed weights (nothing)"
)
OPENVINO = (
    "by its own profile 57% of OpenVINO's time are the layers' products, at 110 GFLOP a CPU-second where MKL's are at "
    "139, and 32% its kernels of attention; the other kernel that it has for products was no faster"
)
GOALS = {  # and the least and the most that was found on one machine
    ("fp32", 1): (">= 2.2", [1.88, 2.56]),
    ("bf16", 1): (">= 3.5", [3.72, 5.72]),
    ("fp32", 2): (">= 2", [2.07, 2.67]),
    ("bf16", 2): (">= 3", [3.43, 4.68]),
    ("openvino fp32", 2): (">= 2.4", [2.09, 2.75]),
    ("openvino bf16", 2): (">= 4.5", [5.8, 7.12]),
}


def reference(shape: sam.Shape) -> Any:
    """segment-anything's module with random weights, position terms too."""
    from segment_anything.modeling.image_encoder import ImageEncoderViT

    module: Any = ImageEncoderViT(
        img_size=shape.frame,
        embed_dim=shape.dim,
        depth=shape.depth,
        num_heads=shape.heads,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        global_attn_indexes=shape.global_blocks,
        window_size=shape.window,
        out_chans=shape.out,
    )
    sam.seed(module, 0)
    return module.eval().requires_grad_(False)


def timms(shape: sam.Shape) -> Callable[[torch.Tensor], Any]:
    """timm's module of the same shape; its own random weights, which cost the same."""
    import timm

    module: Any = timm.create_model("samvit_base_patch16", pretrained=False)
    if shape.depth < len(module.blocks):
        module.blocks = module.blocks[: shape.depth]
    return module.eval().requires_grad_(False).forward_features


def transformers_(shape: sam.Shape) -> Callable[[torch.Tensor], Any]:
    """transformers' module of the same shape, with torch's fused attention; random weights too."""
    from transformers import SamVisionConfig, SamVisionModel

    settings = {"num_hidden_layers": shape.depth, "global_attn_indexes": list(shape.global_blocks)}
    config = SamVisionConfig(**settings, attn_implementation="sdpa")
    return SamVisionModel(config).eval().requires_grad_(False)


PEERS = {"timm": timms, "transformers": transformers_}
BARE = "torch's products and attention alone"


def by_openvino(ours: Any, pixels: torch.Tensor, wanted: Collection[str]) -> dict[str, Callable[[], Any]]:
    """Our module as OpenVINO's graph in each wanted precision that this processor has, for torch's thread count."""
    from cache.errors import UsageError

    whole, found = (pixels.shape[2] // sam.PATCH, pixels.shape[3] // sam.PATCH), {}
    for precision in (p for p in ("fp32", "bf16") if f"openvino {p}" in wanted):
        with contextlib.suppress(UsageError):  # no OpenVINO, or no such instructions: a line of the results says so
            found[f"openvino {precision}"] = partial(sam.by_openvino(ours, precision), pixels, ["neck"], whole)
    return found


def measured(variants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Medians of wall and CPU seconds, and of the operating system's share of the latter, all variants in turns; each
    once untimed before it is timed, since the pages of memory that it finds are those of whoever was before:
    segment-anything takes a quarter longer after OpenVINO.
    """
    wall, cpu, system = ({name: list[float]() for name in variants} for _ in range(3))
    for _ in range(rounds):
        for name, run in variants.items():
            run()
            start, used, kernel = time.perf_counter(), time.process_time(), os.times().system
            run()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - used)
            system[name].append(os.times().system - kernel)
    kinds = {"wall_s": wall, "cpu_s": cpu, "system_s": system}
    return {name: {kind: statistics.median(of[name]) for kind, of in kinds.items()} for name in variants}


def errors(found: torch.Tensor, expected: torch.Tensor) -> dict[str, Any]:
    """How far a map is from segment-anything's."""
    off = found - expected
    return {
        "max_relative_error": float(off.abs().max() / expected.abs().max()),
        "rms_relative_error": float(off.norm() / expected.norm()),
    }


def bare(shape: sam.Shape) -> Callable[[], None]:
    """The layers' products and torch's attention without position terms, nothing else: what a forward made of torch's
    own operations cannot go below.
    """
    tokens, dim, c = (shape.frame // sam.PATCH) ** 2, shape.dim, shape.dim // shape.heads
    windows, inside = (-(-shape.frame // sam.PATCH // shape.window)) ** 2, shape.window**2
    thin, wide, whole = torch.randn(tokens, dim), torch.randn(tokens, 4 * dim), len(shape.global_blocks)
    parts: list[tuple[int, Callable[[], Any]]] = []
    for x, out in ((thin, 3 * dim), (thin, dim), (thin, 4 * dim), (wide, dim)):
        parts.append((shape.depth, partial(torch.nn.functional.linear, x, torch.randn(out, x.shape[1]))))
    for often, groups, n in ((whole, 1, tokens), (shape.depth - whole, windows, inside)):
        q, k, v = torch.randn(3, groups, shape.heads, n, c)
        parts.append((often, partial(torch.nn.functional.scaled_dot_product_attention, q, k, v)))

    def run() -> None:
        for often, part in parts:
            for _ in range(often):
                part()

    return run


def multiplies_bf16() -> bool:
    """Whether this processor has instructions for bf16 matrix products."""
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(f in flags.read_text() for f in ("avx512_bf16", "amx_bf16", " bf16 "))


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--encoder", default="sam-vit-b", choices=sam.SHAPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depth", type=int, help="so many blocks; all of them by default")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--no-peers", action="store_true")
    settings = parser.parse_args()
    shape = sam.SHAPES[settings.encoder]
    depth = settings.depth or shape.depth
    shape = shape._replace(depth=depth, global_blocks=tuple(i for i in shape.global_blocks if i < depth))
    theirs = reference(shape)
    pixels = torch.randn(1, 3, shape.frame, shape.frame, generator=torch.Generator().manual_seed(0))
    variants: dict[str, Callable[[], Any]] = {"segment-anything": lambda: theirs(pixels)}
    for precision in ("fp32", "bf16") if multiplies_bf16() else ("fp32",):
        ours = sam.build(shape)
        ours.load_state_dict(theirs.state_dict())
        variants[precision] = partial(ours.to_precision(precision), pixels, ["neck"])
    variants[BARE] = bare(shape)
    plain = sam.build(shape)
    plain.load_state_dict(theirs.state_dict())
    for name, make in () if settings.no_peers or settings.encoder != "sam-vit-b" else PEERS.items():
        try:
            variants[name] = partial(make(shape), pixels)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    results: list[record.Result] = []
    with torch.inference_mode():
        expected = variants["segment-anything"]()
        for threads in map(int, settings.threads.split(",")):
            torch.set_num_threads(threads)
            wanted = [name for name, of in GOALS if of == threads]
            turns = variants | by_openvino(plain, pixels, wanted)
            found = measured(turns, settings.rounds)
            for name, seconds in found.items():
                print(f"{threads} thread(s) {name:36} {seconds['wall_s']:6.2f} s wall {seconds['cpu_s']:6.2f} s cpu")
            unit = "cpu_s" if threads == 1 else "wall_s"
            stock = found["segment-anything"]
            most = stock["cpu_s"] / found[BARE]["cpu_s"]
            swings = (
                f"segment-anything writes and reads 805 MB of scores a global block, and {stock['system_s']:.1f} of "
                f"its {stock['cpu_s']:.1f} CPU-seconds here were the operating system's, for those pages: the ratio "
                "swings with what a fresh page costs at the time"
            )
            floor = f"{BARE}, without position terms, norms or copies, would be {most:.2f} times in CPU-seconds"
            for name in wanted:
                goal, seen = GOALS[name, threads]
                ratio: float | None = None
                more: dict[str, Any]
                if name in found:
                    ratio = found["segment-anything"][unit] / found[name][unit]
                    ours = OPENVINO if "openvino" in name else TORCH
                    why = f"{name} at {threads}: {swings}" + (f"; {ours}; {floor}" if "fp32" in name else "")
                    more = {**errors(turns[name]()["neck"], expected), "why": why, "seen": seen}
                else:
                    why = "this processor has no bf16 instructions" if "bf16" in name else "openvino is not installed"
                    more = {"why": f"not run: {why}"}
                if name == "fp32":
                    more |= {"seconds": found}
                title = f"encode_cpu {name}, {unit} at {threads}"
                results.append(record.result(title, ratio, goal, **more))
            for name in (n for n in PEERS if n in found):
                title = f"encode_cpu fp32 against {name}'s module, {unit} at {threads}"
                results.append(record.result(title, found[name][unit] / found["fp32"][unit]))
    used = ["torch", "segment-anything", *(name for name in ("openvino", *PEERS) if find_spec(name))]
    record.keep(__file__, results, used, simd=torch.backends.cpu.get_cpu_capability())


if __name__ == "__main__":
    main()
