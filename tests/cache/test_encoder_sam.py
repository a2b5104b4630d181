"""SAM's encoders against segment-anything itself: same weights files, same padding, same maps at every block."""

from __future__ import annotations

import copy
import sys
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
import torch
from segment_anything.build_sam import _build_sam
from segment_anything.modeling import Sam
from segment_anything.modeling.image_encoder import ImageEncoderViT
from skimage import data as photographs
from torch.utils.flop_counter import FlopCounterMode

from cache.conformance import CHECKS, check_encoder
from cache.encoders import sam, sam_forward
from cache.encoders.sam import SAM_TINY, SAM_VIT_B, SAM_VIT_H, SAM_VIT_L, SHAPES, SamFamily
from cache.errors import UsageError, WeightsError
from cache.identity import EncoderIdentity
from cache.views import parse_view
from cache.weights import sha256_of

FRAME = 256  # 16 x 16 tokens: more than a window of 14, so that windows are padded and position terms resampled
BIG = {"sam-vit-b": SAM_VIT_B, "sam-vit-l": SAM_VIT_L, "sam-vit-h": SAM_VIT_H}


def reference(shape: sam.Shape) -> Any:
    """segment-anything's own module of this shape: the product takes only the names and shapes of its tensors."""
    module = ImageEncoderViT(
        img_size=shape.frame,
        patch_size=16,
        embed_dim=shape.dim,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=4,
        norm_layer=cast("Any", partial(torch.nn.LayerNorm, eps=1e-6)),  # as segment-anything itself does
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=shape.global_blocks,
        window_size=shape.window,
        out_chans=shape.out,
    )
    return module.eval().requires_grad_(False)


def randomised(module: torch.nn.Module, seed: int = 0) -> None:
    """Random weights, position terms too: with segment-anything's own zeros a wrong one would not show."""
    torch.manual_seed(seed)
    for name, parameter in module.named_parameters():
        spread = 0.3 if "rel_pos" in name or "pos_embed" in name else 0.6 / max(parameter[0].numel(), 1) ** 0.5
        parameter.data.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, spread)


def official(image_encoder: torch.nn.Module, path: Path) -> Path:
    """A checkpoint in the official form: the whole model's names, others' beside the encoder's."""
    state = {f"image_encoder.{n}": v for n, v in image_encoder.state_dict().items()}
    torch.save({**state, "mask_decoder.iou_token.weight": torch.zeros(1, 256)}, path)
    return path


def whole_sam(image_encoder: Any) -> Sam:
    """segment-anything's model around an encoder; its decoders are not asked."""
    nothing: Any = torch.nn.Identity()
    return Sam(image_encoder, nothing, nothing, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]).eval()


def theirs(model: Sam, pixels: np.ndarray) -> dict[str, torch.Tensor]:
    """Every block's output and the neck's by segment-anything's own forward and padding: (C, h, w), uncropped."""
    found: dict[str, torch.Tensor] = {}
    encoder: Any = model.image_encoder
    hooks = [
        block.register_forward_hook(lambda _m, _i, out, i=i: found.__setitem__(f"block.{i}", out[0].permute(2, 0, 1)))
        for i, block in enumerate(encoder.blocks)
    ]
    with torch.inference_mode():
        x = model.preprocess(torch.from_numpy(pixels).permute(2, 0, 1).float())
        found["neck"] = encoder(x[None])[0]
    for hook in hooks:
        hook.remove()
    return found


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def compare(encoder: Any, model: Sam, view: str, rgb: np.ndarray) -> None:
    pixels = parse_view(view).apply(np.ascontiguousarray(rgb)).copy()
    h, w = pixels.shape[:2]
    expected = theirs(model, pixels)
    found = encoder.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None], (h, w), list(expected))
    gh, gw = -(-h // 16), -(-w // 16)
    assert len(expected) >= 2
    for tap, value in expected.items():
        assert relative_error(found[tap][0], value[:, :gh, :gw]) <= 1e-5, tap


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("name", BIG)
def test_every_tap_is_segment_anythings(
    name: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real width, heads and windows of each size in a smaller frame: ViT-B whole, of L and H three blocks."""
    if device == "openvino":
        pytest.importorskip("openvino")
    shape = SHAPES[name]._replace(frame=FRAME)
    if name != "sam-vit-b":
        shape = shape._replace(depth=3, global_blocks=(1,))
    monkeypatch.setitem(SHAPES, name, shape)
    model = whole_sam(reference(shape))
    randomised(model.image_encoder)
    encoder = BIG[name].load(official(model.image_encoder, tmp_path / "mine.pth"), device)
    assert encoder.stamps == ("UNVERIFIED",)
    cat = photographs.chelsea()
    for rgb in (cat[:256, :256], cat[:200, :61]):  # square, tall
        compare(encoder, model, f"long{FRAME}", rgb)


def test_the_frame_of_1024_is_segment_anythings(tmp_path: Path) -> None:
    """ViT-B as segment-anything builds it, whole, on a wide photograph: attention over 64x64 tokens."""
    torch.manual_seed(0)
    model = _build_sam(768, 12, 12, [2, 5, 8, 11])
    randomised(model.image_encoder)
    torch.save(model.state_dict(), tmp_path / "mine.pth")  # decoders and all
    encoder = SAM_VIT_B.load(tmp_path / "mine.pth", "cpu")
    compare(encoder, model, "long1024", photographs.coffee()[:, :450])


def test_the_tiny_one_is_segment_anythings_too() -> None:
    encoder: Any = SAM_TINY.load(None, "cpu")
    module = reference(SHAPES["sam-tiny"])
    module.load_state_dict(encoder._module.state_dict())
    compare(encoder, whole_sam(module), "long256", photographs.rocket()[:300])


@pytest.mark.parametrize("crop", [(427, 200), (200, 640), (400, 420)])
def test_p19_padding_is_in_no_map_and_moves_no_number(crop: tuple[int, int]) -> None:
    """The trap: a padded band says how wide a picture is, and that says which camera took it."""
    encoder: Any = SAM_TINY.load(None, "cpu")
    pixels = parse_view("long256").apply(np.ascontiguousarray(photographs.rocket()[: crop[0], : crop[1]]))
    h, w = pixels.shape[:2]
    taps = [tap.name for tap in encoder.spec.taps]
    plain = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    padded = torch.randint(0, 256, (1, 3, FRAME, FRAME), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    padded[:, :, :h, :w] = plain
    expected, found = (encoder.encode(image, (h, w), taps) for image in (plain, padded))
    for tap in taps:
        assert found[tap].shape[2:] == (-(-h // 16), -(-w // 16))
        torch.testing.assert_close(found[tap], expected[tap], rtol=0, atol=0)


def test_the_tiny_ones_weights_are_the_same_everywhere() -> None:
    """Its identity is the digest of its seeded weights; another digest on another machine would be another store."""
    assert SAM_TINY.load(None, "cpu").identity.weights.startswith("eca7d1e66acd")


@pytest.mark.parametrize("name", BIG)
def test_declared_facts_are_those_of_segment_anything(name: str) -> None:
    """Channels, depth and strides of the modules that segment-anything builds, without their weights in memory."""
    spec = BIG[name].spec
    with torch.device("meta"):
        module: Any = reference(SHAPES[name])
    assert [t.name for t in spec.taps] == [*(f"block.{i}" for i in range(len(module.blocks))), "neck"]
    assert {t.channels for t in spec.taps[:-1]} == {module.patch_embed.proj.out_channels}
    assert spec.taps[-1].channels == module.neck[0].out_channels
    assert {t.stride for t in spec.taps} == {module.patch_embed.proj.stride[0]}
    own = [i for i, block in enumerate(module.blocks) if block.window_size == 0]
    assert tuple(own) == SHAPES[name].global_blocks
    assert spec.heavy


def test_the_official_files_are_known_by_their_sha256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap: the digits in an official name are its MD5. Taken for the sha256, they refuse the real file as damaged.
    The sums are those that many projects pin, and micro-sam's table among them.
    """
    assert {name: BIG[name].spec.weights_sha256 for name in BIG} == {
        "sam-vit-b": "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        "sam-vit-l": "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        "sam-vit-h": "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    }
    family = tiny_shape("sam-vit-b", monkeypatch)
    file = official(reference(SHAPES["sam-vit-b"]), tmp_path / family.spec.weights_file)
    with pytest.raises(WeightsError, match=r"expected the official file of that name \(sha256 ec2df6273261…\), found "):
        family.load(file, "cpu")
    known = msgspec.structs.replace(family.spec, weights_sha256=sha256_of(file))
    assert SamFamily(known).load(file, "cpu").stamps == ()


@pytest.mark.parametrize("family", [SAM_TINY, *BIG.values()], ids=lambda f: f.spec.name)
def test_the_declared_cost_is_the_real_one(family: SamFamily) -> None:
    """Counted by torch, on shapes alone."""
    shape = SHAPES[family.spec.name]
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        reference(shape)(torch.empty(1, 3, shape.frame, shape.frame))
    assert family.spec.gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=0.02)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("grid", [(64, 64), (16, 15), (3, 9)])
def test_what_our_forward_does_is_what_is_said_of_it(name: str, grid: tuple[int, int]) -> None:
    """Counted by torch, on shapes alone: whole windows, part of them, and fewer tokens than one has."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        sam.build(SHAPES[name])(torch.empty(1, 3, 16 * grid[0], 16 * grid[1]), ["neck"])
    assert sam.gflop(SHAPES[name], *grid) == pytest.approx(counter.get_total_flops() / 1e9, rel=1e-6)


def test_only_as_deep_as_asked() -> None:
    encoder: Any = SAM_TINY.load(None, "cpu")
    ran: list[int] = []
    for i, block in enumerate(encoder._module.blocks):
        block.register_forward_hook(lambda _m, _i, _o, i=i: ran.append(i))
    encoder.encode(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), (16, 16), ["block.1"])
    assert ran == [0, 1]


def in_frame(encoder: Any, rows: int, columns: int, cut: bool) -> Any:
    """segment-anything's module for other pixels, with the tables of an encoder: positions resampled as ViTDet does,
    distances left for its own forward to resample, or resampled and `cut` to the sides of the grid.
    """
    shape, side = SHAPES[encoder.spec.name], max(rows, columns)
    module = reference(shape._replace(frame=16 * side))
    state = dict(encoder._module.state_dict())
    positions = state["pos_embed"].permute(0, 3, 1, 2)
    positions = torch.nn.functional.interpolate(positions, (side, side), mode="bicubic").permute(0, 2, 3, 1)
    state["pos_embed"] = positions[:, :rows, :columns]
    module.pos_embed = torch.nn.Parameter(state["pos_embed"], requires_grad=False)
    for i in shape.global_blocks:
        for axis, count in (("h", rows), ("w", columns)):
            table = state[name := f"blocks.{i}.attn.rel_pos_{axis}"]
            if cut:
                table = torch.nn.functional.interpolate(table.T[None], 2 * side - 1, mode="linear")[0].T
                table = table[side - count : side + count - 1]
            state[name] = table
            setattr(module.blocks[i].attn, f"rel_pos_{axis}", torch.nn.Parameter(table, requires_grad=False))
    module.load_state_dict(state)
    return module


@pytest.mark.parametrize(("height", "width"), [(150, 112), (90, 288), (16, 1)])
def test_in_another_frame_tables_are_resampled_as_segment_anything_does(height: int, width: int) -> None:
    """Smaller and larger than its own 256; segment-anything's forward resamples distances by itself."""
    encoder: Any = SAM_TINY.load(None, "cpu")
    side = -(-max(height, width) // 16)
    model = whole_sam(in_frame(encoder, side, side, cut=False))
    compare(encoder, model, "native", photographs.chelsea()[:height, :width])


@pytest.mark.parametrize(("height", "width"), [(192, 256), (150, 112), (90, 288), (256, 256)])
def test_without_padding_the_module_sees_real_tokens_alone(height: int, width: int) -> None:
    encoder = cast("Any", SAM_TINY.load(None, "cpu")).unpadded()
    rows, columns = -(-height // 16), -(-width // 16)
    module = in_frame(encoder, rows, columns, cut=True)
    rgb = np.ascontiguousarray(photographs.chelsea()[:height, :width])
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (sam.MEAN, sam.STD))
    filled = torch.nn.functional.pad((pixels - mean) / std, (0, 16 * columns - width, 0, 16 * rows - height))
    with torch.inference_mode():
        expected = module(filled[None])
    found = encoder.encode(pixels[None], (height, width), ["neck"])["neck"]
    assert relative_error(found, expected) <= 1e-5


def test_without_padding_it_is_another_feature_but_for_squares() -> None:
    padded: Any = SAM_TINY.load(None, "cpu")
    cat = torch.from_numpy(np.ascontiguousarray(photographs.chelsea()[:256, :256])).permute(2, 0, 1)[None]
    for rows, same in ((256, True), (192, False)):
        one, other = (e.encode(cat[:, :, :rows], (rows, 256), ["neck"])["neck"] for e in (padded, padded.unpadded()))
        assert bool(torch.equal(one, other)) == same
        assert same or float((one - other).norm() / one.norm()) > 0.01


def tiny_shape(name: str, monkeypatch: pytest.MonkeyPatch) -> SamFamily:
    monkeypatch.setitem(SHAPES, name, SHAPES[name]._replace(frame=32, depth=1, global_blocks=()))
    return BIG[name]


def test_a_checkpoint_of_another_size_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_shape("sam-vit-l", monkeypatch)
    file = official(reference(SHAPES["sam-vit-l"]), tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"It looks like sam-vit-l: type --encoder sam-vit-l"):
        tiny_shape("sam-vit-b", monkeypatch).load(file, "cpu")


def test_what_is_no_sam_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"pos_embed is missing.*Is it a SAM checkpoint"):
        tiny_shape("sam-vit-b", monkeypatch).load(tmp_path / "mine.pth", "cpu")


def test_no_checkpoint_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"expected a checkpoint, found none. Type --weights FILE"):
        tiny_shape("sam-vit-h", monkeypatch).load(None, "cpu")


def test_an_encoders_names_without_the_prefix_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = tiny_shape("sam-vit-b", monkeypatch)
    module = reference(SHAPES["sam-vit-b"])
    randomised(module)
    torch.save(module.state_dict(), tmp_path / "bare.pth")
    pixels = torch.full((1, 3, 32, 32), 9, dtype=torch.uint8)
    one = family.load(tmp_path / "bare.pth", "cpu").encode(pixels, (32, 32), ["neck"])["neck"]
    other = family.load(official(module, tmp_path / "whole.pth"), "cpu").encode(pixels, (32, 32), ["neck"])["neck"]
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["sam-tiny", *BIG])
def test_a_precision_is_near(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative rms at every tap, at the real width, heads and windows of each size, with fewer blocks and a smaller
    frame.
    """
    shape = SHAPES[name]
    if name in BIG:
        monkeypatch.setitem(SHAPES, name, shape := shape._replace(frame=FRAME, depth=3, global_blocks=(1,)))
    cat = torch.from_numpy(np.ascontiguousarray(photographs.chelsea()[:200, :256])).permute(2, 0, 1)[None]
    taps = [*(f"block.{i}" for i in range(shape.depth)), "neck"]
    module, spec = sam.build(shape), BIG.get(name, SAM_TINY).spec
    sam.seed(module, 0)

    def found(precision: str) -> dict[str, torch.Tensor]:
        identity = EncoderIdentity(name, "seeded", sam.CODE, precision)
        encoder = sam.SamEncoder(spec, copy.deepcopy(module).to_precision(precision), identity, (), "cpu")
        return encoder.encode(cat, (200, 256), taps)

    expected = found("fp32")
    for precision, most in (("bf16", 1.5e-2), ("fp16", 2e-3)):
        for tap, values in found(precision).items():
            assert values.dtype == torch.float32
            error = float((values - expected[tap]).norm() / expected[tap].norm())
            assert 1e-5 < error <= most, (precision, tap, error)


def test_a_precision_is_another_store() -> None:
    exact = SAM_TINY.load(None, "cpu").identity
    for precision in ("bf16", "fp16"):
        other = SAM_TINY.load(None, "cpu", precision).identity
        assert msgspec.structs.replace(other, precision=exact.precision) == exact != other
        assert other.precision == precision
    with pytest.raises(UsageError, match=r"a precision of fp32, bf16, fp16; found 'int8'"):
        SAM_TINY.load(None, "cpu", "int8")


@pytest.mark.parametrize("room", [4096, 1 << 30])
def test_the_size_of_a_tile_does_not_matter(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One query at a time, or every head of every window at once, of two images."""
    encoder: Any = SAM_TINY.load(None, "cpu")
    cats = torch.from_numpy(np.ascontiguousarray(photographs.chelsea()[:192, :256])).permute(2, 0, 1)[None]
    cats = torch.cat([cats, cats.flip(3)])
    expected = encoder.encode(cats, (192, 256), ["block.3", "neck"])
    monkeypatch.setattr(sam_forward, "TILE_CPU", room)
    monkeypatch.setattr(sam_forward, "MLP_ROWS", room)
    found = encoder.encode(cats, (192, 256), ["block.3", "neck"])
    for tap, value in expected.items():
        assert relative_error(found[tap], value) <= 1e-5


@pytest.mark.parametrize("padded", [True, False])
def test_openvino_takes_any_frame(padded: bool) -> None:
    """Tables are resampled and cut as torch's forward, which is held to segment-anything, does it; sizes in turns."""
    pytest.importorskip("openvino")
    one, other = (cast("Any", SAM_TINY.load(None, device)) for device in ("cpu", "openvino"))
    if not padded:
        one, other = one.unpadded(), other.unpadded()
    for height, width in ((150, 112), (90, 288), (16, 1), (150, 112)):
        pixels = torch.from_numpy(photographs.chelsea()[:height, :width].copy()).permute(2, 0, 1)[None]
        expected, found = (e.encode(pixels, (height, width), ["block.0", "neck"]) for e in (one, other))
        assert all(relative_error(found[tap], expected[tap]) <= 1e-5 for tap in expected)


def test_openvino_does_what_every_encoder_must_and_is_another_store() -> None:
    """Its sums have another order: the last bits differ, so its rows must never be mixed with torch's."""
    pytest.importorskip("openvino")
    assert len(check_encoder(SAM_TINY, device="openvino")) == len(CHECKS)
    one, other = SAM_TINY.load(None, "cpu").identity, SAM_TINY.load(None, "openvino").identity
    assert msgspec.structs.replace(other, code=one.code) == one != other


def test_openvino_refuses_what_it_would_silently_compute_otherwise() -> None:
    """The trap: asked for bf16 on a processor without it, OpenVINO computes in fp32 and says nothing."""
    openvino = pytest.importorskip("openvino")
    here = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for precision in {"fp16"} | {"bf16"} - {p.lower() for p in here}:
        with pytest.raises(UsageError, match=rf"OpenVINO computes in fp32.* found --precision {precision}"):
            SAM_TINY.load(None, "openvino", precision)


def test_without_openvino_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"pip install 'sam-iqa-harness\[openvino\]'"):
        SAM_TINY.load(None, "openvino")
