"""Folding batch norms changes the order of sums and nothing else, whatever a network does with its convolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from packaging.version import Version
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.std_conv import StdConv2d
from torch import nn

from cache.encoders.folding import fold
from cache.encoders.timm import CODE, FOLDED, TIMM

TOLERANCE = 2e-5  # of a map's largest number
NEW = pytest.mark.skipif(
    Version(timm.__version__) < Version("1.0.31"), reason="older timms fail at the maps of this network themselves"
)


def lived(module: Any) -> Any:
    """With norms that do something: as they come, they have mean 0 and deviation 1."""
    torch.manual_seed(0)
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        for values, (low, high) in (
            (norm.running_mean, (-0.3, 0.3)),
            (norm.running_var, (0.5, 2.0)),
            (norm.weight, (0.5, 1.5)),
            (norm.bias, (-0.3, 0.3)),
        ):
            assert values is not None
            values.data.uniform_(low, high)
    return module.eval().requires_grad_(False)


def left(module: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())


def check_same(module: Any, pixels: torch.Tensor) -> None:
    """That the maps are those from before it is folded."""
    with torch.inference_mode():
        before = [value.clone() for value in module.forward_intermediates(pixels)[1]]
        fold(module, "cpu")
        after = module.forward_intermediates(pixels)[1]
    for one, other in zip(after, before, strict=True):
        assert float((one - other).abs().max()) <= TOLERANCE * float(other.abs().max())


@pytest.mark.parametrize(
    ("name", "norms", "stay"),
    [
        ("resnet18", 20, 0),
        ("tf_mobilenetv3_small_075", 34, 0),  # timm's convolutions that pad by the size of what they see
        pytest.param("resnetv2_18", 17, 9, marks=NEW),  # those before a convolution stay
        pytest.param("densenet121", 121, 62, marks=NEW),
        ("test_efficientnet", 13, 0),
    ],
)
def test_timms_networks_give_the_same_maps(name: str, norms: int, stay: int) -> None:
    module = lived(timm.create_model(name, pretrained=False, num_classes=0))
    assert left(module) == norms
    check_same(module, torch.rand(2, 3, 75, 107))
    assert left(module) == stay


class Net(nn.Module):
    """A convolution, a norm, and a way to go from one to the other."""

    def __init__(self, course: str) -> None:
        super().__init__()
        self.course = course
        self.conv: Any = (StdConv2d if course == "of another kind" else nn.Conv2d)(3, 3, 3, padding=1)
        self.bn: Any = BatchNormAct2d(3) if course == "with activation" else nn.BatchNorm2d(3)

    def forward_intermediates(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        y = self.conv(x)
        match self.course:
            case "seen twice":
                return y, [self.bn(y) + y]
            case "a tap":
                return y, [y, self.bn(y)]
            case "called twice":
                return y, [self.bn(self.conv(y))]
            case "norm called twice":
                return y, [self.bn(y) + self.bn(x)]
            case "something between":
                return y, [self.bn(y.relu())]
            case "by numbers":
                return y, [self.bn(y if bool(x.mean() > 0) else x)]
        return self.bn(y), []


@pytest.mark.parametrize(
    "course",
    ["seen twice", "a tap", "called twice", "norm called twice", "something between", "by numbers", "of another kind"],
)
def test_a_norm_stays_where_something_else_sees_the_convolution(course: str) -> None:
    module = lived(Net(course))
    check_same(module, torch.rand(2, 3, 16, 16))
    assert left(module) == 1


@pytest.mark.parametrize("course", ["plain", "with activation"])
def test_an_activation_stays_behind_the_norm(course: str) -> None:
    module, pixels = lived(Net(course)), torch.rand(2, 3, 16, 16)
    before = module.forward_intermediates(pixels)[0]
    assert float(before.min()) < 0 or course == "with activation"  # else an activation would not be seen
    assert fold(module, "cpu")
    assert left(module) == 0
    torch.testing.assert_close(module.forward_intermediates(pixels)[0], before)


@pytest.mark.parametrize(("name", "code"), [("resnet18", FOLDED), ("vit_tiny_patch16_224", CODE)])
def test_the_identity_says_whether_a_network_was_folded(name: str, code: str) -> None:
    """A folded network has other last bits; and the network's own name stands beside it."""
    assert TIMM.named(name).load(Path("random"), "cpu").identity.code == f"{code} {name}"
