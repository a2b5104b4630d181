"""SAM's blocks for a GPU: compiled, with FlexAttention, whose kernel adds both relative-position terms to the scores.

Owns how a block is run there, and the proof at its first use that this is what `sam_forward.Block` computes. Holds no
weights. Blocks are compiled one by one, not the whole network: all that are alike share one compilation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch.nn import functional as F
from torch.nn.attention.flex_attention import flex_attention

from cache.encoders.sam_forward import PATCH, Attention, Block, SamVit, distances
from cache.passes import out_of_memory

MOST_ERROR = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}  # rms, of what a block adds

log = logging.getLogger(__name__)


def compiled(module: SamVit, frame: int) -> SamVit:
    """The network, its blocks compiled for square pictures of this side in pixels; others pass as they did."""
    torch.compiler.reset()  # torch keeps eight variants: two kinds of blocks, three sizes of batches, of one encoder
    module.through = Through(frame // PATCH, torch.compile(through, fullgraph=True))
    return module


class Through:
    """Runs a block compiled, once the first of its kind was held against the block itself on the picture at hand.

    Where they differ, or nothing can be compiled here (now, or later for another size of batches), this is said once
    and blocks run as they are.
    """

    def __init__(self, side: int, run: Callable[[Block, torch.Tensor], torch.Tensor]) -> None:
        self._grid, self._run = (side, side), run
        self._proved: set[int] = set()
        self._given_up = False

    def __call__(self, block: Block, x: torch.Tensor) -> torch.Tensor:
        """As `Block.forward`, but x may be left as it was."""
        if self._given_up or tuple(x.shape[1:3]) != self._grid:
            return block(x)
        try:
            found = self._run(block, x)
        except Exception as error:
            if out_of_memory(error):
                raise
            why = " ".join(str(error).strip().splitlines()[:2])  # torch names the compiler first, then what it said
            return self._give_up(f"{type(error).__name__}: {why}", block, x)
        if block.attn.window in self._proved:
            return found
        one = x[:1]
        added = block(one.clone()) - one
        error = float((found[:1] - one - added).norm() / added.norm())
        if not error <= MOST_ERROR[block.mlp.lin1.weight.dtype]:
            return self._give_up(f"what it computes differs by {error:.1e} from what it should", block, x)
        self._proved.add(block.attn.window)
        return found

    def _give_up(self, why: str, block: Block, x: torch.Tensor) -> torch.Tensor:
        self._given_up = True
        log.warning("SAM's encoder is not compiled on this device, so it is slower (%s).", why)
        return block(x)


def through(block: Block, x: torch.Tensor) -> torch.Tensor:
    """`Block.forward` in a form that compiles: nothing in place, all images together. (b, H, W, D) float32."""
    kind = block.mlp.lin1.weight.dtype
    x = x + attention(block.attn, block.norm1(x).to(kind))
    return x + block.mlp.lin2(F.gelu(block.mlp.lin1(block.norm2(x).to(kind))))


def attention(layer: Attention, x: torch.Tensor) -> torch.Tensor:
    """As `Attention.forward`. (b, H, W, D) -> the same shape, in the layer's precision."""
    b, h, w, d = x.shape
    qkv = layer.qkv(x)
    if not layer.window:
        groups = qkv.view(b, h, w, 3, layer.heads, -1)
        return layer.proj(attend(groups, layer).reshape(b, h, w, d))
    s = layer.window
    rows, columns = -(-h // s), -(-w // s)
    padded = layer.qkv.bias.expand(b, rows * s, columns * s, 3 * d).clone()  # what a window lacks is the bare bias
    padded[:, :h, :w] = qkv
    windows = padded.view(b, rows, s, columns, s, 3 * d).transpose(2, 3)
    out = attend(windows.reshape(b * rows * columns, s, s, 3, layer.heads, -1), layer)
    out = out.view(b, rows, columns, s, s, d).transpose(2, 3).reshape(b, rows * s, columns * s, d)
    return layer.proj(out[:, :h, :w])


def attend(qkv: torch.Tensor, layer: Attention) -> torch.Tensor:
    """(groups, H, W, 3, heads, C) -> (groups, H W, heads C): as `sam_forward.attend`, of several heads."""
    groups, h, w = qkv.shape[:3]
    q, k, v = qkv.permute(3, 0, 4, 1, 2, 5)
    up = torch.einsum("gnhwc,hkc->gnhwk", q, distances(layer.rel_pos_h, h))
    across = torch.einsum("gnhwc,wkc->gnhwk", q, distances(layer.rel_pos_w, w))

    def biased(
        score: torch.Tensor, group: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor
    ) -> torch.Tensor:
        y, x = query // w, query % w
        return score + up[group, head, y, x, key // w] + across[group, head, y, x, key % w]

    out = flex_attention(*(t.flatten(2, 3) for t in (q, k, v)), score_mod=biased)
    assert isinstance(out, torch.Tensor)
    return out.transpose(1, 2).reshape(groups, h * w, -1)
