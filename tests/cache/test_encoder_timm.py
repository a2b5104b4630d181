"""Peers through timm: the same maps as timm's own modules give, and facts as timm states them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from skimage import data as photographs
from torch.utils.flop_counter import FlopCounterMode

from cache.conformance import CHECKS, check_encoder
from cache.encoders.timm import CLIP_VIT_B, CONVNEXT_TINY, DINOV2_S, PEERS, RESNET50, SIGLIP2_B, build
from cache.errors import WeightsError

FAMILIES = [RESNET50, CONVNEXT_TINY, CLIP_VIT_B, DINOV2_S, SIGLIP2_B]
RANDOM = Path("random")


def cat(h: int, w: int) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(photographs.chelsea()[:h, :w])).permute(2, 0, 1)[None]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.spec.name)
def test_facts_are_timms(family: Any) -> None:
    config = timm.get_pretrained_cfg(family.peer.model)
    assert (config.mean, config.std) == family.peer.scale
    assert config.license == "apache-2.0"
    with torch.device("meta"):
        module: Any = build(family.peer)
    info = module.feature_info
    taps = [tap for tap in family.spec.taps if tap.name != "norm"]
    assert [(t.channels, t.stride) for t in taps] == [(f["num_chs"], f["reduction"]) for f in info]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.spec.name)
def test_the_declared_cost_is_the_real_one(family: Any) -> None:
    """Counted by torch on 512 x 512 pixels, less what patches do not cover."""
    with torch.device("meta"):
        module: Any = build(family.peer)
        pixels = torch.empty(1, 3, *[512 - 512 % family.peer.pad] * 2)
    with FlopCounterMode(display=False) as counter:
        module.forward_intermediates(pixels, intermediates_only=True)
    assert family.spec.gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=0.06)


@pytest.mark.parametrize("family", [RESNET50, DINOV2_S], ids=lambda f: f.spec.name)
def test_it_does_what_every_encoder_must(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = family.spec
    monkeypatch.setattr("cache.conformance.SIZES", ((64, 48), (1, 1)) if spec.view == "native" else ((32, 24), (9, 5)))
    if spec.view != "native":
        import msgspec

        monkeypatch.setattr(family, "spec", msgspec.structs.replace(spec, view="long64"))
    assert len(check_encoder(family, RANDOM)) == len(CHECKS)


def test_a_resnets_taps_are_its_stages() -> None:
    encoder: Any = RESNET50.load(RANDOM, "cpu")
    assert encoder.stamps == ("UNTRAINED",)
    module = encoder._module
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in PEERS["resnet50"].scale)
    found = encoder.encode(cat(61, 83), (61, 83), [t.name for t in encoder.spec.taps])
    with torch.inference_mode():
        x = module.act1(module.bn1(module.conv1((cat(61, 83) / 255 - mean) / std)))
        torch.testing.assert_close(found["stem"], x)
        x = module.maxpool(x)
        for i in range(1, 5):
            x = getattr(module, f"layer{i}")(x)
            torch.testing.assert_close(found[f"stage.{i}"], x)
    for tap in encoder.spec.taps:
        assert found[tap.name].shape[2:] == encoder.spec.grid(tap.name, 83, 61)


@pytest.mark.parametrize("family", [CLIP_VIT_B, DINOV2_S, SIGLIP2_B], ids=lambda f: f.spec.name)
def test_a_vits_output_is_timms(family: Any) -> None:
    """Its own forward, on an image that is padded to whole patches and cut back to what is valid."""
    encoder: Any = family.load(RANDOM, "cpu")
    patch = family.peer.pad
    h, w = 3 * patch - 5, 4 * patch
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in family.peer.scale)
    found = encoder.encode(cat(h, w), (h, w), ["block.3", "norm"])
    with torch.inference_mode():
        x = torch.nn.functional.pad((cat(h, w) / 255 - mean) / std, (0, 0, 0, 5))
        tokens = encoder._module.forward_features(x)[:, encoder._module.num_prefix_tokens :]
    expected = tokens.reshape(1, 3, 4, -1).permute(0, 3, 1, 2)
    torch.testing.assert_close(found["norm"], expected, rtol=1e-4, atol=1e-5)
    assert found["block.3"].shape == expected.shape
    assert not torch.equal(found["block.3"], found["norm"])


def test_convnext_covers_the_whole_image() -> None:
    encoder = CONVNEXT_TINY.load(RANDOM, "cpu")
    found = encoder.encode(cat(70, 41), (70, 41), ["stage.1", "stage.4"])
    assert found["stage.1"].shape == (1, 96, 18, 11)
    assert found["stage.4"].shape == (1, 768, 3, 2)


def test_a_file_of_timms_tensors_is_taken_and_stamped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole: Any = timm.create_model("resnet50", pretrained=False).eval()  # its classifier too, as files have it
    torch.save(whole.state_dict(), tmp_path / "mine.pth")
    encoder = RESNET50.load(tmp_path / "mine.pth", "cpu")
    assert encoder.stamps == ("UNVERIFIED",)
    assert encoder.identity.weights != RESNET50.load(RANDOM, "cpu").identity.weights
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in PEERS["resnet50"].scale)
    with torch.inference_mode():
        expected = whole.forward_features((cat(64, 64) / 255 - mean) / std)
    torch.testing.assert_close(encoder.encode(cat(64, 64), (64, 64), ["stage.4"])["stage.4"], expected)
    with pytest.raises(WeightsError, match=r"Is it timm's convnext_tiny.fb_in1k\?"):
        CONVNEXT_TINY.load(tmp_path / "mine.pth", "cpu")
    with pytest.raises(WeightsError, match=r"Type --weights FILE, or random"):
        CONVNEXT_TINY.load(None, "cpu")
