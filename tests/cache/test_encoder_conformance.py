"""The built-in encoders that need no file do what every encoder must, and the suite notices encoders that do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import torch

import cache
from cache import ENCODERS
from cache.conformance import CHECKS, NotConformingError, check_encoder
from cache.encoders.efficientnet import EFFICIENTNET_LITE0
from cache.encoders.sam import SAM_TINY
from cache.identity import EncoderIdentity


@pytest.mark.parametrize("family", [SAM_TINY, EFFICIENTNET_LITE0], ids=lambda f: f.spec.name)
def test_a_built_in_encoder_does_what_every_encoder_must(family: Any) -> None:
    assert len(check_encoder(family)) == len(CHECKS)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_table_names_what_it_says(name: str) -> None:
    module, _, attribute = ENCODERS[name].partition(":")
    family = getattr(__import__(module, fromlist=[attribute]), attribute)
    assert family.spec.name == name


def wrong(fakes: ModuleType, what: str) -> Any:
    """A fake encoder with one fault."""
    turns = iter(range(1000))

    class Wrong(fakes.FakeEncoder):
        spec = fakes.SPEC

        def load(self, weights: Path | None, device: str) -> Any:
            loaded = Wrong()
            if what == "moody identity":
                loaded.identity = EncoderIdentity("fake", f"{next(turns)}", "1", "fp32")
            return loaded

        def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Sequence[str]) -> dict[str, torch.Tensor]:
            if what == "single pixel" and valid == (1, 1):
                raise RuntimeError("kernel larger than input")
            if what == "padding":
                valid = (pixels.shape[2], pixels.shape[3])
            maps = super().encode(pixels, valid, taps)
            match what:
                case "company":
                    return {t: m - m.mean(0) for t, m in maps.items()}
                case "moody":
                    return {t: m + 1e-3 * next(turns) for t, m in maps.items()}
                case "half":
                    return {t: m.half() for t, m in maps.items()}
                case "not finite":
                    return {t: m / 0 for t, m in maps.items()}
                case "blind":
                    return {t: torch.ones_like(m) for t, m in maps.items()}
                case "channels":
                    return {t: torch.cat([m, m], dim=1) for t, m in maps.items()}
                case "grid":
                    return {t: m.repeat_interleave(2, dim=2) for t, m in maps.items()}
                case "too many":
                    return super().encode(pixels, valid, ["fine", "coarse"])
                case "writes":
                    pixels[:] = 0
            return maps

    if what == "output":
        Wrong.spec = msgspec.structs.replace(fakes.SPEC, output="deep")
    if what == "tap name":
        Wrong.spec = msgspec.structs.replace(fakes.SPEC, taps=(fakes.SPEC.taps[0]._replace(name="Fine One"),))
    if what == "unstamped":
        Wrong.stamps = ()
    return Wrong()


@pytest.mark.parametrize(
    ("what", "failing"),
    [
        ("output", "declares_what_can_be_kept"),
        ("tap name", "declares_what_can_be_kept"),
        ("unstamped", "declares_what_can_be_kept"),
        ("moody identity", "has_an_identity"),
        ("single pixel", "gives_maps_as_declared"),
        ("half", "gives_maps_as_declared"),
        ("not finite", "gives_maps_as_declared"),
        ("channels", "gives_maps_as_declared"),
        ("grid", "gives_maps_as_declared"),
        ("too many", "gives_only_what_is_asked"),
        ("company", "is_indifferent_to_company"),
        ("padding", "never_sees_padding"),
        ("moody", "repeats_itself"),
        ("writes", "repeats_itself"),
        ("blind", "tells_images_apart"),
    ],
)
def test_the_suite_names_what_a_wrong_encoder_does_wrong(fakes: ModuleType, what: str, failing: str) -> None:
    with pytest.raises(NotConformingError, match=rf"every encoder must; found \d+ failures:[\s\S]*{failing}: "):
        check_encoder(wrong(fakes, what))


def test_a_right_one_passes(fakes: ModuleType) -> None:
    assert check_encoder(wrong(fakes, "nothing")) == [check.__name__ for check in CHECKS]


def test_the_table_of_encoders_costs_no_import() -> None:
    """A list of names on a command line must not wait for torch; nor must the declared facts of SAM."""
    code = (
        "import sys, cache.encoders.sam, cache.encoders.efficientnet, cache.encoders.onnx, cache.encoders.floors;"
        "print([m for m in ('torch', 'timm', 'onnxruntime', 'numpy', 'PIL', 'zarr') if m in sys.modules])"
    )
    root = Path(cache.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
