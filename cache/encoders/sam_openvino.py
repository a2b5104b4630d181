"""SAM's image encoder as an OpenVINO graph (extra `openvino`): the same tensors as `sam_forward.SamVit`, for a CPU.

Owns the graph. Never reads a file, normalises or decides what is kept. The graph is written out
rather than traced from torch, which takes minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import torch
from openvino import opset13 as op

from cache.encoders import openvino
from cache.encoders.sam_forward import EPS, PATCH, distances, resampled_distances, resampled_square

if TYPE_CHECKING:
    from cache.encoders.sam_forward import Attention, SamVit


class SamGraph:
    """`SamVit.forward` by OpenVINO. A graph is of one frame and one set of taps; the last is kept, as each holds all
    weights.

    Args:
        module: the network, in float32.
        precision: of its matrices; one that `openvino.checked` let pass.
    """

    def __init__(self, module: SamVit, precision: str) -> None:
        self._module, self._precision = module, precision
        self._for: Any = None
        self._compiled: Any = None

    def __call__(self, pixels: torch.Tensor, taps: Sequence[str], valid: tuple[int, int]) -> dict[str, torch.Tensor]:
        """As `SamVit.forward`, one image after the other."""
        wanted, grid = tuple(sorted(taps)), (pixels.shape[2] // PATCH, pixels.shape[3] // PATCH)
        if self._for != (wanted, grid):
            self._compiled = None  # goes before the next one comes
            self._compiled = openvino.compiled(graph(self._module, wanted, *grid), self._precision)
            self._for = wanted, grid
        rows = [self._compiled(one[None].numpy()) for one in pixels]
        h, w = valid
        return {
            tap: torch.cat([torch.from_numpy(row[i]) for row in rows])[:, :h, :w].permute(0, 3, 1, 2)
            for i, tap in enumerate(wanted)
        }


def graph(module: SamVit, taps: Sequence[str], h: int, w: int) -> Any:
    """(1, 3, 16 h, 16 w) normalised and padded -> taps in their order, (1, h, w, C); no deeper than they need."""
    net: Any = module
    pixels = op.parameter([1, 3, h * PATCH, w * PATCH], np.float32)
    patches = op.convolution(pixels, held(net.patch_embed.proj.weight), [PATCH] * 2, [0, 0], [0, 0], [1, 1])
    positions = resampled_square(net.pos_embed, max(h, w))[:, :h, :w]
    x = op.add(op.transpose(patches, held([0, 2, 3, 1])), held(net.patch_embed.proj.bias + positions))
    found: dict[str, Any] = {}
    deepest = len(net.blocks) if "neck" in taps else 1 + max(int(tap.partition(".")[2]) for tap in taps)
    for i, block in enumerate(net.blocks[:deepest]):
        x = op.add(x, attention(norm(x, block.norm1), block.attn, h, w))
        wide = op.gelu(linear(norm(x, block.norm2), block.mlp.lin1), "erf")
        x = op.add(x, linear(wide, block.mlp.lin2))
        found[f"block.{i}"] = x
    if "neck" in taps:
        narrow, first, smooth, last = net.neck
        y = norm(op.matmul(x, held(narrow.weight.flatten(1)), False, True), first)
        y = op.convolution(op.transpose(y, held([0, 3, 1, 2])), held(smooth.weight), [1, 1], [1, 1], [1, 1], [1, 1])
        found["neck"] = norm(op.transpose(y, held([0, 2, 3, 1])), last)
    model: Any = ov.Model  # its stubs disagree with themselves
    return model([op.result(found[tap]) for tap in taps], [pixels])


def held(value: Any) -> Any:
    """A constant."""
    return op.constant(value.detach().float().numpy() if isinstance(value, torch.Tensor) else np.array(value))


def linear(x: Any, layer: Any) -> Any:
    """`torch.nn.Linear`."""
    return op.add(op.matmul(x, held(layer.weight), False, True), held(layer.bias))


def norm(x: Any, layer: Any) -> Any:
    """`torch.nn.LayerNorm` over the last axis."""
    x = op.mvn(x, held([-1]), True, EPS, "inside_sqrt")
    return op.add(op.multiply(x, held(layer.weight)), held(layer.bias))


def attention(x: Any, layer: Attention, h: int, w: int) -> Any:
    """(1, h, w, D) -> the same shape. What a window lacks is the bare bias, as padded tokens of zeros give."""
    heads, c = layer.heads, layer.proj.in_features // layer.heads
    rows, columns = (layer.window, layer.window) if layer.window else (h, w)
    down, along = -(-h // rows), -(-w // columns)
    lacking = [0, down * rows - h, along * columns - w, 0]
    qkv = op.matmul(x, held(layer.qkv.weight), False, True)
    if any(lacking):
        qkv = op.pad(qkv, held([0, 0, 0, 0]), held(lacking), "constant")
    qkv = op.reshape(op.add(qkv, held(layer.qkv.bias)), held([down, rows, along, columns, 3, heads, c]), False)
    groups = [down * along * heads, rows, columns, c]
    parts = op.reshape(op.transpose(qkv, held([4, 0, 2, 5, 1, 3, 6])), held([3, *groups]), False)
    q, k, v = (op.reshape(t, held(groups), False) for t in op.split(parts, held(0), 3).outputs())
    out = op.reshape(attend(q, k, v, layer, groups), held([down, along, heads, rows, columns, c]), False)
    out = op.transpose(out, held([0, 3, 1, 4, 2, 5]))
    out = op.reshape(out, held([1, down * rows, along * columns, heads * c]), False)
    if any(lacking):
        out = op.slice(out, held([0, 0]), held([h, w]), held([1, 1]), held([1, 2]))
    return linear(out, layer.proj)


def attend(q: Any, k: Any, v: Any, layer: Attention, shape: Sequence[int]) -> Any:
    """As `sam_forward.attend`; OpenVINO adds both terms while it takes the softmax.

    Over the whole grid head by head: scores of one (67 MB at 64x64 tokens) took 2-8% less time at ViT-B's size than
    those of all twelve, and smaller tiles no less. Folding the terms into longer q and k, or its fused attention, took
    10-40% longer.
    """
    groups, h, w, c = shape
    together = groups if layer.window else 1
    side = layer.window or max(h, w)
    tables = ((layer.rel_pos_h, h), (layer.rel_pos_w, w))
    down, along = (held(distances(resampled_distances(t, side), n).transpose(1, 2)[None]) for t, n in tables)
    turn, flat = held([0, 2, 1, 3]), held([groups, h * w, c])
    vertical = op.matmul(q, down, False, False)  # groups, rows, columns, rows of k
    horizontal = op.transpose(op.matmul(op.transpose(q, turn), along, False, False), turn)
    q = op.multiply(q, held(np.float32(c**-0.5)))
    q, k, v = (op.reshape(t, flat, False) for t in (q, k, v))
    terms = (op.unsqueeze(vertical, held([4])), op.unsqueeze(horizontal, held([3])))
    parts = [op.split(t, held(0), groups // together).outputs() for t in (q, k, v, *terms)]
    found: list[Any] = []
    for q, k, v, up, across in zip(*parts, strict=True):
        scores = op.reshape(op.matmul(q, k, False, True), held([together, h, w, h, w]), False)
        scores = op.reshape(op.add(op.add(scores, up), across), held([together, h * w, h * w]), False)
        found.append(op.matmul(op.softmax(scores, -1), v, False, False))
    return op.concat(found, 0)
