"""Engines: a batch size that is found once and kept, and speeds that are what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from cache.blocks import BlockTask, PlanItem
from cache.encoders.base import EncoderSpec, Tap
from cache.encoders.efficientnet import EFFICIENTNET_LITE0
from cache.encoders.sam import SAM_VIT_B, SamEncoder
from cache.features import expand
from cache.identity import EncoderIdentity, Identity
from cache.store import FeatureStore
from cache.views import parse_view
from harness.engines import batch, speed

NATIVE = parse_view("native")
SPEC = EncoderSpec(
    name="timed",
    title="An encoder on a device with a clock of its own, for tests",
    family="timed",
    taps=(Tap("out", 1, 4),),
    output="out",
    view="native",
    normalisation="none",
    licence="none",
    source="tests",
    training_data="none",
    gflop=0.0,
    batch=4,
)


class Timed:
    """A pass takes a second for each `lanes` images or part of it; `room` images fit."""

    spec = SPEC
    identity = EncoderIdentity("timed", "none", "1", "fp32")
    stamps: tuple[str, ...] = ()

    def __init__(self, lanes: int, room: int, device: str = "xpu:0") -> None:
        self.lanes, self.room, self.device, self.now, self.tried = lanes, room, device, 0.0, []

    def encode(self, pixels: torch.Tensor, valid: tuple[int, int], taps: Any) -> dict[str, torch.Tensor]:
        self.tried.append(len(pixels))
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        self.now += -(-len(pixels) // self.lanes)
        return {"out": torch.zeros(len(pixels), 1, 1, 1)}


def tasks(count: int) -> list[BlockTask]:
    items = tuple(PlanItem(f"{i}", f"{i}", "", 1, 1, 4, 4) for i in range(count))
    return [BlockTask(1, 0, items, tuple(expand(["out:map", "out:moments"], ["out"])))]


@pytest.mark.parametrize(
    ("lanes", "room", "images", "found"),
    [
        (32, 1000, 256, 32),  # throughput stops rising
        (1000, 20, 256, 16),  # memory ends
        (1000, 1000, 100, 64),  # a block is filled
        (1000, 2, 256, 2),  # not even the encoder's own fits
        (1000, 1000, 3, 3),
        (1, 1000, 256, 4),  # nothing is gained: the encoder's own
    ],
)
def test_a_batch_grows_while_it_pays(
    lanes: int, room: int, images: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Timed(lanes, room)
    monkeypatch.setattr(batch.time, "perf_counter", lambda: encoder.now)
    assert batch.fastest(encoder, NATIVE, tasks(images)) == found


def test_what_was_found_first_is_kept_with_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap: a run that goes on with another batch size gives other last bits to blocks that were half written."""
    store = FeatureStore.create(tmp_path, "set", Identity(Timed.identity, NATIVE.identity(), "1"), {}, SPEC.taps)
    for lanes in (16, 64):
        encoder = Timed(lanes, 1000)
        monkeypatch.setattr(batch.time, "perf_counter", lambda encoder=encoder: encoder.now)
        assert batch.batch_size(FeatureStore.open(store.path), encoder, NATIVE, tasks(256)) == 16
    assert encoder.tried == []


def test_on_a_cpu_the_encoders_own_batch_is_taken(tmp_path: Path) -> None:
    """Nothing is gained by more there, and a store has the same bytes whoever makes it."""
    encoder = Timed(16, 1000, "cpu")
    store = FeatureStore.create(tmp_path, "set", Identity(Timed.identity, NATIVE.identity(), "1"), {}, SPEC.taps)
    assert batch.batch_size(store, encoder, NATIVE, tasks(256)) == SPEC.batch
    assert not (store.path / "agreed").exists()


def test_operations_are_counted_in_proportion_to_pixels() -> None:
    """The declared cost is that of 512 x 512; images of another size cost another."""
    encoder = EFFICIENTNET_LITE0.load(None, "cpu")
    sizes = [(64, 64), (128, 128), (128, 128), (128, 256)]
    items = [PlanItem(f"{w}", "", "", 1, 1, w, h) for w, h in sizes]
    found = speed.gflop(encoder, NATIVE, items)
    expected = EFFICIENTNET_LITE0.spec.gflop * sum(w * h for w, h in sizes) / 512**2
    assert found == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("view", "expected"),
    [("long1024", 942), ("square1024", 942), ("long1024-unpadded", 669), ("long512", 199), ("native", 942)],
)
def test_operations_of_sam_are_those_of_what_it_sees(view: str, expected: float) -> None:
    """The trap: counted by pixels, a padded view costs what one without padding does, and a square more than its frame.
    942 GFLOP are segment-anything's 972 without its padded tokens' share of qkv and proj.
    """
    spec = SAM_VIT_B.spec
    encoder = SamEncoder(spec, cast("Any", None), EncoderIdentity(spec.name, "", "", "fp32"), (), "cpu")
    items = [PlanItem("a", "", "", 1, 1, 1024, 768)]
    assert speed.gflop(encoder, parse_view(view), items) == pytest.approx(expected, rel=0.005)


def test_speed_is_work_by_time() -> None:
    encoder = EFFICIENTNET_LITE0.load(None, "cpu")
    items = [PlanItem("a", "", "", 1, 1, 64, 64)] * 10
    found = speed.speed(speed.Work(10, 4.0, 3.0, 4.0), encoder, [(NATIVE, items)], ["cpu", "cpu"])
    assert (found.images_per_second, found.idle) == (2.5, 0.25)
    assert found.tflops == pytest.approx(speed.gflop(encoder, NATIVE, items) / 3e3)
    assert found.share == pytest.approx(found.tflops / found.peak_tflops)
    assert "2.5 images/s, the encoder waited 25.0% of the time" in str(found)


def test_an_encoder_whose_operations_torch_does_not_see_has_no_rate() -> None:
    found = speed.speed(speed.Work(1, 1.0, 1.0, 1.0), Timed(1, 1, "cpu"), [(NATIVE, tasks(1)[0].items)], ["cpu"])
    assert (found.tflops, found.share) == (0, 0)
    assert "TFLOP" not in str(found)


def test_a_device_that_is_none_of_torchs_is_measured_as_the_processor() -> None:
    """The trap: `openvino` runs on the processor, and torch knows no device of that name."""
    found = speed.speed(speed.Work(1, 1.0, 1.0, 1.0), Timed(1, 1, "cpu"), [(NATIVE, tasks(1)[0].items)], ["openvino"])
    assert found.peak_tflops > 0
