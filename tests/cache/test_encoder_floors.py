"""Floors: formulas that agree with others' implementations, and vectors that a store keeps as they are."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cache.compaction import compact
from cache.conformance import CHECKS, check_encoder
from cache.derive import possible
from cache.encode import Item, encode_items
from cache.encoders import brisque
from cache.encoders.base import Facts, Tap
from cache.encoders.floors import BUCKETS, NSS, PIXEL_SPECTRUM, SHORTCUTS, bucket
from cache.errors import UsageError, WeightsError
from cache.exchange import export, load
from cache.features import expand
from cache.identity import Identity
from cache.images import DECODING
from cache.store import FeatureStore
from cache.summaries import spectrum
from cache.views import parse_view

FLOORS = [PIXEL_SPECTRUM, NSS, SHORTCUTS]
NATIVE = parse_view("native")

# piq.brisque._natural_scene_statistics and piq.functional.imresize of PIQ 0.8.0, in float64, on the grey image of
# `patterned` and on that of a photograph (tid2013/i04_03_4.bmp).
PIQ_PATTERNED = [
    *(10.0, 0.636191, 1.427, -0.122128, 0.474724, 0.27936, 1.219, -0.025349, 0.407838, 0.365221, 1.232, -0.057774),
    *(0.467163, 0.366646, 1.528, -0.139063, 0.498345, 0.275884, 2.501, 0.245694, 0.838, 0.049465, 0.043755, 0.079874),
    *(0.808, 0.05645, 0.041459, 0.083159, 0.777, 0.041665, 0.050347, 0.082789, 0.751, 0.014959, 0.064054, 0.076227),
]
PIQ_PHOTOGRAPH = [
    *(2.625, 0.404247, 0.9, 0.121205, 0.084058, 0.217328, 0.899, 0.118282, 0.085124, 0.215131, 0.883, -0.033732),
    *(0.167922, 0.129934, 0.884, -0.031977, 0.167926, 0.131806, 2.689, 0.4465, 0.909, 0.090538, 0.124214, 0.234002),
    *(0.907, 0.097725, 0.122811, 0.242311, 0.89, -0.036318, 0.20827, 0.16272, 0.895, -0.033195, 0.204322, 0.162951),
]


def patterned(h: int, w: int) -> np.ndarray:
    """(h, w, 3) grey: waves and hashed grain, the same on every machine."""
    y, x = np.mgrid[:h, :w]
    grey = 96 + 60 * np.sin(x / 7) * np.cos(y / 11) + ((x * x + 3 * x * y + 7 * y * y) * 2654435761 >> 7) % 61
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def encoded(family: Any, items: list[Item], *patterns: str) -> list[Any]:
    spec = family.spec
    wanted = expand(patterns or spec.kept, [tap.name for tap in spec.taps], vectors=spec.vectors)
    return list(encode_items(items, family.load(None, "cpu"), NATIVE, wanted, threads=1))


@pytest.mark.parametrize("family", FLOORS, ids=lambda f: f.spec.name)
def test_a_floor_does_what_every_encoder_must_and_has_no_weights(family: Any) -> None:
    assert len(check_encoder(family)) == len(CHECKS)
    with pytest.raises(WeightsError, match="Leave --weights out"):
        family.load(Path("some.pth"), "cpu")


# --- nss ------------------------------------------------------------------------------------------------------------


def test_nss_gives_the_features_of_another_implementation() -> None:
    np.testing.assert_allclose(brisque.features(patterned(64, 96)), PIQ_PATTERNED, rtol=0, atol=1e-6)


@pytest.mark.data
def test_nss_gives_them_on_a_photograph(data_root: Path) -> None:
    rgb = np.asarray(Image.open(data_root / "images/tid2013/i04_03_4.bmp").convert("RGB"))
    np.testing.assert_allclose(brisque.features(rgb), PIQ_PHOTOGRAPH, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 40), (33, 40), (32, 41)])
def test_halving_is_pillows_away_from_the_edges(size: tuple[int, int]) -> None:
    """Both take the antialiased cubic kernel with a = -0.5; at the edges Pillow cuts it off, and an odd size is
    rounded up here, so that only even ones are on Pillow's grid.
    """
    image = np.random.default_rng(0).random(size) * 255
    found = brisque.halved(image)
    assert found.shape == (-(-size[0] // 2), -(-size[1] // 2))
    even = image[: size[0] // 2 * 2, : size[1] // 2 * 2].astype(np.float32)
    theirs = np.asarray(
        Image.fromarray(even).resize((even.shape[1] // 2, even.shape[0] // 2), Image.Resampling.BICUBIC)
    )
    np.testing.assert_allclose(found[2:14, 2:18], theirs[2:14, 2:18], atol=1e-3)
    np.testing.assert_allclose(brisque.halved(np.full(size, 7.0)), 7.0)


@given(st.integers(1, 24), st.integers(1, 24), st.sampled_from([1, 2, 3, 256]), st.integers(0, 99))
def test_a_turned_image_has_its_two_directions_exchanged(h: int, w: int, levels: int, seed: int) -> None:
    """Few levels make flat places: the trap is that rounding there decides what counts as left and what as right."""
    step = 255 // max(levels - 1, 1)
    grey = (np.random.default_rng(seed).integers(0, levels, (h, w)) * step).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    straight, turned = brisque.features(rgb), brisque.features(rgb.transpose(1, 0, 2))
    assert np.isfinite(straight).all()
    exchanged = [i for scale in (0, 18) for i in (0, 1, 6, 7, 8, 9, 2, 3, 4, 5, *range(10, 18))]
    order = [i + scale for scale in (0, 18) for i in exchanged[:18]]
    np.testing.assert_allclose(turned[order], straight, atol=0.0025, rtol=1e-3)


def test_a_black_image_has_the_stated_features(tmp_path: Path) -> None:
    Image.new("RGB", (9, 5)).save(tmp_path / "black.png")
    (row,) = encoded(NSS, [Item("black", tmp_path / "black.png")])
    nothing = [0.2, 0, *[0.2, 0, 0, 0] * 4]
    assert row.features["brisque:vector"].tolist() == pytest.approx([*nothing, *nothing])


# --- pixel-spectrum -------------------------------------------------------------------------------------------------


def test_pixel_spectrum_keeps_summaries_of_luma(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (23, 30, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    (row,) = encoded(PIXEL_SPECTRUM, [Item("a", tmp_path / "a.png")])
    assert sorted(row.features) == ["luma:moments", "luma:spectrum"]
    luma = (rgb @ np.array([0.299, 0.587, 0.114])).astype(np.float16).astype(np.float64)
    assert row.features["luma:moments"] == pytest.approx([luma.mean(), luma.std(ddof=1)], rel=1e-4)
    expected = spectrum(torch.from_numpy(luma.astype(np.float32))[None, None])[0].numpy()
    np.testing.assert_allclose(row.features["luma:spectrum"], expected, atol=1e-3)


def test_sharpness_is_seen_in_the_pixel_spectrum(tmp_path: Path) -> None:
    Image.fromarray(patterned(64, 64)).save(tmp_path / "sharp.png")
    Image.fromarray(patterned(64, 64)).resize((16, 16)).resize((64, 64)).save(tmp_path / "soft.png")
    sharp, soft = encoded(PIXEL_SPECTRUM, [Item(name, tmp_path / f"{name}.png") for name in ("sharp", "soft")])
    lost = sharp.features["luma:spectrum"][1:7] - soft.features["luma:spectrum"][1:7]
    assert lost[4:].min() > 2 > abs(lost[:2]).max()


# --- shortcuts ------------------------------------------------------------------------------------------------------


def test_shortcuts_are_the_facts_of_the_file(tmp_path: Path) -> None:
    """The trap: a photograph that its EXIF turns has its height where a viewer sees it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGB", (64, 32), (255, 255, 255))
    picture.save(tmp_path / "turned.jpg", quality=83, exif=exif)
    picture.save(tmp_path / "plain.png")
    items = [Item(name, tmp_path / name, source=source) for name, source in (("turned.jpg", "ss01"), ("plain.png", ""))]
    jpeg, png = (row.features["facts:vector"].tolist() for row in encoded(SHORTCUTS, items))
    size = (tmp_path / "turned.jpg").stat().st_size
    assert jpeg[:7] == pytest.approx([np.log2(size / 2048), 5, 6, -1, 83, 1, 1])
    assert [i for i, value in enumerate(jpeg[7:]) if value] == [bucket("ss01")]
    assert png[1:7] == pytest.approx([6, 5, 1, 0, 0, 1])
    assert png[7:] == [0] * BUCKETS


def test_a_source_has_one_place_in_every_dataset_and_process() -> None:
    assert [bucket(name) for name in ("ss01", "ss02", "ss03", "")] == [35, 23, 39, -1]


def test_facts_reach_only_those_that_declare_to_read_them(tmp_path: Path, fakes: ModuleType) -> None:
    """What every other encoder sees is pixels; `shortcuts` without facts is an error, not a row of zeros."""
    seen: list[tuple[Any, ...]] = []

    class Nosy(fakes.FakeEncoder):
        def encode(self, pixels: torch.Tensor, *rest: Any) -> dict[str, torch.Tensor]:
            seen.append(rest[2:])
            return super().encode(pixels, *rest[:2])

    items = [Item("a", fakes.write_image(tmp_path / "a.png", 8, 8, 0), source="x")]
    nosy = Nosy()
    list(encode_items(items, nosy, NATIVE, fakes.features("*:moments"), threads=1))
    nosy.spec = msgspec.structs.replace(fakes.SPEC, reads_facts=True)
    list(encode_items(items, nosy, NATIVE, fakes.features("*:moments"), threads=1))
    assert seen == [(), ([Facts((tmp_path / "a.png").stat().st_size, 8, 8, 0, "x")],)]
    with pytest.raises(ValueError, match="zip"):
        SHORTCUTS.load(None, "cpu").encode(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), (4, 4), ["facts"])


# --- vectors --------------------------------------------------------------------------------------------------------


def test_patterns_leave_out_what_a_tap_cannot_have() -> None:
    taps = ["a", "v", "b"]
    assert [str(f) for f in expand(["*:moments", "*:vector"], taps, vectors=["v"])] == [
        "a:moments",
        "v:vector",
        "b:moments",
    ]
    for pattern, message in (
        ("v:map", "v:map: v gives one vector an image; expected v:vector"),
        ("v:moments", "v gives one vector"),
        ("a:vector", "a:vector: a gives a map; expected a:map, or a summary"),
    ):
        with pytest.raises(UsageError, match=message):
            expand([pattern], taps, vectors=["v"])
    with pytest.raises(UsageError, match="v gives one vector"):
        expand(["*:moments"], ["v"], vectors=["v"])


class Both:
    """A map and a vector from one pass."""

    def __init__(self, fakes: ModuleType) -> None:
        self.fake = fakes.FakeEncoder()
        self.spec = msgspec.structs.replace(fakes.SPEC, taps=(fakes.SPEC.taps[0], Tap("mean", 3, 0)), output="mean")
        self.identity, self.stamps, self.device = self.fake.identity, self.fake.stamps, "cpu"

    def load(self, weights: Path | None, device: str) -> Both:
        return self

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: list[str]) -> dict[str, torch.Tensor]:
        found = self.fake.encode(pixels, valid, ["fine"])
        mean = pixels[:, :, : valid[0], : valid[1]].double().mean((2, 3)) * 1000  # over the range of float16
        return {tap: {**found, "mean": mean.float()}[tap] for tap in taps}


@pytest.mark.usefixtures("no_fsync")
def test_a_vector_is_kept_as_it_is_through_all_that_a_store_does(tmp_path: Path, fakes: ModuleType) -> None:
    """The trap: rounded to float16 as maps are, 1000 x a mean is infinite and small differences are gone."""
    both: Any = Both(fakes)
    assert len(check_encoder(both)) == len(CHECKS)
    names = fakes.write_images(tmp_path / "images", [(20, 30), (20, 30), (33, 17), (1, 1)])
    identity = Identity(both.identity, NATIVE.identity(), DECODING)
    store = FeatureStore.create(tmp_path / "stores", "set", identity, {}, both.spec.taps)
    wanted = expand(["*:vector", "*:moments"], ["fine", "mean"], vectors=["mean"])
    for some in (names[:2], names):
        store.plan(fakes.look(tmp_path / "images", some), heavy=True)
        for task in store.pending(wanted, some):
            items = [Item(i.id, tmp_path / "images" / i.path, i.sha256, i.width, i.height) for i in task.items]
            store.write(task, list(encode_items(items, both, NATIVE, task.features)), both.spec.grid_of(NATIVE))
    images = [np.asarray(Image.open(tmp_path / "images" / name)) for name in names]
    truth = np.stack([image.reshape(-1, 3).mean(axis=0) * 1000 for image in images]).astype(np.float32)

    def check(opened: FeatureStore) -> None:
        assert [str(f) for f in opened.features()] == ["fine:moments", "mean:vector"]
        np.testing.assert_array_equal(opened.select(["mean:vector"]).table("mean:vector"), truth, strict=True)

    check(store)
    compact(store)
    check(FeatureStore.open(store.path))
    export(store, tmp_path / "all.h5", "h5")
    check(load(tmp_path / "all.h5", tmp_path / "again"))
    for name in ("mean:map", "mean:moments", "fine:vector"):
        with pytest.raises(UsageError, match="gives"):
            store.width(expand([name], ["mean", "fine"], vectors=["mean"] * (name != "mean:map"))[0])
    with pytest.raises(UsageError, match="made from a stored map"):
        possible(store, ["moments"], ["mean"])


def test_jpeg_quality_is_the_one_it_was_saved_with() -> None:
    from cache.images import jpeg_quality

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    for quality in range(1, 101):
        file = io.BytesIO()
        noise.save(file, "JPEG", quality=quality)
        assert jpeg_quality(file.getvalue()) == quality
    assert jpeg_quality(b"") == jpeg_quality(b"no image") == jpeg_quality(file.getvalue()[:30]) == 0
