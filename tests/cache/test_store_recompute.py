"""Stored images encoded again: what a checksum cannot tell. Written rightly or wrongly, the bytes have good ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from cache.errors import StoreError
from cache.recompute import Recomputed, recompute
from cache.store import FeatureStore
from cache.verify import verify
from cache.views import parse_view

Again = Callable[..., Recomputed]


@pytest.fixture
def images(tmp_path: Path, fakes: ModuleType) -> Path:
    fakes.write_images(tmp_path / "images", [(20, 30), (33, 17), (20, 30), (64, 64)])
    return tmp_path / "images"


def again(fakes: ModuleType, store: FeatureStore, images: Path, weights: str = "none") -> Recomputed:
    return recompute(
        store, store.ids(), images, {}, {}, fakes.FakeEncoder(weights), parse_view("native"), fakes.identity(weights)
    )


def miscounting(fakes: ModuleType, off: float) -> object:
    """An encoder with the right name and weights whose numbers are off by a share, as on a broken device."""

    class Miscounting(fakes.FakeEncoder):
        def encode(self, *args: object) -> dict[str, torch.Tensor]:
            return {tap: values * (1 + off) for tap, values in super().encode(*args).items()}

    return Miscounting()


def test_what_was_encoded_rightly_is_the_same_bit_for_bit(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, sorted(p.name for p in images.iterdir()))
    found = again(fakes, store, images)
    assert [a.feature for a in found.agreements] == ["fine:map", "coarse:map", "fine:moments", "coarse:moments"]
    assert all((a.images, a.equal, a.worst, a.wrong) == (4, 4, 0.0, []) for a in found.agreements)
    assert (found.changed, found.failed) == ({}, {})


@pytest.mark.parametrize(("off", "is_wrong"), [(0.2, True), (0.001, False)])
def test_numbers_that_were_wrong_when_they_were_written_are_found(
    tmp_path: Path, images: Path, fakes: ModuleType, off: float, is_wrong: bool
) -> None:
    """The trap: every checksum is right. A last bit that differs, as between machines, is told and no error."""
    names = sorted(p.name for p in images.iterdir())
    store = fakes.fill(tmp_path, images, names, encoder=miscounting(fakes, off))
    assert verify(store) == []
    found = again(fakes, store, images)
    for agreement in found.agreements:
        assert agreement.equal < 4
        assert agreement.wrong == (names if is_wrong else [])
        np.testing.assert_allclose(agreement.worst, off / (1 + off), rtol=0.5)


def test_a_file_that_changed_or_went_is_told_apart_from_what_is_wrong(
    tmp_path: Path, images: Path, fakes: ModuleType
) -> None:
    store = fakes.fill(tmp_path, images, sorted(p.name for p in images.iterdir()))
    fakes.write_image(images / "i001.png", 33, 17, seed=99)
    (images / "i002.png").unlink()
    store.plan(fakes.look(images, ["i001.png"]), heavy=True)  # planned anew, not made yet: the old row still counts
    found = again(fakes, store, images)
    assert found.changed == {"i001.png": "changed", "i002.png": "missing"}
    assert all((a.images, a.equal) == (2, 2) for a in found.agreements)


def test_another_encoder_is_refused_before_it_runs(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, ["i000.png"])
    with pytest.raises(StoreError, match=r"encoder\.weights: none, not others"):
        again(fakes, store, images, weights="others")


def test_a_flipped_bit_is_an_error_not_a_difference(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    store = fakes.fill(tmp_path, images, ["i000.png"], ["coarse:map"])
    fakes.flip(store.path / "features/coarse/map/1/c.0.0", 1)
    with pytest.raises(StoreError, match="checksum"):
        again(fakes, FeatureStore.open(store.path), images)
