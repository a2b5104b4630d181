"""MobileSAM from the names and shapes of the official file, against its arithmetic written out from those names.

`mobile_sam_tensors.txt` lists the 439 tensors of mobile_sam.pt; their values here are made up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from skimage import data as photographs
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cache import weights
from cache.conformance import CHECKS, check_encoder
from cache.encoders.mobile_sam import MOBILE_SAM, SPEC, MobileSam, build, ours
from cache.errors import ImageError, WeightsError

Tensors = dict[str, torch.Tensor]


def listed() -> dict[str, tuple[int, ...]]:
    lines = Path(__file__).with_name("mobile_sam_tensors.txt").read_text().splitlines()
    parts = [line.partition(" ") for line in lines]
    return {name: tuple(int(n) for n in shape.split("x") if n) for name, _, shape in parts}


def made_up() -> Tensors:
    torch.manual_seed(0)
    found: Tensors = {}
    for name, shape in listed().items():
        if not name.startswith("image_encoder."):
            found[name] = torch.zeros(shape)
        elif name.endswith("num_batches_tracked"):
            found[name] = torch.tensor(1)
        elif name.endswith("running_var"):
            found[name] = torch.rand(shape) + 0.5
        elif len(shape) == 1:
            found[name] = torch.randn(shape) * 0.1 + (1.0 if name.endswith("weight") else 0.0)
        else:
            spread = 1.0 if "attention_biases" in name else 0.8 / float(np.prod(shape[1:])) ** 0.5
            found[name] = torch.randn(shape) * spread
    return found


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return made_up()


@pytest.fixture(scope="module")
def file(tensors: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.pt"
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def encoder(file: Path) -> Any:
    return MOBILE_SAM.load(file, "cpu")


def test_it_does_what_every_encoder_must(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a frame of 256, a sixteenth of its cost; windows of 7 and 14 tokens do not divide it, as they do not 1024."""
    monkeypatch.setattr("cache.encoders.mobile_sam.FRAME", 256)
    monkeypatch.setattr(MobileSam, "spec", msgspec.structs.replace(SPEC, view="long256"))
    assert len(check_encoder(MOBILE_SAM, file)) == len(CHECKS)


def cat(h: int, w: int) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(photographs.chelsea()[:h, :w])).permute(2, 0, 1)[None]


class ByHand:
    """The forward, written from the official names alone."""

    def __init__(self, tensors: Tensors) -> None:
        self.t = {n.removeprefix("image_encoder."): v for n, v in tensors.items()}

    def conv(self, x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        kernel, t = self.t[f"{name}.c.weight"], self.t
        groups = x.shape[1] // kernel.shape[1]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        scale = t[f"{name}.bn.weight"] / (t[f"{name}.bn.running_var"] + 1e-5).sqrt()
        return (x - t[f"{name}.bn.running_mean"].view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + t[
            f"{name}.bn.bias"
        ].view(1, -1, 1, 1)

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ self.t[f"{name}.weight"].T + self.t[f"{name}.bias"]

    def norm(self, x: torch.Tensor, name: str, eps: float = 1e-5) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        x = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return x * self.t[f"{name}.weight"] + self.t[f"{name}.bias"]

    def three(self, x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        x = F.gelu(self.conv(x, f"{name}.conv1"))
        return self.conv(F.gelu(self.conv(x, f"{name}.conv2", stride)), f"{name}.conv3")

    def attention(self, x: torch.Tensor, name: str, side: int) -> torch.Tensor:
        """(windows, side * side, C)."""
        biases = self.t[f"{name}.attention_biases"]
        heads, c = len(biases), x.shape[-1] // len(biases)
        at = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        apart = (at[:, None] - at[None]).abs()
        bias = biases[:, apart[..., 0] * side + apart[..., 1]]
        qkv = self.linear(self.norm(x, f"{name}.norm"), f"{name}.qkv").unflatten(-1, (heads, 3 * c)).transpose(1, 2)
        q, k, v = qkv.split(c, dim=-1)
        mixed = (q @ k.transpose(2, 3) / c**0.5 + bias).softmax(-1) @ v
        return self.linear(mixed.transpose(1, 2).flatten(2), f"{name}.proj")

    def block(self, x: torch.Tensor, name: str, s: int) -> torch.Tensor:
        b, c, h, w = x.shape
        right, down = -w % s, -h % s
        y = F.pad(x, (0, right, 0, down)).permute(0, 2, 3, 1)
        rows, columns = (h + down) // s, (w + right) // s
        y = y.reshape(b, rows, s, columns, s, c).transpose(2, 3).reshape(-1, s * s, c)
        y = self.attention(y, f"{name}.attn", s).view(b, rows, columns, s, s, c).transpose(2, 3)
        x = x + y.reshape(b, h + down, w + right, c)[:, :h, :w].permute(0, 3, 1, 2)
        x = self.conv(x, f"{name}.local_conv").permute(0, 2, 3, 1)
        y = F.gelu(self.linear(self.norm(x, f"{name}.mlp.norm"), f"{name}.mlp.fc1"))
        return (x + self.linear(y, f"{name}.mlp.fc2")).permute(0, 3, 1, 2)

    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        found = {}
        x = self.conv(F.gelu(self.conv(x, "patch_embed.seq.0", 2)), "patch_embed.seq.2", 2)
        for i, (depth, window) in enumerate(((2, 0), (2, 7), (6, 14), (2, 7))):
            for j in range(depth):
                name = f"layers.{i}.blocks.{j}"
                x = self.block(x, name, window) if window else F.gelu(x + self.three(x, name, 1))
            found[f"stage.{i + 1}"] = x
            if i < 3:
                x = self.three(x, f"layers.{i}.downsample", 1 if i == 2 else 2)
        x = self.norm(F.conv2d(x, self.t["neck.0.weight"]).permute(0, 2, 3, 1), "neck.1", 1e-6).permute(0, 3, 1, 2)
        x = F.conv2d(x, self.t["neck.2.weight"], padding=1).permute(0, 2, 3, 1)
        return found | {"neck": self.norm(x, "neck.3", 1e-6).permute(0, 3, 1, 2)}


def test_every_tap_is_the_arithmetic_of_the_official_names(encoder: Any, tensors: Tensors) -> None:
    taps = [tap.name for tap in SPEC.taps]
    pixels = cat(300, 400)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    with torch.inference_mode():
        expected = ByHand(tensors)(F.pad((pixels - mean) / std, (0, 1024 - 400, 0, 1024 - 300)))
    found = encoder.encode(pixels, (300, 400), taps)
    assert expected["neck"].shape == (1, 256, 64, 64)
    for tap in SPEC.taps:
        h, w = SPEC.grid(tap.name, 400, 300)
        assert found[tap.name].shape == (1, tap.channels, h, w)
        error = (found[tap.name] - expected[tap.name][:, :, :h, :w]).abs().max() / expected[tap.name].abs().max()
        assert float(error) <= 1e-5, tap.name


def test_the_official_file_is_what_it_takes(tensors: Tensors) -> None:
    """439 tensors; all of the image encoder's are used but the classifier that TinyViT was trained with."""
    assert len(tensors) == 439
    own = {ours(n) for n in tensors if n.startswith("image_encoder.")}
    unused = own - set(build().state_dict())
    assert unused == {"norm_head.weight", "norm_head.bias", "head.weight", "head.bias"}
    assert set(build().state_dict()) <= own


def test_only_as_deep_as_asked(encoder: Any) -> None:
    alone = encoder.encode(cat(64, 64), (64, 64), ["stage.2"])
    assert list(alone) == ["stage.2"]


def test_the_declared_cost_is_the_real_one(encoder: Any) -> None:
    with FlopCounterMode(display=False) as counter:
        encoder.encode(cat(16, 16), (16, 16), ["neck"])
    assert SPEC.gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=0.02)


def test_the_official_file_is_known_by_its_sha256(
    tensors: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / SPEC.weights_file
    torch.save(tensors, file)
    with pytest.raises(WeightsError, match=r"expected the official file of that name \(sha256 6dbb90523a35…\)"):
        MOBILE_SAM.load(file, "cpu")
    monkeypatch.setattr(weights, "sha256_of", lambda _: SPEC.weights_sha256)
    assert MOBILE_SAM.load(file, "cpu").stamps == ()


def test_what_does_not_fit_is_a_message(encoder: Any, tmp_path: Path) -> None:
    assert encoder.stamps == ("UNVERIFIED",)
    with pytest.raises(ImageError, match="larger than the encoder's input"):
        encoder.encode(torch.zeros(1, 3, 8, 1025, dtype=torch.uint8), (8, 1025), ["neck"])
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"Is it MobileSAM's mobile_sam.pt\?"):
        MOBILE_SAM.load(tmp_path / "mine.pth", "cpu")
    with pytest.raises(WeightsError, match=r"Type --weights mobile_sam.pt"):
        MOBILE_SAM.load(None, "cpu")
