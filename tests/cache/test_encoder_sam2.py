"""SAM 2.1 from the names and shapes of the official files, against what the official module gave.

`sam2_tensors.txt` lists the image encoder's tensors of the four official files; their values here are made up.
`sam2_official.json` was written by facebookresearch/sam2's own `ImageEncoder` (commit 2b90b9f) holding those values.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from skimage import data as photographs
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms.v2.functional import resize

from cache import weights
from cache.conformance import CHECKS, check_encoder
from cache.encoders.sam2 import SAM2_BASE_PLUS, SAM2_LARGE, SAM2_SMALL, SAM2_TINY, SHAPES, Sam2, build, ours
from cache.errors import WeightsError
from cache.identity import EncoderIdentity
from cache.views import parse_view

HERE = Path(__file__).parent
FAMILIES = [SAM2_TINY, SAM2_SMALL, SAM2_BASE_PLUS, SAM2_LARGE]
FEWER = {  # all of tiny; of the others as many blocks as show every kind of them
    "sam2-tiny": SHAPES["sam2-tiny"],
    "sam2-base-plus": SHAPES["sam2-base-plus"]._replace(depths=(1, 2, 3, 2), global_blocks=(4,)),
    "sam2-large": SHAPES["sam2-large"]._replace(depths=(1, 2, 3, 2), global_blocks=(4,)),
}


def listed(name: str) -> dict[str, tuple[int, ...]]:
    lines = (HERE / "sam2_tensors.txt").read_text().splitlines()
    column = lines[0].split().index(name.removeprefix("sam2-").replace("-", "_"))
    rows = [line.split() for line in lines[1:]]
    return {r[0]: tuple(int(n) for n in r[column].split("x")) for r in rows if r[column] != "-"}


def made_up(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Values by a tensor's name (ours) and nothing else; position terms and biases are not zero."""
    found = {}
    for name, shape in shapes.items():
        seed = int.from_bytes(hashlib.sha256(ours(name).encode()).digest()[:8], "big")
        values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        spread = 1.0 if "pos_embed" in name else 0.1 if len(shape) == 1 else float(np.prod(shape[1:])) ** -0.5
        scale = "norm" in name and name.endswith("weight")
        found[name] = torch.from_numpy(values * np.float32(spread) + np.float32(scale))
    return found


def cat(h: int, w: int) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(photographs.chelsea()[:h, :w])).permute(2, 0, 1)[None]


def probed(value: torch.Tensor) -> list[float]:
    """A map in 18 numbers: mean, deviation, and 16 places spread over it."""
    flat = value.flatten()
    places = flat[torch.arange(16) * (flat.numel() // 16) + 7]
    return [float(value.mean()), float(value.std(correction=0)), *places.tolist()]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the official form: everything under `model`, and tensors that are not the image encoder's."""
    path = tmp_path_factory.mktemp("weights") / "mine.pt"
    torch.save({"model": {"maskmem_tpos_enc": torch.zeros(7, 1, 1, 64)} | made_up(listed("sam2-tiny"))}, path)
    return path


@pytest.mark.parametrize("name", FEWER)
def test_every_tap_is_the_official_modules(name: str) -> None:
    """On a photograph of 96 x 160, where windows are padded in every stage."""
    module = build(FEWER[name])
    module.load_state_dict(made_up({n: tuple(v.shape) for n, v in module.state_dict().items()}))
    family = next(f for f in FAMILIES if f.spec.name == name)
    encoder = Sam2(family.spec, module, EncoderIdentity(name, "made up", "-", "fp32"), (), "cpu")
    expected = json.loads((HERE / "sam2_official.json").read_text())[name]
    found = encoder.encode(cat(96, 160), (96, 160), list(expected))
    for tap in family.spec.taps:
        assert found[tap.name].shape == (1, tap.channels, 96 // tap.stride, 160 // tap.stride)
        deviation = expected[tap.name][1]
        np.testing.assert_allclose(probed(found[tap.name]), expected[tap.name], rtol=0, atol=2e-5 * deviation)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.spec.name)
def test_the_official_tensors_are_what_it_takes(family: Any) -> None:
    with torch.device("meta"):
        wanted = {n: tuple(v.shape) for n, v in build(SHAPES[family.spec.name]).state_dict().items()}
    assert {ours(n): shape for n, shape in listed(family.spec.name).items()} == wanted


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.spec.name)
def test_the_declared_cost_is_the_real_one(family: Any) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module: Any = build(SHAPES[family.spec.name])
        maps = module.trunk.forward_intermediates(torch.empty(1, 3, 1024, 1024), intermediates_only=True)
        module.neck[0](maps[3]), module.neck[1](maps[2])
    assert family.spec.gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=0.01)


def test_an_official_file_does_what_every_encoder_must(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a small view: the same network at a sixteenth of the side."""
    monkeypatch.setattr("cache.conformance.SIZES", ((64, 48), (9, 5)))
    monkeypatch.setattr(SAM2_TINY, "spec", msgspec.structs.replace(SAM2_TINY.spec, view="long64"))
    assert len(check_encoder(SAM2_TINY, tiny)) == len(CHECKS)


def test_any_shape_of_image_is_seen_whole(tiny: Path) -> None:
    """The trap: SAM 2 squashes where SAM pads; the square view leaves nothing to pad."""
    view = parse_view(SAM2_TINY.spec.view)
    assert {view.size(w, h) for w, h in ((640, 480), (31, 900), (1024, 1024), (1, 1))} == {(1024, 1024)}
    encoder = SAM2_TINY.load(tiny, "cpu")
    odd = encoder.encode(cat(70, 90), (70, 90), ["stage.1", "stage.2"])
    assert odd["stage.1"].shape == (1, 96, 18, 23)
    assert list(encoder.encode(cat(70, 90), (70, 90), ["stage.2"])) == ["stage.2"]


def test_the_square_view_is_sam_2s_resize() -> None:
    """SAM 2 resizes floats with antialiasing; Pillow does so in grey levels, and stays within one of them."""
    photo = photographs.chelsea()
    theirs = resize(torch.from_numpy(photo.copy()).permute(2, 0, 1).float(), [160, 160], antialias=True)
    found = parse_view("square160").apply(photo)
    assert found.shape == (160, 160, 3)
    assert np.abs(found - theirs.permute(1, 2, 0).numpy()).max() <= 1.0


def test_the_official_file_is_known_by_its_sha256(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SAM2_TINY.spec
    file = shutil.copy(tiny, tmp_path / spec.weights_file)
    with pytest.raises(WeightsError, match=r"expected the official file of that name \(sha256 7402e0d864fa…\)"):
        SAM2_TINY.load(file, "cpu")
    monkeypatch.setattr(weights, "sha256_of", lambda _: spec.weights_sha256)
    assert SAM2_TINY.load(file, "cpu").stamps == ()


def test_a_file_of_another_size_says_which(tiny: Path, tmp_path: Path) -> None:
    encoder = SAM2_TINY.load(tiny, "cpu")
    assert encoder.stamps == ("UNVERIFIED",)
    with pytest.raises(WeightsError, match=r"It looks like sam2-tiny: type --encoder sam2-tiny\."):
        SAM2_SMALL.load(tiny, "cpu")
    with pytest.raises(WeightsError, match=r"Type --weights FILE"):
        SAM2_TINY.load(None, "cpu")
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "mine.pt")
    with pytest.raises(WeightsError, match=r"Is it a SAM 2 checkpoint"):
        SAM2_TINY.load(tmp_path / "mine.pt", "cpu")
