"""SAM's image encoder (a ViT with windows and decomposed relative positions) as a forward made for throughput.

Owns the arithmetic alone: the names and shapes of its tensors are those of segment-anything's `ImageEncoderViT`, which
is the reference that the tests hold it to. Never reads a file, normalises or decides what is kept.

What differs from the reference, with the same result:
- the relative-position term is added tile by tile in one small reused buffer; the reference writes all N x N scores
  of all heads (805 MB at 64x64 tokens and 12 heads), reads and rewrites them several times;
- qkv and proj see real tokens only. The reference pads 64x64 tokens to 70x70 before both; a padded token's qkv is the
  bare bias, and what attention gives it is dropped;
- tokens are rows, channels last, from the patch embedding on, so that nothing is copied into another order;
- the residual stream, norms and neck norms stay float32 in every precision; matrices are of the precision asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from cache.encoders.sam import Shape

PATCH = 16
EPS = 1e-6
MLP_ROWS = 1024  # tokens
# Bytes of bias, a core or a device. More than a core's cache: from 192 queries on torch's kernel takes twice as many at
# a time (2 MB: 6 to 9% slower a global block).
TILE_CPU, TILE_DEVICE = 4 << 20, 512 << 20
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class SamVit(nn.Module):
    """The encoder; its initial weights mean nothing.

    Attributes:
        through: runs a block; `sam_compiled` has another way than the block's own.
    """

    patch_embed: Any  # torch's stubs let no attribute of a module be called
    blocks: Any
    neck: Any
    through: Callable[[Block, torch.Tensor], torch.Tensor]

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.through = Block.__call__
        side = shape.frame // PATCH
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, shape.dim, PATCH, PATCH)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, shape.dim))
        self.blocks = nn.ModuleList(
            Block(shape, side, 0 if i in shape.global_blocks else shape.window) for i in range(shape.depth)
        )
        self.neck = nn.ModuleList(
            [
                nn.Conv2d(shape.dim, shape.out, 1, bias=False),
                nn.LayerNorm(shape.out, EPS),
                nn.Conv2d(shape.out, shape.out, 3, padding=1, bias=False),
                nn.LayerNorm(shape.out, EPS),
            ]
        )

    def to_precision(self, precision: str) -> SamVit:
        """Matrices in this precision, all else in float32."""
        kind = PRECISIONS[precision]
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.to(kind)
            if isinstance(module, Attention):
                module.rel_pos_h.data = module.rel_pos_h.data.to(kind)
                module.rel_pos_w.data = module.rel_pos_w.data.to(kind)
        return self

    def forward(
        self, pixels: torch.Tensor, taps: Sequence[str], valid: tuple[int, int] | None = None
    ) -> dict[str, torch.Tensor]:
        """All asked taps in one pass, no block deeper than they need.

        Positions are those of a square frame of the longer side: learnt tables are resampled where that is not the
        frame they were learnt for, and cut at the shorter side.

        Args:
            pixels: (b, 3, H, W) float32, normalised and padded, sides of whole patches.
            taps: `block.<i>` or `neck`.
            valid: the part (h, w) of the grid to give back.

        Returns:
            tap -> (b, C, h, w) float32, channels last in memory.
        """
        kind = self.patch_embed.proj.weight.dtype
        x = self.patch_embed.proj(pixels.to(kind)).permute(0, 2, 3, 1).float()
        _, height, width, _ = x.shape
        h, w = valid or (height, width)
        x = (x + resampled_square(self.pos_embed, max(height, width))[:, :height, :width]).contiguous()
        found: dict[str, torch.Tensor] = {}
        deepest = len(self.blocks) if "neck" in taps else 1 + max(int(tap.partition(".")[2]) for tap in taps)
        for i, block in enumerate(self.blocks[:deepest]):
            x = self.through(block, x)
            if f"block.{i}" in taps:  # a copy: the next block adds to x in place
                found[f"block.{i}"] = x[:, :h, :w].clone().permute(0, 3, 1, 2)
        if "neck" in taps:
            narrow, norm, smooth, last = self.neck
            x = F.linear(x.to(kind), narrow.weight.flatten(1))
            x = norm(x.float()).to(kind).permute(0, 3, 1, 2)
            x = last(smooth(x).permute(0, 2, 3, 1).float())
            found["neck"] = x[:, :h, :w].permute(0, 3, 1, 2)
        return found


class Block(nn.Module):
    """Attention and a two-layer network, each behind a norm and added to the stream; inside windows, or over all."""

    mlp: Any

    def __init__(self, shape: Shape, side: int, window: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.dim, EPS)
        self.attn = Attention(shape.dim, shape.heads, side, window)
        self.norm2 = nn.LayerNorm(shape.dim, EPS)
        self.mlp = nn.Module()
        self.mlp.lin1 = nn.Linear(shape.dim, 4 * shape.dim)
        self.mlp.lin2 = nn.Linear(4 * shape.dim, shape.dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, H, W, D) float32, changed in place."""
        kind = self.mlp.lin1.weight.dtype
        x += self.attn(self.norm1(x).to(kind))
        rows = x.view(-1, x.shape[-1])
        for part in rows.split(self.rows(x)):  # the wide layer of one part stays in the processor's cache
            part += self.mlp.lin2(F.gelu(self.mlp.lin1(self.norm2(part).to(kind))))
        return x

    @staticmethod
    def rows(x: torch.Tensor) -> int:
        """Tokens that pass through the network together."""
        return MLP_ROWS if x.device.type == "cpu" else x[..., 0].numel()


class Attention(nn.Module):
    """Multi-head attention with a relative-position term along each axis, over the grid or inside square windows."""

    def __init__(self, dim: int, heads: int, side: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        reach = 2 * (window or side) - 1
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(reach, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(reach, dim // heads))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, H, W, D) -> the same shape. On a CPU in parts that its cache holds: an image's head, a row of windows."""
        side = self.window or max(x.shape[1:3])
        up, across = (resampled_distances(table, side) for table in (self.rel_pos_h, self.rel_pos_w))
        out, small = torch.empty_like(x), x.device.type == "cpu"
        if self.window:
            step = self.window if small else x.shape[1]
            for y in range(0, x.shape[1], step):
                out[:, y : y + step] = self.proj(self.inside_windows(self.qkv(x[:, y : y + step]), up, across))
            return out
        together = 1 if small else self.heads
        for i in range(len(x)):
            qkv = self.qkv(x[i]).unflatten(2, (3, self.heads, -1)).permute(2, 3, 0, 1, 4)
            found = torch.empty_like(x[i])
            heads = found.unflatten(2, (self.heads, -1)).permute(2, 0, 1, 3)
            for j in range(0, self.heads, together):
                q, k, v = qkv[:, j : j + together].contiguous()
                heads[j : j + together] = attend(q, k, v, up, across)
            out[i] = self.proj(found)
        return out

    def inside_windows(self, qkv: torch.Tensor, rel_pos_h: torch.Tensor, rel_pos_w: torch.Tensor) -> torch.Tensor:
        """(b, H, W, 3 D) -> (b, H, W, D), attention within each window; what a window lacks is the bare bias."""
        b, h, w, _ = qkv.shape
        s = self.window
        rows, columns = -(-h // s), -(-w // s)
        if (rows * s, columns * s) != (h, w):
            padded = self.qkv.bias.expand(b, rows * s, columns * s, -1).contiguous()
            padded[:, :h, :w] = qkv
            qkv = padded
        windows = qkv.view(b, rows, s, columns, s, 3, self.heads, -1).permute(5, 0, 1, 3, 6, 2, 4, 7)
        q, k, v = windows.reshape(3, b * rows * columns * self.heads, s, s, -1)
        out = attend(q, k, v, rel_pos_h, rel_pos_w)
        out = out.view(b, rows, columns, self.heads, s, s, -1).permute(0, 1, 4, 2, 5, 3, 6)
        return out.reshape(b, rows * s, columns * s, -1)[:, :h, :w]


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rel_pos_h: torch.Tensor, rel_pos_w: torch.Tensor
) -> torch.Tensor:
    """softmax(q k / sqrt(C) + vertical term + horizontal term) v; all (groups, H, W, C) and contiguous.

    Both terms come from q and a learnt vector for each distance, and together say the bias of any pair of tokens, so
    the whole of it never exists: a tile is summed into a buffer, used as the mask of one call, and overwritten.
    """
    groups, h, w, c = q.shape
    n = h * w
    vertical = torch.einsum("ghwc,hkc->ghwk", q, distances(rel_pos_h, h)).reshape(groups, n, h, 1)
    horizontal = torch.einsum("ghwc,wkc->ghwk", q, distances(rel_pos_w, w)).reshape(groups, n, 1, w)
    q, k, v = (t.view(1, groups, n, c) for t in (q, k, v))
    most, rows = tile(groups, n, q)
    out, buffer = torch.empty_like(q), q.new_empty(most, rows, h, w)
    for g in range(0, groups, most):
        some = slice(g, g + most)
        for r in range(0, n, rows):
            up, across = vertical[some, r : r + rows], horizontal[some, r : r + rows]
            bias = torch.add(up, across, out=buffer[: up.shape[0], : up.shape[1]])
            out[:, some, r : r + rows] = F.scaled_dot_product_attention(
                q[:, some, r : r + rows], k[:, some], v[:, some], attn_mask=bias.flatten(2)[None]
            )
    return out.view(groups, h, w, c)


def tile(groups: int, n: int, like: torch.Tensor) -> tuple[int, int]:
    """How many heads and how many queries share one buffer of bias."""
    room = TILE_CPU * torch.get_num_threads() if like.device.type == "cpu" else TILE_DEVICE
    rows = max(1, room // (n * like.element_size()))
    return (1, rows) if rows < n else (min(groups, rows // n), n)


def distances(rel_pos: torch.Tensor, n: int) -> torch.Tensor:
    """(2 s - 1, C) vectors, n <= s -> (n, n, C): the vector of the distance between query and key."""
    at = torch.arange(n, device=rel_pos.device)
    return rel_pos[at[:, None] - at[None, :] + (rel_pos.shape[0] - 1) // 2]


def resampled_square(table: torch.Tensor, side: int) -> torch.Tensor:
    """(1, s, s, D) learnt positions -> (1, side, side, D), bicubic as in ViTDet; the table itself where it fits."""
    if table.shape[1] == side:
        return table
    planes = table.permute(0, 3, 1, 2)
    return F.interpolate(planes, (side, side), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)


def resampled_distances(table: torch.Tensor, side: int) -> torch.Tensor:
    """(2 s - 1, C) learnt vectors -> (2 side - 1, C), linear as in segment-anything; the table itself where it fits."""
    reach = 2 * side - 1
    if table.shape[0] == reach:
        return table
    return F.interpolate(table.float().T[None], reach, mode="linear")[0].T.to(table.dtype)
