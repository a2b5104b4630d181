"""Peers for comparison, through timm: ResNet, ConvNeXt, CLIP, DINOv2 and 3, SigLIP 2, PE, and `timm.NAME` for any other
name of timm's. Maps are timm's own intermediates.

Owns which names there are and what is declared of each; a further peer is one line of `PEERS`. Never downloads:
weights are a local file of timm's names (`--weights FILE`), the file in the user's own Hugging Face cache (`cache`), or
`random`: seeded, and stamped UNTRAINED. Each has its own normalisation; images are padded at the bottom and the right,
with what normalises to zero, to whole patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cache.encoders.base import UNKNOWN, Encoder, EncoderSpec, Tap
from cache.errors import UsageError, WeightsError
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

CODE, FOLDED = "timm.1", "timm.2"  # the second where batch norms are folded, which changes last bits
RANDOM, CACHE = "random", "cache"  # instead of a file
SEED = 0
LICENCES = {"apache-2.0": "Apache-2.0", "mit": "MIT", "cc-by-nc-4.0": "CC-BY-NC-4.0"}  # as timm spells them
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
RESNET = (Tap("stem", 64, 2), *(Tap(f"stage.{i}", 128 << i, 2 << i) for i in range(1, 5)))
CONVNEXT = tuple(Tap(f"stage.{i}", 48 << i, 2 << i) for i in range(1, 5))


def vit(dim: int, patch: int, depth: int = 12) -> tuple[Tap, ...]:
    """Every block's patch tokens, and the last after the final norm; PE Spatial has none."""
    return (*(Tap(f"block.{i}", dim, patch) for i in range(depth)), Tap("norm", dim, patch))


class Preprocessing(NamedTuple):
    """What timm itself does with an image before it normalises, for the weights that are meant.

    Attributes:
        side: of the square that the network is given, in pixels.
        crop: how much of the resized side it is.
        interpolation: of the resizing.
        mode: timm's word: `center` resizes the shorter side, `border` the longer, `squash` both.
    """

    side: int
    crop: float
    interpolation: str = "bicubic"
    mode: str = "center"

    def __str__(self) -> str:
        resized = f"{int(self.side / self.crop)} by {self.interpolation}"  # cut as timm does
        if self.mode == "squash":
            return f"both sides to {resized}, of it the centre of {self.side} x {self.side}"
        if self.mode == "border":
            return f"longer side to {resized}, of it the centre of {self.side} x {self.side}, padded to that"
        return f"shorter side to {resized}, of it the centre of {self.side} x {self.side}"


class Peer(NamedTuple):
    """What is declared of a peer.

    Attributes:
        model: timm's name, with the tag of the weights that are meant.
        own: timm's preprocessing; a fact to compare with, since here an image is seen through a view.
        pad: sides become a multiple of it.
        licence: of these weights, as timm states it.
        view: the default.
        resampled: its positions are resampled to any size when timm is asked for it.
    """

    name: str
    model: str
    title: str
    own: Preprocessing
    taps: tuple[Tap, ...]
    pad: int
    scale: tuple[tuple[float, float, float], tuple[float, float, float]]
    trained_on: tuple[str, ...]
    training_data: str
    gflop: float
    licence: str = "Apache-2.0"
    view: str = "native"
    resampled: bool = False

    def at_any_size(self) -> Peer:
        """A ViT, seen at 512."""
        return self._replace(view="long512", resampled=True)


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "resnet50",
            "resnet50.a1_in1k",
            "ResNet-50",
            Preprocessing(224, 0.95),
            RESNET,
            1,
            IMAGENET,
            ("ImageNet-1k",),
            "ImageNet-1k",
            42.7,
        ),
        Peer(
            "convnext-tiny",
            "convnext_tiny.fb_in1k",
            "ConvNeXt-T",
            Preprocessing(224, 0.875),
            CONVNEXT,
            32,
            IMAGENET,
            ("ImageNet-1k",),
            "ImageNet-1k",
            46.6,
        ),
        Peer(
            "clip-vit-b",
            "vit_base_patch16_clip_quickgelu_224.openai",
            "CLIP ViT-B/16",
            Preprocessing(224, 0.9),
            vit(768, 16),
            16,
            CLIP,
            ("WIT-400M", "YFCC100M", UNKNOWN),  # its model card: a crawl, and datasets such as YFCC100M
            "WIT-400M: 400 million image-text pairs, not public",
            213.0,
        ).at_any_size(),
        Peer(
            "dinov2-s",
            "vit_small_patch14_dinov2.lvd142m",
            "DINOv2 ViT-S/14",
            Preprocessing(518, 1.0),
            vit(384, 14),
            14,
            IMAGENET,
            ("LVD-142M", "ImageNet-1k", "ImageNet-22k", "Google Landmarks v2", UNKNOWN),  # the paper; a crawl, too
            "LVD-142M: 142 million curated images, not public",
            86.7,
        ).at_any_size(),
        Peer(
            "siglip2-b",
            "vit_base_patch16_siglip_256.v2_webli",
            "SigLIP 2 ViT-B/16",
            Preprocessing(256, 0.9),
            vit(768, 16),
            16,
            HALF,
            ("WebLI", UNKNOWN),
            "WebLI: 10 billion image-text pairs, not public",
            213.0,
        ).at_any_size(),
        Peer(
            "dinov3-s",
            "vit_small_patch16_dinov3.lvd1689m",
            "DINOv3 ViT-S/16",
            Preprocessing(256, 1.0),
            vit(384, 16),
            16,
            IMAGENET,
            ("LVD-1689M", UNKNOWN),
            "LVD-1689M: 1.7 billion curated images, not public",
            63.8,
            "DINOv3 License (Meta), gated",
        ).at_any_size(),
        Peer(
            "pe-core-b",
            "vit_pe_core_base_patch16_224.fb",
            "Perception Encoder Core B/16",
            Preprocessing(224, 1.0),
            vit(768, 16),
            16,
            HALF,
            (UNKNOWN,),
            "image-text and video-text pairs, not public",
            214.1,
        ).at_any_size(),
        Peer(
            "pe-spatial-b",
            "vit_pe_spatial_base_patch16_512.fb",
            "Perception Encoder Spatial B/16",
            Preprocessing(512, 1.0),
            vit(768, 16)[:-1],
            16,
            HALF,
            (UNKNOWN,),
            "PE Core, tuned further for dense tasks (with what is unverified)",
            214.1,
        ).at_any_size(),
    )
}


class TimmFamily:
    """Facts of one peer, and its loader."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        mean, std = peer.scale
        padding = f", then zero padding to multiples of {peer.pad}" if peer.pad > 1 else ""
        self.spec = EncoderSpec(
            name=peer.name,
            title=peer.title,
            family="timm",
            taps=peer.taps,
            output=peer.taps[-1].name,
            view=peer.view,
            normalisation=f"mean {mean}, std {std} of 0..1{padding}",
            preprocessing=f"{peer.own} (timm)",
            licence=peer.licence,
            source=f"timm {peer.model}; --weights FILE (timm's tensors), cache or random",
            training_data=peer.training_data,
            trained_on=peer.trained_on,
            gflop=peer.gflop,
            batch=8 if peer.pad == 1 else 4,
        )

    def load(self, weights: Path | None, device: str) -> Encoder:
        """The encoder with a local checkpoint; `cache` is the one in the user's Hugging Face cache, `random` is seeded.

        Raises:
            WeightsError: none given, none in the cache, damaged, or of another shape.
        """
        from cache import weights as files
        from cache.encoders.folding import fold
        from cache.encoders.sam import seed

        if weights is None:
            raise WeightsError(
                f"{self.spec.name}: expected a checkpoint, found none. Type --weights FILE, cache or random."
            )
        if str(weights) == CACHE and not weights.is_file():
            weights = cached(self.peer)
        module = build(self.peer)
        if str(weights) == RANDOM and not weights.is_file():
            seed(module, SEED)
            digest, stamps = files.digest_of(dict(module.named_parameters())), ("UNTRAINED",)
        else:
            digest, _ = files.check_official(weights, self.spec)
            files.load_into(module, files.read_tensors(weights), weights, f"Is it timm's {self.peer.model}?")
            stamps = ("UNVERIFIED",)
        # Weights fit more than one architecture: CLIP's own activation has no tensors.
        code = f"{FOLDED if fold(module, device) else CODE} {self.peer.model.partition('.')[0]}"
        identity = EncoderIdentity(self.spec.name, digest, code, "fp32")
        return TimmEncoder(self.spec, self.peer, module, identity, stamps, device)


class AnyTimm:
    """`timm.NAME`: facts of any other network, from timm's own configuration and one pass without numbers."""

    spec = EncoderSpec(
        name="timm",
        title="Any other network of timm: timm.NAME",
        family="timm",
        taps=(),
        output="",
        view="native",
        normalisation="as timm's configuration of NAME says",
        licence="as timm states it",
        source="timm; --encoder timm.NAME --weights FILE (timm's tensors), cache or random",
        training_data="as the name's tag says",
        gflop=0.0,
    )

    def load(self, weights: Path | None, device: str) -> Encoder:
        """Without a name there is nothing to load.

        Raises:
            UsageError: always; says what to type.
        """
        raise UsageError("timm: which network? Type --encoder timm.NAME, such as timm.vit_tiny_patch16_224.")

    def named(self, model: str) -> TimmFamily:
        """The family of one name of timm's, with or without the tag of its weights.

        Raises:
            UsageError: timm has no such network, or it gives no maps.
        """
        import timm
        import torch

        if not timm.is_model(model):
            near = ", ".join(f"timm.{n}" for n in timm.list_models(f"*{model.partition('.')[0]}*")[:5])
            raise UsageError(f"timm has no network {model!r}." + (f" Did you mean one of {near}?" if near else ""))
        config: Any = timm.get_pretrained_cfg(model)
        scale, title = (config.mean, config.std), f"{model} (timm)"
        told = "; ".join([f"as the tag {config.tag!r} says", config.origin_url or "", *(config.notes or ())])
        side = config.input_size[-1]
        own = Preprocessing(side, config.crop_pct, config.interpolation, config.crop_mode)
        name = f"{config.architecture}.{config.tag}"
        peer = Peer(f"timm.{model}", name, title, own, (), 1, scale, (UNKNOWN,), told, 0.0)
        with torch.device("meta"):
            try:
                module: Any = build(peer := peer._replace(resampled=True))
            except TypeError:  # its constructor knows no such option
                module = build(peer := peer._replace(resampled=False))
            try:
                maps, gflop = _pass(module, side, side)
            except (AttributeError, RuntimeError) as error:
                raise UsageError(f"timm.{model} gives no intermediate maps ({str(error)[:100]}).") from error
            names = [info["module"] for info in module.feature_info]
            if len(names) != len(maps) or any(value.ndim != 4 for value in maps):
                raise UsageError(f"timm.{model} gives {len(maps)} intermediates; expected a map for each of {names}.")
            taps = [Tap(n, v.shape[1], round(side / v.shape[2])) for n, v in zip(names, maps, strict=True)]
            pad, view = _pad(module, taps), "long512" if peer.resampled else "native"
            if pad:
                gflop = _pass(module, 512 - 512 % pad, 512 - 512 % pad)[1]
            else:
                pad, view = 1, f"square{side}"
        if peer.resampled and isinstance(module.norm, torch.nn.LayerNorm):
            taps.append(taps[-1]._replace(name="norm"))
        licence = LICENCES.get(config.license, config.license or "unknown")
        return TimmFamily(peer._replace(taps=tuple(taps), pad=pad, licence=licence, view=view, gflop=gflop))


def _pad(module: Any, taps: Sequence[Tap]) -> int:
    """What sides must be multiples of: nothing (1) where each map covers a rest of its stride by itself, else the
    largest stride; 0 where it takes nothing but the size that it was trained at.
    """
    stride = max(tap.stride for tap in taps)
    for pad, (h, w) in ((1, (2 * stride + 1, 3 * stride - 1)), (stride, (2 * stride, 3 * stride))):
        try:
            maps, _ = _pass(module, h, w)
        except (AssertionError, RuntimeError):
            continue
        if all(m.shape[2:] == (-(-h // tap.stride), -(-w // tap.stride)) for m, tap in zip(maps, taps, strict=True)):
            return pad
    return 0


def _pass(module: Any, height: int, width: int) -> tuple[list[torch.Tensor], float]:
    """All intermediate maps of an image of this size, and what they cost in GFLOP; no numbers where it is on `meta`."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        maps = module.forward_intermediates(torch.empty(1, 3, height, width), intermediates_only=True)
    return maps, round(counter.get_total_flops() / 1e9, 1)


RESNET50, CONVNEXT_TINY, CLIP_VIT_B, DINOV2_S, SIGLIP2_B, DINOV3_S, PE_CORE_B, PE_SPATIAL_B = (
    TimmFamily(peer) for peer in PEERS.values()
)
TIMM = AnyTimm()


def build(peer: Peer) -> torch.nn.Module:
    """timm's network without its classifier; its initial weights mean nothing."""
    import timm

    any_size: dict[str, Any] = {"dynamic_img_size": True} if peer.resampled else {}
    module: Any = timm.create_model(peer.model.partition(".")[0], pretrained=False, num_classes=0, **any_size)
    return module.eval().requires_grad_(False)


def cached(peer: Peer) -> Path:
    """timm's file in the user's own Hugging Face cache; nothing is downloaded.

    Raises:
        WeightsError: it is not there.
    """
    import timm
    from huggingface_hub import try_to_load_from_cache

    config: Any = timm.get_pretrained_cfg(peer.model)
    place = config.hf_hub_id or peer.model
    found = try_to_load_from_cache(place, "model.safetensors")
    if not isinstance(found, str):
        raise WeightsError(
            f"{peer.name}: expected {place}/model.safetensors in the Hugging Face cache, found none. Fetch it there, "
            "or type --weights FILE or random."
        )
    return Path(found)


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
            x = (pixels[:, :, :h, :w].to(self.device).float() / 255 - mean) / std
            x = torch.nn.functional.pad(x, (0, -w % self._peer.pad, 0, -h % self._peer.pad))
            maps = self._module.forward_intermediates(x, indices=wanted, intermediates_only=True, stop_early=True)
            found = {names[i]: value for i, value in zip(wanted, maps, strict=True)}
            if "norm" in taps:
                found["norm"] = self._module.norm(found[names[-1]].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            cut = {tap: self.spec.grid(tap, w, h) for tap in taps}
            return {tap: found[tap][:, :, : cut[tap][0], : cut[tap][1]].float() for tap in taps}
