"""MobileSAM's image encoder (Zhang et al. 2023): TinyViT and SAM's neck, from the official `mobile_sam.pt`.

Owns the arrangement, the names of the official file, and loading; the blocks are timm's TinyViT. Preprocessing is
SAM's: normalise, then pad with zeros at the bottom and the right to 1024 x 1024; maps are cropped to the valid grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.encoders.base import Encoder, EncoderSpec, Tap
from cache.encoders.sam import MEAN, STD
from cache.errors import ImageError, WeightsError
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

CODE = "mobile-sam.1"
FRAME = 1024
WIDTHS, STRIDES = (64, 128, 160, 320), (4, 8, 16, 16)
DEPTHS, HEADS, WINDOWS = (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)

SPEC = EncoderSpec(
    name="mobile-sam",
    title="MobileSAM (TinyViT)",
    family="mobile-sam",
    taps=(
        *(Tap(f"stage.{i}", c, s) for i, (c, s) in enumerate(zip(WIDTHS, STRIDES, strict=True), 1)),
        Tap("neck", 256, 16),
    ),
    output="neck",
    view=f"long{FRAME}",
    normalisation=f"mean {MEAN}, std {STD} of 0..255, then zero padding to {FRAME}x{FRAME}",
    licence="Apache-2.0",
    source="Zhang et al., Faster Segment Anything, 2023; ChaoningZhang/MobileSAM",
    training_data="distilled from SAM ViT-H on 1% of SA-1B",
    trained_on=("SA-1B",),
    gflop=77.5,
    weights_file="mobile_sam.pt",
    weights_sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    weights_url="https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/"
    "f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights/mobile_sam.pt",
    batch=4,
)


class MobileSamFamily:
    """Facts, and the loader."""

    spec = SPEC

    def load(self, weights: Path | None, device: str) -> Encoder:
        """The encoder of the official file, or of a person's own, which is stamped UNVERIFIED.

        Raises:
            WeightsError: none given, damaged, or of another shape.
        """
        from cache import weights as files

        if weights is None:
            raise WeightsError("mobile-sam: expected a checkpoint, found none. Type --weights mobile_sam.pt.")
        sha256, official = files.check_official(weights, SPEC)
        tensors = files.read_tensors(weights)
        module = build()
        files.load_into(module, {ours(n): v for n, v in tensors.items()}, weights, "Is it MobileSAM's mobile_sam.pt?")
        identity = EncoderIdentity(SPEC.name, sha256, CODE, "fp32")
        return MobileSam(module, identity, () if official else ("UNVERIFIED",), device)


MOBILE_SAM = MobileSamFamily()


def ours(name: str) -> str:
    """The official name of a tensor -> its name here, which is timm's for the blocks."""
    name = name.removeprefix("image_encoder.").replace(".c.", ".conv.")
    return name.replace("patch_embed.seq.0.", "patch_embed.conv1.").replace("patch_embed.seq.2.", "patch_embed.conv2.")


def build() -> torch.nn.Module:
    """The network; its initial weights mean nothing."""
    from timm.models import tiny_vit
    from torch import nn

    network: Any = nn.Module()
    network.patch_embed = tiny_vit.PatchEmbed(3, WIDTHS[0], nn.GELU)
    network.layers = nn.ModuleList()
    for i, (width, depth, heads, window) in enumerate(zip(WIDTHS, DEPTHS, HEADS, WINDOWS, strict=True)):
        layer: Any = nn.Module()
        layer.blocks = nn.ModuleList(
            tiny_vit.TinyVitBlock(width, heads, window) if i else tiny_vit.MBConv(width, width, 4.0, nn.GELU, 0.0)
            for _ in range(depth)
        )
        if i < 3:
            layer.downsample = tiny_vit.PatchMerging(width, WIDTHS[i + 1], nn.GELU)
            if STRIDES[i + 1] == STRIDES[i]:  # the last one only widens
                layer.downsample.conv2.conv.stride = (1, 1)
        network.layers.append(layer)
    network.neck = nn.ModuleList(
        [
            nn.Conv2d(WIDTHS[-1], 256, 1, bias=False),
            nn.LayerNorm(256, 1e-6),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            nn.LayerNorm(256, 1e-6),
        ]
    )
    return network.eval().requires_grad_(False)


class MobileSam:
    """The loaded network; see `cache.encoders.base.Encoder`."""

    spec = SPEC

    def __init__(
        self, module: torch.nn.Module, identity: EncoderIdentity, stamps: tuple[str, ...], device: str
    ) -> None:
        self.identity, self.stamps, self.device = identity, stamps, device
        self._module: Any = module.to(device)

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
        """See `Encoder.encode`.

        Raises:
            ImageError: the pixels do not fit the frame; the view should be long1024.
        """
        import torch

        h, w = valid
        if max(h, w) > FRAME:
            raise ImageError(
                "larger than the encoder's input",
                f"mobile-sam sees {FRAME}x{FRAME} pixels, found {w}x{h}. Use --view long{FRAME}.",
            )
        mean, std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (MEAN, STD))
        deepest = 4 if "neck" in taps else max(int(tap.partition(".")[2]) for tap in taps)
        found: dict[str, torch.Tensor] = {}
        with torch.inference_mode():
            x = (pixels[:, :, :h, :w].to(self.device).float() - mean) / std
            x = torch.nn.functional.pad(x, (0, FRAME - w, 0, FRAME - h))
            x = self._module.patch_embed(x)
            for i, layer in enumerate(self._module.layers[:deepest], 1):
                for block in layer.blocks:  # the first stage is convolutions, the others see channels last
                    x = block(x) if i == 1 else block(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
                found[f"stage.{i}"] = x
                if i < deepest:
                    x = layer.downsample(x)
            if "neck" in taps:
                narrow, norm, smooth, last = self._module.neck
                x = norm(narrow(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
                found["neck"] = last(smooth(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            cut = {tap: self.spec.grid(tap, w, h) for tap in taps}
            return {tap: found[tap][:, :, : cut[tap][0], : cut[tap][1]].float() for tap in taps}
