"""Images in, rows out: in order, each with its features or its own reason, whatever the others do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cache import ahead, passes
from cache import images as decoding
from cache.encode import Block, Encoded, Item, Look, Meter, encode_items, encode_looks
from cache.encoders.efficientnet import EFFICIENTNET_LITE0
from cache.errors import CacheError, ImageError
from cache.features import expand
from cache.views import parse_view


@pytest.fixture
def encode(fakes: ModuleType) -> Callable[..., list[Encoded]]:
    def run(items: Sequence[Item], encoder: Any = None, patterns: Sequence[str] = ("*:map", "*:moments"), **more: Any):
        wanted = expand(patterns, ["fine", "coarse"])
        return list(encode_items(items, encoder or fakes.FakeEncoder(), parse_view("native"), wanted, **more))

    return run


@pytest.fixture
def images(tmp_path: Path, fakes: ModuleType) -> list[Item]:
    sizes = [(20, 30), (20, 30), (33, 17), (20, 30), (20, 30), (20, 30), (20, 30), (20, 30), (64, 64)]
    names = fakes.write_images(tmp_path / "images", sizes)
    return [Item(name, tmp_path / "images" / name) for name in names]


def test_rows_come_in_order_with_the_right_values(images: list[Item], encode: Any, fakes: ModuleType) -> None:
    rows = encode(images)
    assert [row.id for row in rows] == [item.id for item in images]
    for row, item in zip(rows, images, strict=True):
        assert (row.status, row.reason) == ("ok", "")
        for name in fakes.features("*:map", "*:moments"):
            np.testing.assert_array_equal(row.features[str(name)], fakes.truth(item.path, name), strict=True)


def test_neighbours_of_equal_size_share_a_pass(images: list[Item], encode: Any, fakes: ModuleType) -> None:
    encoder = fakes.FakeEncoder()
    encode(images, encoder)
    assert [(call[0], call[2], call[3]) for call in encoder.calls] == [
        (2, 30, 20),
        (1, 17, 33),
        (4, 30, 20),
        (1, 30, 20),
        (1, 64, 64),
    ]
    encoder = fakes.FakeEncoder()
    encode(images, encoder, batch_size=1)
    assert {call[0] for call in encoder.calls} == {1}


def test_only_the_taps_asked_for_are_made(images: list[Item], fakes: ModuleType, encode: Any) -> None:
    (row,) = encode(images[:1], patterns=["coarse:moments"])
    assert list(row.features) == ["coarse:moments"]


def test_each_failure_has_its_reason_and_the_others_go_on(images: list[Item], encode: Any, tmp_path: Path) -> None:
    whole = images[0].path.read_bytes()
    images[0].path.write_bytes(b"")
    images[1].path.write_bytes(b"a letter")
    images[3].path.write_bytes(whole[: len(whole) // 2])
    images[4].path.unlink()
    images[5].path.unlink()
    images[5].path.mkdir()
    images[6] = images[6]._replace(sha256="0" * 64)
    images[7] = images[7]._replace(width=30, height=20)
    reasons = [row.reason for row in encode(images)]
    assert reasons == [
        "empty file",
        "not an image",
        "",
        "truncated",
        "missing",
        "cannot be read",
        "changed",
        "changed",
        "",
    ]


def test_a_failed_row_says_what_was_read(images: list[Item], encode: Any) -> None:
    images[0] = images[0]._replace(sha256="0" * 64)
    images[1].path.unlink()
    rows = encode(images[:3])
    assert [len(row.sha256) for row in rows] == [64, 0, 64]
    assert [row.features for row in rows[:2]] == [{}, {}]
    assert (rows[2].width, rows[2].height) == (33, 17)


@given(
    kinds=st.lists(st.sampled_from(["a", "b", "empty", "gone"]), max_size=14),
    batch=st.integers(1, 5),
    device=st.sampled_from(["cpu", "cuda:0"]),
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_row_is_lost_doubled_or_moved(
    kinds: list[str], batch: int, device: str, encode: Any, tmp_path: Path, fakes: ModuleType
) -> None:
    """On a CPU, and on what passes for a GPU: a fake, as there may be none here."""
    for name, size in (("a.png", 9), ("b.png", 12)):
        fakes.write_image(tmp_path / name, size, size, size)
    (tmp_path / "empty.png").write_bytes(b"")
    items = [Item(f"{i}", tmp_path / f"{kind}.png") for i, kind in enumerate(kinds)]
    encoder = fakes.FakeEncoder()
    encoder.device = device
    rows = encode(items, encoder, batch_size=batch)
    assert [row.id for row in rows] == [item.id for item in items]
    side = {"a": 9, "b": 12}
    for row, kind in zip(rows, kinds, strict=True):
        assert (row.status == "ok") == (kind in side)
        if kind in side:
            assert row.features["fine:map"].shape[:2] == (-(-side[kind] // 4),) * 2


def test_a_gpu_works_at_one_batch_while_the_next_is_laid_out(
    images: list[Item], encode: Any, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap: a GPU that waits while pixels are gathered and rows are taken apart reaches half its speed."""
    second_is_laid_out = threading.Event()
    staged: list[int] = []
    at_work: list[int] = []
    real = passes._staged

    def stage(batch: Any, encoder: Any) -> Any:
        staged.append(len(batch))
        if len(staged) == 2:
            second_is_laid_out.set()
        return real(batch, encoder)

    class Gpu(fakes.FakeEncoder):
        """A fake that waits, as a GPU makes its caller wait; here for what should happen in the meantime."""

        device = "cuda"

        def encode(self, pixels: torch.Tensor, valid: Any, taps: Any) -> Any:
            at_work.append(1)
            assert second_is_laid_out.wait(30)
            assert len(at_work) == 1, "two passes at once need the memory of two"
            at_work.pop()
            return super().encode(pixels, valid, taps)

    monkeypatch.setattr(passes, "_staged", stage)
    rows = encode([images[0]] * 8, Gpu(), batch_size=2)
    assert [row.status for row in rows] == ["ok"] * 8
    assert staged == [2] * 4
    for mine, theirs in zip(rows, encode([images[0]] * 8), strict=True):
        np.testing.assert_array_equal(mine.features["fine:map"], theirs.features["fine:map"])


def test_out_of_memory_halves_the_batch(images: list[Item], encode: Any, fakes: ModuleType) -> None:
    class Small(fakes.FakeEncoder):
        """A fake with room for two images."""

        def encode(self, pixels: torch.Tensor, valid: Any, taps: Any) -> Any:
            found = super().encode(pixels, valid, taps)
            if len(pixels) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return found

    encoder = Small()
    rows = encode(images, encoder)
    assert all(row.status == "ok" for row in rows)
    assert [c[0] for c in encoder.calls] == [2, 1, 4, 2, 2, 1, 1]
    encoder.calls.clear()
    encode([images[3]] * 11, encoder)  # the trap: a batch that does not fit is tried again each time
    assert [c[0] for c in encoder.calls] == [4, 2, 2, 2, 2, 3, 1, 2]
    for mine, theirs in zip(rows, encode(images), strict=True):
        np.testing.assert_array_equal(mine.features["fine:map"], theirs.features["fine:map"])


def test_the_failed_pass_is_let_go_before_the_halves(images: list[Item], encode: Any, fakes: ModuleType) -> None:
    """The trap: an exception that is being handled keeps its frames, and these keep the tensors of the failed pass."""
    import weakref

    alive: list[weakref.ref[torch.Tensor]] = []

    class Large(fakes.FakeEncoder):
        """A fake whose failed pass held a tensor."""

        def encode(self, pixels: torch.Tensor, valid: Any, taps: Any) -> Any:
            assert not [ref for ref in alive if ref() is not None]
            held = torch.zeros(10)
            if len(pixels) > 1:
                alive.append(weakref.ref(held))
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().encode(pixels, valid, taps)

    assert all(row.status == "ok" for row in encode(images, Large()))
    assert len(alive) == 1  # no batch of that size was tried again


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "out of memory"),
        (
            RuntimeError("Kernel size can't be greater\nthan input"),
            "encoder failed: RuntimeError: Kernel size can't be greater",
        ),
        (ValueError("of a plugin"), "encoder failed: ValueError: of a plugin"),
        (ImageError("larger than the encoder's input", "64x64"), "larger than the encoder's input"),
    ],
)
def test_an_image_that_the_encoder_cannot_take_fails_alone(
    images: list[Item], encode: Any, fakes: ModuleType, error: Exception, reason: str, tmp_path: Path
) -> None:
    """In a batch with others of its size: they are encoded, it says why it was not."""
    black = fakes.write_image(tmp_path / "black.png", 20, 30, 1)
    from PIL import Image

    Image.new("RGB", (20, 30)).save(black)
    items = [*images[3:6], Item("black", black), *images[6:]]

    class Picky(fakes.FakeEncoder):
        """A fake that cannot see black."""

        def encode(self, pixels: torch.Tensor, valid: Any, taps: Any) -> Any:
            if bool((pixels.amax(dim=(1, 2, 3)) == 0).any()):
                raise error
            return super().encode(pixels, valid, taps)

    rows = encode(items, Picky())
    assert [row.id for row in rows] == [item.id for item in items]
    assert {row.id: row.reason for row in rows if row.status != "ok"} == {"black": reason}


def test_a_device_that_is_lost_stops_the_run_and_names_the_image(
    images: list[Item], encode: Any, fakes: ModuleType
) -> None:
    """The trap: after a CUDA error every further call fails, and thousands of good images would become failed rows."""
    if not hasattr(torch, "AcceleratorError"):
        pytest.skip("this torch has no error of its own for a lost device")

    class Lost(fakes.FakeEncoder):
        """A fake on a device that fails."""

        def encode(self, *_: Any) -> Any:
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    with pytest.raises(CacheError, match=r"fake on cpu.*'i000\.png'.*device-side assert.*same command again"):
        encode(images, Lost())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "non-finite feature"),
        (float("inf"), "non-finite feature"),
        (65_520.0, "feature over the range of float16"),
        (-1e30, "feature over the range of float16"),
        (65_504.0, ""),
        (65_519.0, ""),  # rounds to the largest there is
    ],
)
def test_a_feature_that_cannot_be_stored_fails_its_row_alone(
    images: list[Item], encode: Any, fakes: ModuleType, value: float, reason: str
) -> None:
    class Odd(fakes.FakeEncoder):
        """A fake with one wild number in the second image of each pass."""

        def encode(self, pixels: torch.Tensor, valid: Any, taps: Any) -> Any:
            maps = super().encode(pixels, valid, taps)
            for m in maps.values():
                m[1:2, 1, -1, -1] = value
            return maps

    rows = encode(images[:2], Odd())
    assert [row.reason for row in rows] == ["", reason]
    if reason:  # a summary is one of the map as it would be stored
        assert [row.reason for row in encode(images[:2], Odd(), ["*:moments"])] == ["", reason]


def test_memory_ahead_is_bounded(images: list[Item], encode: Any, fakes: ModuleType, tmp_path: Path) -> None:
    """The trap: threads that decode ahead without a bound hold the whole dataset in memory."""
    decoded: list[int] = []
    seen: list[int] = []
    real = decoding.decode

    def decode(data: bytes, **more: Any) -> Any:
        decoded.append(1)
        return real(data, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "decode", decode)
        many = [images[0]] * 60
        wanted = expand(["fine:map"], ["fine"])
        for _ in encode_items(many, fakes.FakeEncoder(), parse_view("native"), wanted, batch_size=2, threads=2):
            seen.append(1)
            assert len(decoded) - len(seen) <= 2 * 2 + 2 + 2
    assert len(seen) == 60


def test_leaving_early_leaves_no_thread(images: list[Item], fakes: ModuleType) -> None:
    rows = encode_items(images, fakes.FakeEncoder(), parse_view("native"), expand(["fine:map"], ["fine"]))
    next(iter(rows))
    rows.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_blocks_share_no_pass_and_the_encoders_time_is_measured(images: list[Item], fakes: ModuleType) -> None:
    """The trap: decoding runs ahead over the end of a block; a pass that did, too, would give other bytes each time."""
    encoder, meter = fakes.FakeEncoder(), Meter()
    blocks = [
        Block(images[3:5], fakes.features("*:map")),
        Block(images[5:8], fakes.features("fine:moments")),
        Block([], fakes.features("*:map")),
    ]
    rows = [row for _, row in encode_looks([Look(encoder, parse_view("native"), blocks)], meter=meter)]
    assert [row.id for row in rows] == [item.id for item in images[3:8]]
    assert [len(row.features) for row in rows] == [2, 2, 1, 1, 1]
    assert [call[0] for call in encoder.calls] == [2, 3]
    assert 0 < meter.busy < 60


def test_a_block_is_asked_for_shortly_before_it_is_needed(images: list[Item], fakes: ModuleType) -> None:
    """Several processes share blocks as they get free: one that takes them all at once leaves none to the others."""
    asked: list[int] = []

    def blocks() -> Any:
        for number in range(10):
            asked.append(number)
            yield Block([images[0]] * 8, fakes.features("fine:moments"))

    rows = encode_looks([Look(fakes.FakeEncoder(), parse_view("native"), blocks(), 2)], threads=1)
    for i, _ in enumerate(rows):
        assert len(asked) <= i // 8 + 2
    assert asked == list(range(10))


def test_several_pictures_of_an_image_are_one_row_their_mean(
    images: list[Item], encode: Any, fakes: ModuleType
) -> None:
    """Whatever shares a pass with what: each picture alone, cut out by hand, gives the same mean."""
    from PIL import Image

    wanted = fakes.features("*:moments")
    view = parse_view("tiles16")
    for batch in (1, 3, 100):
        rows = list(encode_items(images, fakes.FakeEncoder(), view, wanted, batch_size=batch))
        assert [row.id for row in rows] == [item.id for item in images]
        for item, row in zip(images, rows, strict=True):
            with Image.open(item.path) as image:
                assert (row.status, row.width, row.height) == ("ok", *image.size)
                boxes = view.boxes(*image.size)
                parts = [np.asarray(image.crop((b.left, b.top, b.left + b.width, b.top + b.height))) for b in boxes]
            for name in wanted:
                one = [summary_of(part, name, fakes) for part in parts]
                np.testing.assert_allclose(row.features[str(name)], np.mean(one, axis=0), rtol=1e-6)


def summary_of(pixels: np.ndarray, name: Any, fakes: ModuleType) -> np.ndarray:
    from cache.passes import summarise

    batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    maps = fakes.FakeEncoder().encode(batch, pixels.shape[:2], [name.tap])[name.tap]
    return summarise(maps.half(), name.what)[0]


def test_an_image_of_which_one_picture_fails_fails(images: list[Item], fakes: ModuleType) -> None:
    class Picky(fakes.FakeEncoder):
        """A fake that takes no odd widths."""

        def encode(self, pixels: torch.Tensor, valid: Any, taps: Any) -> Any:
            if valid[1] % 2:
                raise ImageError("odd", "width")
            return super().encode(pixels, valid, taps)

    whole = images[0].path.read_bytes()
    images[1].path.write_bytes(whole[: len(whole) // 2])
    view = parse_view("tiles16")
    rows = list(encode_items(images, Picky(), view, fakes.features("*:moments"), batch_size=3))
    assert [row.id for row in rows] == [item.id for item in images]
    for i, row in enumerate(rows):
        odd = i != 1 and any(box.width % 2 for box in view.boxes(row.width, row.height))
        assert row.reason == ("truncated" if i == 1 else "odd" if odd else "")
    assert {row.reason for row in rows} == {"", "odd", "truncated"}


@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_several_looks_give_what_each_gives_alone_and_decode_once(
    data: st.DataObject, images: list[Item], fakes: ModuleType
) -> None:
    """Each in blocks of its own, of images of its own, in the order of a plan; an image is decoded once for all."""
    decoded: list[int] = []
    real = decoding.decode

    def decode(raw: bytes, **more: Any) -> Any:
        decoded.append(1)
        return real(raw, **more)

    sizes = {item: decoding.probe(item.path.read_bytes()) for item in images}
    planned = [item._replace(width=w, height=h) for item, (w, h) in sizes.items()]
    planned.sort(key=lambda item: (item.width, item.height, item.id))
    looks: list[Look] = []
    for name in ("native", "half", "tiles16"):
        chosen = [item for item in planned if data.draw(st.booleans())]
        cut = data.draw(st.integers(0, len(chosen)))
        kept = fakes.features("*:moments") if name == "tiles16" else fakes.features("*:map", "fine:moments")
        blocks = [Block(chosen[:cut], kept), Block(chosen[cut:], kept)]
        looks.append(Look(fakes.FakeEncoder(), parse_view(name), blocks, data.draw(st.integers(1, 5))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "decode", decode)
        found = list(encode_looks(looks, threads=2))
    assert len(decoded) == len({item.id for look in looks for block in look.blocks for item in block.items})
    for i, look in enumerate(looks):
        alone = [row for _, row in encode_looks([look])]
        together = [row for at, row in found if at == i]
        assert [row._replace(features={}) for row in together] == [row._replace(features={}) for row in alone]
        for mine, theirs in zip(together, alone, strict=True):
            assert mine.features.keys() == theirs.features.keys()
            assert all(mine.features[n].tobytes() == theirs.features[n].tobytes() for n in theirs.features)


@pytest.mark.parametrize("resize", ["pillow", "torch"])
@pytest.mark.parametrize("views", [["long64"], ["native"], ["half", "native"], ["long64", "half"], ["crops5x24"]])
def test_no_picture_lies_where_the_next_image_is_decoded(views: list[str], resize: str, tmp_path: Path) -> None:
    """The trap: a thread's memory is decoded into again and again, and a picture that was a view of it changes."""
    items: list[Item] = []
    for i, (width, height) in enumerate([(120, 90), (64, 40), (80, 60), (64, 64), (80, 60), (80, 60)]):
        noise = np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.jpg", quality=95)
        known = i != 3  # of that one the plan knows no size, and long64 does not draw it
        items.append(Item(f"{i}", tmp_path / f"{i}.jpg", width=width * known, height=height * known))
    seen = [parse_view(name, resize) for name in views]
    looks: list[Any] = [SimpleNamespace(view=v, encoder=EFFICIENTNET_LITE0, blocks=[Block(items, ())]) for v in seen]
    with ThreadPoolExecutor(1) as pool:
        kept = list(ahead.decoded(pool, looks, depth=len(items)))
    assert len(kept) == len(items)
    for wants, pictures in kept:
        for want, found in zip(wants, pictures, strict=True):
            expected = seen[want.look].pictures(decoding.decode(found[0].item.path.read_bytes()))
            for one, other in zip(found, expected, strict=True):
                assert one.pixels is not None
                np.testing.assert_array_equal(one.pixels, other)
