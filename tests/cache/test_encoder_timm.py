"""Peers through timm: the same maps as timm's own modules give, and facts as timm states them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from skimage import data as photographs
from timm.data import create_transform, resolve_data_config
from torch.utils.flop_counter import FlopCounterMode

from cache.conformance import CHECKS, check_encoder
from cache.encoders.timm import (
    CLIP_VIT_B,
    CONVNEXT_TINY,
    DINOV2_S,
    DINOV3_S,
    PE_CORE_B,
    PE_SPATIAL_B,
    PEERS,
    RESNET50,
    SIGLIP2_B,
    TIMM,
    build,
)
from cache.errors import UsageError, WeightsError

FAMILIES = [RESNET50, CONVNEXT_TINY, CLIP_VIT_B, DINOV2_S, SIGLIP2_B, DINOV3_S, PE_CORE_B, PE_SPATIAL_B]
LICENCES = {"apache-2.0": "Apache-2.0", "dinov3-license": "DINOv3 License"}  # timm's word -> how ours begins
RANDOM = Path("random")


def cat(h: int, w: int) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(photographs.chelsea()[:h, :w])).permute(2, 0, 1)[None]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.spec.name)
def test_facts_are_timms(family: Any) -> None:
    config = timm.get_pretrained_cfg(family.peer.model)
    assert (config.mean, config.std) == family.peer.scale
    assert family.spec.licence.startswith(LICENCES[config.license])
    with torch.device("meta"):
        module: Any = build(family.peer)
    info = module.feature_info
    taps = [tap for tap in family.spec.taps if tap.name != "norm"]
    assert [(t.channels, t.stride) for t in taps] == [(f["num_chs"], f["reduction"]) for f in info]


@pytest.mark.parametrize(
    "family",
    [*FAMILIES, TIMM.named("resnet18"), TIMM.named("vit_base_patch32_clip_448.laion2b_ft_in12k_in1k")],
    ids=lambda f: f.spec.name,
)
def test_own_preprocessing_is_what_timms_transform_does(family: Any) -> None:
    """The transform that timm builds of its configuration, on a picture that is not square."""
    steps = create_transform(**resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(family.peer.model).to_dict()))
    resize, crop = (next(s for s in steps.transforms if type(s).__name__ == kind) for kind in ("Resize", "CenterCrop"))
    size = resize(Image.fromarray(photographs.chelsea())).size
    own = family.peer.own
    assert tuple(crop.size) == (own.side, own.side)
    assert resize.interpolation.value == own.interpolation
    how, side = ("both sides", size[0]) if size[0] == size[1] else ("shorter side", min(size))
    assert family.spec.preprocessing.startswith(f"{how} to {side} by {own.interpolation}")


def test_no_peer_is_another_network_than_its_weights_mean() -> None:
    """The trap: OpenAI's CLIP has another GELU than the network that timm's plain name builds; the tensors fit both. Of
    such weights timm's configuration has a note.
    """
    for family in FAMILIES:
        notes = timm.get_pretrained_cfg(family.peer.model).notes or ()
        assert not notes or ("quickgelu" in str(notes).lower() and "quickgelu" in family.peer.model)
    codes = [TIMM.named(f"vit_base_patch16_clip{gelu}_224").load(RANDOM, "cpu").identity for gelu in ("", "_quickgelu")]
    assert codes[0].weights == codes[1].weights
    assert codes[0].code != codes[1].code
    module: Any = build(CLIP_VIT_B.peer)
    assert type(module.blocks[0].mlp.act).__name__ == "QuickGELU"


def test_a_peer_and_timms_name_of_it_give_the_same_maps() -> None:
    """The trap: one padded to whole strides and the other not are two features of one network."""
    pixels = cat(101, 75)
    one, other = RESNET50.load(RANDOM, "cpu"), TIMM.named("resnet50").load(RANDOM, "cpu")
    mine = one.encode(pixels, (101, 75), ["stage.2", "stage.4"])
    theirs = other.encode(pixels, (101, 75), ["layer2", "layer4"])
    assert all(torch.equal(a, b) for a, b in zip(mine.values(), theirs.values(), strict=True))
    assert TIMM.named("convnext_tiny").peer.pad == CONVNEXT_TINY.peer.pad


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.spec.name)
def test_the_declared_cost_is_the_real_one(family: Any) -> None:
    """Counted by torch on 512 x 512 pixels, less what patches do not cover."""
    with torch.device("meta"):
        module: Any = build(family.peer)
        pixels = torch.empty(1, 3, *[512 - 512 % family.peer.pad] * 2)
    with FlopCounterMode(display=False) as counter:
        module.forward_intermediates(pixels, intermediates_only=True)
    assert family.spec.gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=0.06)


@pytest.mark.parametrize("family", [RESNET50, DINOV2_S, DINOV3_S], ids=lambda f: f.spec.name)
def test_it_does_what_every_encoder_must(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = family.spec
    monkeypatch.setattr("cache.conformance.SIZES", ((64, 48), (1, 1)) if spec.view == "native" else ((32, 24), (9, 5)))
    if spec.view != "native":
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


@pytest.mark.parametrize("family", [CLIP_VIT_B, DINOV2_S, SIGLIP2_B, DINOV3_S, PE_CORE_B], ids=lambda f: f.spec.name)
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
    with pytest.raises(WeightsError, match=r"Type --weights FILE, cache or random"):
        CONVNEXT_TINY.load(None, "cpu")


ANY = {  # PE's smallest among them -> view, multiple of sides, first and last tap
    "vit_tiny_patch16_224": ("long512", 16, ("blocks.0", 192, 16), ("norm", 192, 16)),
    "resnet18": ("native", 1, ("act1", 64, 2), ("layer4", 512, 32)),
    "vit_pe_core_tiny_patch16_384.fb": ("long512", 16, ("blocks.0", 192, 16), ("norm", 192, 16)),
    "vit_pe_spatial_tiny_patch16_512.fb": ("long512", 16, ("blocks.0", 192, 16), ("blocks.11", 192, 16)),
    "mixer_s32_224": ("square224", 1, ("blocks.0", 512, 32), ("blocks.7", 512, 32)),
}


@pytest.mark.parametrize("model", ANY)
def test_any_other_name_of_timms_is_an_encoder(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its facts are timm's, its taps what it really gives, under timm's own names of the modules."""
    family = TIMM.named(model)
    spec = family.spec
    assert (spec.name, spec.view, family.peer.pad) == (f"timm.{model}", *ANY[model][:2])
    assert (tuple(spec.taps[0]), tuple(spec.taps[-1])) == ANY[model][2:]
    assert family.peer.scale == (timm.get_pretrained_cfg(model).mean, timm.get_pretrained_cfg(model).std)
    monkeypatch.setattr("cache.conformance.SIZES", ((32, 24), (9, 5)))
    if spec.view == "long512":
        monkeypatch.setattr(family, "spec", msgspec.structs.replace(spec, view="long64"))
    assert len(check_encoder(family, RANDOM)) == len(CHECKS)


def test_a_name_that_timm_has_not_says_which_it_has() -> None:
    with pytest.raises(UsageError, match=r"no network 'resnet5'. Did you mean one of timm\.\w*resnet5"):
        TIMM.named("resnet5")
    with pytest.raises(UsageError, match=r"Type --encoder timm\.NAME"):
        TIMM.load(None, "cpu")


def test_the_users_own_cache_is_read_and_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache laid out as the hub's client does; without the file, a message and no connection."""
    from safetensors.torch import save_file

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it went to the network"))
    family = TIMM.named("resnet18.a1_in1k")
    with pytest.raises(WeightsError, match=r"timm/resnet18.a1_in1k/model.safetensors in the Hugging Face cache"):
        family.load(Path("cache"), "cpu")
    torch.manual_seed(0)
    place = tmp_path / "models--timm--resnet18.a1_in1k"
    (place / "snapshots" / "abc").mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    save_file(timm.create_model("resnet18", pretrained=False).state_dict(), place / "snapshots/abc/model.safetensors")
    encoder = family.load(Path("cache"), "cpu")
    assert encoder.stamps == ("UNVERIFIED",)
    assert encoder.encode(cat(64, 64), (64, 64), ["layer4"])["layer4"].shape == (1, 512, 2, 2)
