"""SAM 2.1's image encoders (Ravi et al. 2024): Hiera and a pyramid neck, from the official `sam2.1_hiera_*.pt`.

Owns the arrangement, the names of the official files, and loading; the trunk is timm's. Preprocessing is SAM 2's: both
sides to 1024 whatever the image's shape (the view `square1024`), then ImageNet's mean and deviation. Through another
view the position table is interpolated, as the official code does it, and sides are padded with zeros to whole windows.
The neck's two finer maps are not taps: each is one matrix times `stage.1` or `stage.2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cache.encoders.base import UNKNOWN, Encoder, EncoderSpec, Tap
from cache.errors import WeightsError
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

CODE = "sam2.1"
FRAME, OUT, STRIDES = 1024, 256, (4, 8, 16, 32)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Shape(NamedTuple):
    """The architecture's numbers; four stages, each twice as wide as the one before."""

    width: int
    heads: int
    depths: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    windows: tuple[int, int, int, int]
    position: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.width << i for i in range(4))


SHAPES = {
    "sam2-tiny": Shape(96, 1, (1, 2, 7, 2), (5, 7, 9), (8, 4, 14, 7), 7),
    "sam2-small": Shape(96, 1, (1, 2, 11, 2), (7, 10, 13), (8, 4, 14, 7), 7),
    "sam2-base-plus": Shape(112, 2, (2, 3, 16, 3), (12, 16, 20), (8, 4, 14, 7), 14),
    "sam2-large": Shape(144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8), 7),
}


def _spec(name: str, title: str, gflop: float, batch: int, sha256: str) -> EncoderSpec:
    file = f"sam2.1_hiera_{name.removeprefix('sam2-').replace('-', '_')}.pt"
    stages = zip(SHAPES[name].widths, STRIDES, strict=True)
    return EncoderSpec(
        name=name,
        title=title,
        family="sam2",
        taps=(*(Tap(f"stage.{i}", c, s) for i, (c, s) in enumerate(stages, 1)), Tap("neck", OUT, 16)),
        output="neck",
        view=f"square{FRAME}",
        normalisation=f"mean {MEAN}, std {STD} of 0..1, then zero padding to multiples of 32",
        licence="Apache-2.0",
        source="Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024; facebookresearch/sam2",
        training_data="SA-1B, SA-V and an internal set of videos",
        trained_on=("SA-1B", "SA-V", UNKNOWN),
        gflop=gflop,
        weights_file=file,
        weights_sha256=sha256,
        weights_url=f"https://dl.fbaipublicfiles.com/segment_anything_2/092824/{file}",
        batch=batch,
    )


class Sam2Family:
    """Facts of one size, and its loader."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def load(self, weights: Path | None, device: str) -> Encoder:
        """The encoder of the official file, or of a person's own, which is stamped UNVERIFIED.

        Raises:
            WeightsError: none given, damaged, or of another shape.
        """
        from cache import weights as files

        if weights is None:
            raise WeightsError(f"{self.spec.name}: expected a checkpoint, found none. Type --weights FILE.")
        sha256, official = files.check_official(weights, self.spec)
        tensors = {ours(n): v for n, v in files.read_tensors(weights).items()}
        module = build(SHAPES[self.spec.name])
        files.load_into(module, tensors, weights, _advice(tensors))
        identity = EncoderIdentity(self.spec.name, sha256, CODE, "fp32")
        return Sam2(self.spec, module, identity, () if official else ("UNVERIFIED",), device)


SAM2_TINY = Sam2Family(
    _spec(
        "sam2-tiny",
        "SAM 2.1 Hiera-T",
        286.0,
        4,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    )
)
SAM2_SMALL = Sam2Family(
    _spec(
        "sam2-small",
        "SAM 2.1 Hiera-S",
        353.6,
        4,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    )
)
SAM2_BASE_PLUS = Sam2Family(
    _spec(
        "sam2-base-plus",
        "SAM 2.1 Hiera-B+",
        639.5,
        2,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    )
)
SAM2_LARGE = Sam2Family(
    _spec(
        "sam2-large",
        "SAM 2.1 Hiera-L",
        1814.0,
        1,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    )
)


def ours(name: str) -> str:
    """The official name of a tensor -> its name here, which is timm's for the trunk."""
    name = name.removeprefix("image_encoder.").replace(".mlp.layers.0.", ".mlp.fc1.")
    return name.replace(".mlp.layers.1.", ".mlp.fc2.").replace("neck.convs.", "neck.").replace(".conv.", ".")


def build(shape: Shape) -> torch.nn.Module:
    """The network; its initial weights mean nothing."""
    from timm.models.hieradet_sam2 import HieraDet
    from torch import nn

    network: Any = nn.Module()
    network.trunk = HieraDet(
        embed_dim=shape.width,
        num_heads=shape.heads,
        stages=shape.depths,
        global_att_blocks=shape.global_blocks,
        window_spec=shape.windows,
        global_pos_size=(shape.position, shape.position),
        num_classes=0,
        weight_init="skip",
    )
    del network.trunk.head  # a classifier's norm, which SAM 2 has not
    network.neck = nn.ModuleList(nn.Conv2d(width, OUT, 1) for width in reversed(shape.widths))
    return network.eval().requires_grad_(False)


def _advice(tensors: dict[str, torch.Tensor]) -> str:
    """Which size a checkpoint of another shape looks like."""
    table = tensors.get("trunk.pos_embed")
    depth = sum(name.startswith("trunk.blocks.") and name.endswith(".norm1.weight") for name in tensors)
    for name, shape in SHAPES.items():
        if table is not None and table.shape[1] == shape.width and depth == sum(shape.depths):
            return f"It looks like {name}: type --encoder {name}."
    return "Is it a SAM 2 checkpoint (names that begin with image_encoder.trunk.)?"


class Sam2:
    """A loaded SAM 2 image encoder; see `cache.encoders.base.Encoder`."""

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

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
        """See `Encoder.encode`."""
        import torch
        from torch.nn import functional as F

        h, w = valid
        mean, std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (MEAN, STD))
        deepest = 4 if "neck" in taps else max(int(tap.partition(".")[2]) for tap in taps)
        with torch.inference_mode():
            x = (pixels[:, :, :h, :w].to(self.device).float() / 255 - mean) / std
            x = F.pad(x, (0, -w % STRIDES[-1], 0, -h % STRIDES[-1]))
            maps = self._module.trunk.forward_intermediates(x, indices=list(range(deepest)), intermediates_only=True)
            found = {f"stage.{i}": value for i, value in enumerate(maps, 1)}
            if "neck" in taps:
                coarse, fine = (self._module.neck[j](maps[3 - j]) for j in (0, 1))
                found["neck"] = fine + F.interpolate(coarse, scale_factor=2.0, mode="nearest")
            cut = {tap: self.spec.grid(tap, w, h) for tap in taps}
            return {tap: found[tap][:, :, : cut[tap][0], : cut[tap][1]].float() for tap in taps}
