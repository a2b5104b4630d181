"""Peers for comparison, through timm: ResNet, ConvNeXt, CLIP, DINOv2, SigLIP 2. Maps are timm's own intermediates.

Owns which names there are and what is declared of each; a further peer is one line of `PEERS`. Never downloads:
weights are a local file of timm's names (`--weights FILE`), or `random`: seeded, and stamped UNTRAINED. Each has its
own normalisation; images are padded at the bottom and the right, with what normalises to zero, to whole patches.
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

CODE = "timm.1"
RANDOM = "random"
SEED = 0
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
RESNET = (Tap("stem", 64, 2), *(Tap(f"stage.{i}", 128 << i, 2 << i) for i in range(1, 5)))
CONVNEXT = tuple(Tap(f"stage.{i}", 48 << i, 2 << i) for i in range(1, 5))


def vit(dim: int, patch: int, depth: int = 12) -> tuple[Tap, ...]:
    """Every block's patch tokens, and the last after the final norm."""
    return (*(Tap(f"block.{i}", dim, patch) for i in range(depth)), Tap("norm", dim, patch))


class Peer(NamedTuple):
    """What is declared of a peer.

    Attributes:
        model: timm's name, with the tag of the weights that are meant.
        pad: sides become a multiple of it.
        licence: of these weights, as timm states it.
    """

    name: str
    model: str
    title: str
    taps: tuple[Tap, ...]
    pad: int
    scale: tuple[tuple[float, float, float], tuple[float, float, float]]
    trained_on: tuple[str, ...]
    training_data: str
    gflop: float
    licence: str = "Apache-2.0"


PEERS = {
    peer.name: peer
    for peer in (
        Peer("resnet50", "resnet50.a1_in1k", "ResNet-50", RESNET, 1, IMAGENET, ("ImageNet-1k",), "ImageNet-1k", 42.7),
        Peer(
            "convnext-tiny",
            "convnext_tiny.fb_in1k",
            "ConvNeXt-T",
            CONVNEXT,
            32,
            IMAGENET,
            ("ImageNet-1k",),
            "ImageNet-1k",
            46.6,
        ),
        Peer(
            "clip-vit-b",
            "vit_base_patch16_clip_224.openai",
            "CLIP ViT-B/16",
            vit(768, 16),
            16,
            CLIP,
            ("WIT-400M", "YFCC100M", UNKNOWN),  # its model card: a crawl, and datasets such as YFCC100M
            "WIT-400M: 400 million image-text pairs, not public",
            213.0,
        ),
        Peer(
            "dinov2-s",
            "vit_small_patch14_dinov2.lvd142m",
            "DINOv2 ViT-S/14",
            vit(384, 14),
            14,
            IMAGENET,
            ("LVD-142M", "ImageNet-1k", "ImageNet-22k", "Google Landmarks v2", UNKNOWN),  # the paper; a crawl, too
            "LVD-142M: 142 million curated images, not public",
            86.7,
        ),
        Peer(
            "siglip2-b",
            "vit_base_patch16_siglip_256.v2_webli",
            "SigLIP 2 ViT-B/16",
            vit(768, 16),
            16,
            HALF,
            ("WebLI", UNKNOWN),
            "WebLI: 10 billion image-text pairs, not public",
            213.0,
        ),
    )
}


class TimmFamily:
    """Facts of one peer, and its loader."""

    def __init__(self, name: str) -> None:
        self.peer = peer = PEERS[name]
        mean, std = peer.scale
        padding = f", then zero padding to multiples of {peer.pad}" if peer.pad > 1 else ""
        self.spec = EncoderSpec(
            name=name,
            title=peer.title,
            family="timm",
            taps=peer.taps,
            output=peer.taps[-1].name,
            view="long512" if peer.taps[-1].name == "norm" else "native",
            normalisation=f"mean {mean}, std {std} of 0..1{padding}",
            licence=peer.licence,
            source=f"timm {peer.model}; --weights FILE (timm's tensors) or --weights random",
            training_data=peer.training_data,
            trained_on=peer.trained_on,
            gflop=peer.gflop,
            batch=8 if peer.pad == 1 else 4,
        )

    def load(self, weights: Path | None, device: str) -> Encoder:
        """The encoder with a local checkpoint; `random` gives seeded weights.

        Raises:
            WeightsError: none given, damaged, or of another shape.
        """
        from cache import weights as files
        from cache.encoders.sam import seed

        if weights is None:
            raise WeightsError(f"{self.spec.name}: expected a checkpoint, found none. Type --weights FILE, or random.")
        module = build(self.peer)
        if str(weights) == RANDOM and not weights.is_file():
            seed(module, SEED)
            digest, stamps = files.digest_of(dict(module.named_parameters())), ("UNTRAINED",)
        else:
            digest, _ = files.check_official(weights, self.spec)
            files.load_into(module, files.read_tensors(weights), weights, f"Is it timm's {self.peer.model}?")
            stamps = ("UNVERIFIED",)
        identity = EncoderIdentity(self.spec.name, digest, CODE, "fp32")
        return TimmEncoder(self.spec, self.peer, module, identity, stamps, device)


RESNET50 = TimmFamily("resnet50")
CONVNEXT_TINY = TimmFamily("convnext-tiny")
CLIP_VIT_B = TimmFamily("clip-vit-b")
DINOV2_S = TimmFamily("dinov2-s")
SIGLIP2_B = TimmFamily("siglip2-b")


def build(peer: Peer) -> torch.nn.Module:
    """timm's network without its classifier; its initial weights mean nothing."""
    import timm

    any_size: dict[str, Any] = {"dynamic_img_size": True} if peer.taps[-1].name == "norm" else {}
    module: Any = timm.create_model(peer.model.partition(".")[0], pretrained=False, num_classes=0, **any_size)
    return module.eval().requires_grad_(False)


class TimmEncoder:
    """A loaded peer; see `cache.encoders.base.Encoder`."""

    def __init__(
        self,
        spec: EncoderSpec,
        peer: Peer,
        module: torch.nn.Module,
        identity: EncoderIdentity,
        stamps: tuple[str, ...],
        device: str,
    ) -> None:
        self.spec, self.identity, self.stamps, self.device = spec, identity, stamps, device
        self._module: Any = module.to(device)
        self._peer = peer

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
        """See `Encoder.encode`."""
        import torch

        h, w = valid
        names = [tap.name for tap in self.spec.taps if tap.name != "norm"]
        wanted = sorted({names.index(tap) if tap != "norm" else len(names) - 1 for tap in taps})
        mean, std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in self._peer.scale)
        with torch.inference_mode():
            x = (pixels[:, :, :h, :w].to(self.device, torch.float32) / 255 - mean) / std
            x = torch.nn.functional.pad(x, (0, -w % self._peer.pad, 0, -h % self._peer.pad))
            maps = self._module.forward_intermediates(x, indices=wanted, intermediates_only=True, stop_early=True)
            found = {names[i]: value for i, value in zip(wanted, maps, strict=True)}
            if "norm" in taps:
                found["norm"] = self._module.norm(found[names[-1]].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            cut = {tap: self.spec.grid(tap, w, h) for tap in taps}
            return {tap: found[tap][:, :, : cut[tap][0], : cut[tap][1]].float() for tap in taps}
