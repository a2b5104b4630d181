"""EfficientNet-lite0: proved by what it sees in photographs, read where timm itself reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from skimage import data as photographs

from cache.encoders.efficientnet import EFFICIENTNET_LITE0, SPEC, build, packaged
from cache.errors import WeightsError

TAPS = [tap.name for tap in SPEC.taps]


@pytest.fixture(scope="module")
def encoder() -> Any:
    return EFFICIENTNET_LITE0.load(None, "cpu")


def on(photo: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(photo)).permute(2, 0, 1)[None]


# ImageNet classes that a photograph may rightly be called.
SEEN = {
    "chelsea": ({281, 282, 283, 284, 285}, 0.8),  # a tabby, tiger, Persian, Siamese, Egyptian cat
    "coffee": ({504, 967, 968}, 0.8),  # a coffee mug, an espresso, a cup
    "rocket": ({657, 744}, 0.3),  # a missile, a projectile: ImageNet has no rocket; a drilling platform comes second
}


@pytest.mark.parametrize("name", SEEN)
def test_it_sees_what_is_in_a_photograph(name: str, encoder: Any) -> None:
    """The package names its tensors in an older way and they are matched by order: a wrong order sees nothing. The
    whole network, its classifier too, on the encoder's own normalisation.
    """
    image = Image.fromarray(getattr(photographs, name)())
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    with torch.inference_mode():
        head = encoder.encode(on(np.array(square)), (224, 224), ["head"])["head"]
        share = encoder._module.classifier(encoder._module.global_pool(head)).softmax(1)[0]
    right, least = SEEN[name]
    assert int(share.argmax()) in right
    assert float(share[sorted(right)].sum()) > least


def test_taps_are_what_timm_gives(encoder: Any) -> None:
    """By timm's own forward_intermediates of a network that this test makes, at an odd size; within 2e-5 of a map's
    largest number, since the encoder's batch norms are folded.
    """
    module: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    module.load_state_dict(build(packaged()).state_dict())
    pixels = on(photographs.chelsea()[:187, :211])
    with torch.inference_mode():
        x = (pixels.float() - 127) / 128
        last, five = module.eval().forward_intermediates(x)
        stages: list[torch.Tensor] = []
        hooks = [b.register_forward_hook(lambda _m, _i, out: stages.append(out)) for b in module.blocks]
        module(x)
        for hook in hooks:
            hook.remove()
    found = encoder.encode(pixels, (187, 211), TAPS)
    assert len(five) == 5
    named = [(f"stage.{i}", stage) for i, stage in enumerate(stages, 1)]
    deepest = (1, 2, 3, 5, 7)  # where the stride changes next
    named += [(f"stage.{i}", stage) for i, stage in zip(deepest, five, strict=True)]
    for tap, value in [*named, ("head", last)]:
        assert float((found[tap] - value).abs().max()) <= 2e-5 * float(value.abs().max())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in encoder._module.modules())


@pytest.mark.parametrize("size", [(359, 357), (33, 65), (1, 1), (2, 300), (224, 224), (31, 32)])
def test_grids_and_channels_are_as_declared(size: tuple[int, int], encoder: Any) -> None:
    width, height = size
    pixels = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    found = encoder.encode(pixels, (height, width), TAPS)
    for tap in SPEC.taps:
        assert tuple(found[tap.name].shape) == (1, tap.channels, *SPEC.grid(tap.name, width, height))


def test_an_image_is_the_same_in_any_company(encoder: Any) -> None:
    """Alone, in a batch, at any place in it. Equal bytes on the machine this was written on; 1e-5 of the largest
    value is what is promised, since other processors may choose other kernels for other batches.
    """
    cat = photographs.chelsea()
    pixels = torch.cat(
        [on(cat[y : y + 90, x : x + 120]) for y, x in ((0, 0), (100, 200), (150, 50), (60, 300), (9, 99))]
    )
    together = encoder.encode(pixels, (90, 120), TAPS)
    turned = encoder.encode(pixels.flip(0), (90, 120), TAPS)
    for i in range(5):
        alone = encoder.encode(pixels[i : i + 1], (90, 120), TAPS)
        for tap in TAPS:
            scale = float(alone[tap].abs().max())
            assert float((together[tap][i] - alone[tap][0]).abs().max()) <= 1e-5 * scale
            assert float((turned[tap][4 - i] - alone[tap][0]).abs().max()) <= 1e-5 * scale


def test_only_as_deep_as_asked(encoder: Any) -> None:
    ran: list[int] = []
    hooks = [
        b.register_forward_hook(lambda _m, _i, _o, i=i: ran.append(i)) for i, b in enumerate(encoder._module.blocks, 1)
    ]
    encoder.encode(torch.zeros(1, 3, 40, 40, dtype=torch.uint8), (40, 40), ["stage.3"])
    for hook in hooks:
        hook.remove()
    assert ran == [1, 2, 3]


def test_the_declared_cost_is_the_real_one(encoder: Any) -> None:
    """Twice the multiply-accumulates of convolutions, counted on one image of the size that is stated."""
    total = 0

    def count(module: Any, _: Any, out: torch.Tensor) -> None:
        nonlocal total
        kernel = module.weight[0].numel()
        total += 2 * kernel * out.numel()

    hooks = [m.register_forward_hook(count) for m in encoder._module.modules() if isinstance(m, torch.nn.Conv2d)]
    side = 512
    encoder.encode(torch.zeros(1, 3, side, side, dtype=torch.uint8), (side, side), TAPS)
    for hook in hooks:
        hook.remove()
    assert SPEC.gflop == pytest.approx(total / 1e9, rel=0.06)


def test_weights_of_ones_own_are_stamped(tmp_path: Path, encoder: Any) -> None:
    torch.save(build(packaged()).state_dict(), tmp_path / "mine.pth")  # timm's own names this time
    own = EFFICIENTNET_LITE0.load(tmp_path / "mine.pth", "cpu")
    assert (own.stamps, encoder.stamps) == (("UNVERIFIED",), ())
    assert own.identity != encoder.identity
    pixels = on(photographs.chelsea()[:64, :64])
    for tap, value in own.encode(pixels, (64, 64), TAPS).items():
        assert torch.equal(value, encoder.encode(pixels, (64, 64), TAPS)[tap])


def test_the_weights_are_the_packages(encoder: Any) -> None:
    assert packaged().is_file()
    assert encoder.identity.weights.startswith("579344248a93")


@pytest.mark.parametrize("cut", [1, 5])
def test_other_tensors_are_refused(tmp_path: Path, cut: int) -> None:
    tensors = list(build(packaged()).state_dict().items())
    torch.save(dict(tensors[:-cut]), tmp_path / "short.pth")
    torch.save({f"x{i}": v for i, (_, v) in enumerate(tensors[cut:] + tensors[:cut])}, tmp_path / "turned.pth")
    for name in ("short.pth", "turned.pth"):
        with pytest.raises(WeightsError, match=r"expected the .* tensors"):
            build(tmp_path / name)
