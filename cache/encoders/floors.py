"""Floors: what is known of an image without having learnt anything. A row of a table that does not beat them has learnt
nothing about quality. No weights; each is a formula with a revision.

Owns the three encoders `pixel-spectrum`, `nss` and `shortcuts`; the formulas of `nss` are in `cache.encoders.brisque`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cache.encoders.base import Encoder, EncoderSpec, Facts, Tap
from cache.errors import WeightsError
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, on gamma-coded values: what JPEG calls brightness
BUCKETS = 64  # of `shortcuts`, for sources


class FloorFamily(msgspec.Struct, frozen=True):
    """Facts, and the formula.

    Attributes:
        code: the formula's revision.
        compute: pixels (b, 3, h, w) uint8 without padding on the device, one `Facts` an image -> (b, C[, h, w]) of the
            one tap.
        anywhere: it runs on whatever device was asked for; otherwise on the CPU.
    """

    spec: EncoderSpec
    code: str
    compute: Callable[[torch.Tensor, Sequence[Facts]], torch.Tensor]
    anywhere: bool = False

    def load(self, weights: Path | None, device: str) -> Encoder:
        """The encoder.

        Raises:
            WeightsError: weights were named.
        """
        if weights is not None:
            raise WeightsError(f"{self.spec.name} is a formula; found weights, {weights}. Leave --weights out.")
        return Floor(self, device if self.anywhere else "cpu")


class Floor:
    """A formula as an encoder; see `cache.encoders.base.Encoder`."""

    stamps: tuple[str, ...] = ()

    def __init__(self, family: FloorFamily, device: str) -> None:
        self.spec, self.device = family.spec, device
        self.identity = EncoderIdentity(family.spec.name, "none", family.code, "fp32")
        self._compute = family.compute

    def encode(
        self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str], facts: Sequence[Facts] = ()
    ) -> dict[str, torch.Tensor]:
        """See `Encoder.encode`."""
        found = self._compute(pixels[:, :, : valid[0], : valid[1]].to(self.device), facts)
        return dict.fromkeys(taps, found)


def luma(pixels: torch.Tensor, facts: Sequence[Facts]) -> torch.Tensor:
    """(b, 1, h, w): brightness 0..255, not rounded."""
    red, green, blue = (weight * pixels[:, i : i + 1].float() for i, weight in enumerate(LUMA))
    return red + green + blue


def natural_scene_statistics(pixels: torch.Tensor, facts: Sequence[Facts]) -> torch.Tensor:
    """(b, 36): BRISQUE's features; see `cache.encoders.brisque`."""
    import torch

    from cache.encoders.brisque import features

    return torch.stack([torch.from_numpy(features(one.permute(1, 2, 0).numpy())) for one in pixels]).float()


def image_facts(pixels: torch.Tensor, facts: Sequence[Facts]) -> torch.Tensor:
    """(b, 71): log2 of bytes a pixel, of width, of height and of width / height; JPEG quality (0: no JPEG) and 1 where
    it is a JPEG; mean luma / 255; then 64 buckets, 1 in that of the source's sha256, none where there is no source.
    """
    import torch

    rows: list[list[float]] = []
    for mean, fact in zip(luma(pixels, facts).double().mean((1, 2, 3)).tolist(), facts, strict=True):
        row = [math.log2(fact.bytes / (fact.width * fact.height)), math.log2(fact.width), math.log2(fact.height)]
        row += [math.log2(fact.width / fact.height), fact.jpeg_quality, float(fact.jpeg_quality > 0), mean / 255]
        rows.append([*row, *(float(i == bucket(fact.source)) for i in range(BUCKETS))])
    return torch.tensor(rows, dtype=torch.float32)


def bucket(source: str) -> int:
    """0..63, the same for one source in every dataset and process; -1 where there is none."""
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big") % BUCKETS if source else -1


def declared(name: str, title: str, tap: Tap, source: str, normalisation: str, **more: Any) -> EncoderSpec:
    """What all three have in common: native pixels, no weights, one image at a time. Their `gflop` are counted by hand,
    for 512 x 512.
    """
    return EncoderSpec(
        name=name,
        title=title,
        family="floor",
        taps=(tap,),
        output=tap.name,
        view="native",
        normalisation=normalisation,
        licence="Apache-2.0",
        source=source,
        training_data="none",
        trained_on=(),
        embedded=True,
        formula=True,
        batch=1,
        **more,
    )


PIXEL_SPECTRUM = FloorFamily(
    declared(
        "pixel-spectrum",
        "Log-power of the image itself",
        Tap("luma", 1, 1),
        "the summaries moments and spectrum of BT.601 luma",
        "none: luma 0..255",
        gflop=0.0013,
        features=("luma:moments", "luma:spectrum"),
    ),
    code="luma.1",
    compute=luma,
    anywhere=True,
)
NSS = FloorFamily(
    declared(
        "nss",
        "Natural scene statistics: the 36 features of BRISQUE",
        Tap("brisque", 36, 0),
        "Mittal, Moorthy and Bovik 2012",
        "MATLAB's rgb2gray, 0..255",
        gflop=0.04,
    ),
    code="brisque.1",
    compute=natural_scene_statistics,
)
SHORTCUTS = FloorFamily(
    declared(
        "shortcuts",
        "Facts of the file, and where it is from",
        Tap("facts", 7 + BUCKETS, 0),
        "file size, pixels, JPEG table; the manifest's scene",
        "none",
        gflop=0.0013,
        reads_facts=True,
    ),
    code="facts.1",
    compute=image_facts,
)
