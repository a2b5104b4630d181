"""Segment Anything's image encoder (Kirillov et al. 2023): ViT-B, L, H from the official checkpoints, and a tiny
untrained one.

The forward is segment-anything's own module, block by block, so that any tap comes out of one pass. Preprocessing is
its own too: normalise, then pad with zeros at the bottom and the right to the square frame; maps are cropped to the
    valid grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cache.encoders.base import Encoder, EncoderSpec, Tap
from cache.errors import ImageError, WeightsError
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

CODE = "sam.1"
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
PATCH = 16
SEED = 0


class Shape(NamedTuple):
    """The architecture's numbers."""

    frame: int
    dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int
    out: int


SHAPES = {
    "sam-vit-b": Shape(1024, 768, 12, 12, (2, 5, 8, 11), 14, 256),
    "sam-vit-l": Shape(1024, 1024, 24, 16, (5, 11, 17, 23), 14, 256),
    "sam-vit-h": Shape(1024, 1280, 32, 16, (7, 15, 23, 31), 14, 256),
    "sam-tiny": Shape(256, 96, 4, 3, (1, 3), 7, 64),
}


def _spec(name: str, title: str, gflop: float, **more: Any) -> EncoderSpec:
    shape = SHAPES[name]
    blocks = tuple(Tap(f"block.{i}", shape.dim, PATCH) for i in range(shape.depth))
    facts: dict[str, Any] = {
        "licence": "Apache-2.0",
        "training_data": "SA-1B (11 million licensed photographs)",
        "batch": 1,
        **more,
    }
    return EncoderSpec(
        name=name,
        title=title,
        family="sam",
        taps=(*blocks, Tap("neck", shape.out, PATCH)),
        output="neck",
        view=f"long{shape.frame}",
        normalisation=f"mean {MEAN}, std {STD} of 0..255, then zero padding to {shape.frame}x{shape.frame}",
        source="Kirillov et al., Segment Anything, ICCV 2023; package segment-anything 1.0",
        gflop=gflop,
        **facts,
    )


def _official(name: str, title: str, gflop: float, file: str) -> EncoderSpec:
    return _spec(
        name,
        title,
        gflop,
        weights_file=file,
        weights_sha256_prefix=file.rpartition("_")[2].removesuffix(".pth"),
        weights_url=f"https://dl.fbaipublicfiles.com/segment_anything/{file}",
    )


class SamFamily:
    """Facts of one size, and its loader."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def load(self, weights: Path | None, device: str) -> Encoder:
        """The encoder with the given checkpoint (sam-tiny: with seeded weights).

        Raises:
            WeightsError: none given, damaged, or of another shape.
        """
        from cache import weights as files

        module = build(SHAPES[self.spec.name])
        if self.spec.untrained:
            seed(module, SEED)
            identity = EncoderIdentity(self.spec.name, files.digest_of(module.state_dict()), CODE, "fp32")
            return SamEncoder(self.spec, module, identity, ("UNTRAINED",), device)
        if weights is None:
            raise WeightsError(f"{self.spec.name}: expected a checkpoint, found none. Type --weights FILE.")
        sha256, official = files.check_official(weights, self.spec)
        tensors = files.read_tensors(weights)
        prefix = "image_encoder."
        own = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)} or tensors
        files.load_into(module, own, weights, _advice(own))
        identity = EncoderIdentity(self.spec.name, sha256, CODE, "fp32")
        return SamEncoder(self.spec, module, identity, () if official else ("UNVERIFIED",), device)


SAM_VIT_B = SamFamily(_official("sam-vit-b", "Segment Anything ViT-B", 972.1, "sam_vit_b_01ec64.pth"))
SAM_VIT_L = SamFamily(_official("sam-vit-l", "Segment Anything ViT-L", 2985.7, "sam_vit_l_0b3195.pth"))
SAM_VIT_H = SamFamily(_official("sam-vit-h", "Segment Anything ViT-H", 5961.1, "sam_vit_h_4b8939.pth"))
SAM_TINY = SamFamily(
    _spec(
        "sam-tiny",
        "SAM's encoder at small size, random weights",
        0.39,
        training_data="none: seeded random weights",
        embedded=True,
        untrained=True,
        batch=8,
    )
)


def build(shape: Shape) -> torch.nn.Module:
    """segment-anything's `ImageEncoderViT` of this shape; its initial weights mean nothing.

    Raises:
        WeightsError: segment-anything or torchvision cannot be imported here.
    """
    import torch

    try:
        from segment_anything.modeling.image_encoder import ImageEncoderViT
    except (ImportError, RuntimeError) as error:
        raise WeightsError(
            f"segment-anything cannot be imported ({error}). Run `harness doctor`: it knows the usual cause."
        ) from error
    module = ImageEncoderViT(
        img_size=shape.frame,
        patch_size=PATCH,
        embed_dim=shape.dim,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=4,
        norm_layer=cast("Any", partial(torch.nn.LayerNorm, eps=1e-6)),  # as segment-anything itself does
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=shape.global_blocks,
        window_size=shape.window,
        out_chans=shape.out,
    )
    return module.eval().requires_grad_(False)


def seed(module: torch.nn.Module, number: int) -> None:
    """Fills a module with random weights that depend on the seed alone: same numbers on every platform and torch.

    Matrices are scaled to keep variance; position terms are not zero, so that they are exercised.
    """
    import hashlib

    import numpy as np
    import torch

    for name, parameter in module.named_parameters():
        stream = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{number}:{name}".encode()).digest()[:8], "big"))
        if name.endswith("bias"):
            values = np.zeros(parameter.shape)
        elif "norm" in name or (parameter.ndim == 1):
            values = np.ones(parameter.shape)
        else:
            position = "pos" in name
            spread = 0.02 if position else (2.0 / float(np.prod(parameter.shape[1:]))) ** 0.5
            values = stream.standard_normal(parameter.shape) * spread
        parameter.data.copy_(torch.from_numpy(values.astype(np.float32)))


def _advice(tensors: dict[str, torch.Tensor]) -> str:
    """Which size a checkpoint of another shape looks like."""
    table = tensors.get("pos_embed")
    for name, shape in SHAPES.items():
        if table is not None and table.ndim == 4 and table.shape[-1] == shape.dim:
            return f"It looks like {name}: type --encoder {name}."
    return "Is it a SAM checkpoint (names that begin with image_encoder.)?"


class SamEncoder:
    """A loaded SAM image encoder; see `cache.encoders.base.Encoder`."""

    def __init__(
        self,
        spec: EncoderSpec,
        module: torch.nn.Module,
        identity: EncoderIdentity,
        stamps: tuple[str, ...],
        device: str,
    ) -> None:
        self.spec, self.identity, self.stamps, self.device = spec, identity, stamps, device
        self._module: Any = module.to(device)
        self._frame = SHAPES[spec.name].frame

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
        """See `Encoder.encode`.

        Raises:
            ImageError: the pixels do not fit the frame; the view should be long1024.
        """
        import torch

        h, w = valid
        if max(h, w) > self._frame:
            raise ImageError(
                "larger than the encoder's input",
                f"{self.spec.name} sees {self._frame}x{self._frame} pixels, found {w}x{h}. Use --view "
                f"long{self._frame}.",
            )
        with torch.inference_mode():
            inside = pixels[:, :, :h, :w].to(self.device, torch.float32)
            mean = torch.tensor(MEAN, device=self.device).view(1, 3, 1, 1)
            std = torch.tensor(STD, device=self.device).view(1, 3, 1, 1)
            x = torch.nn.functional.pad((inside - mean) / std, (0, self._frame - w, 0, self._frame - h))
            x = self._module.patch_embed(x) + self._module.pos_embed
            found: dict[str, torch.Tensor] = {}
            deepest = len(self._module.blocks) if "neck" in taps else 1 + max(int(t.partition(".")[2]) for t in taps)
            for i, block in enumerate(self._module.blocks[:deepest]):
                x = block(x)
                if f"block.{i}" in taps:
                    found[f"block.{i}"] = x.permute(0, 3, 1, 2)
            if "neck" in taps:
                found["neck"] = self._module.neck(x.permute(0, 3, 1, 2))
            gh, gw = -(-h // PATCH), -(-w // PATCH)
            return {tap: found[tap][:, :, :gh, :gw].float() for tap in taps}
