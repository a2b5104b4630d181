"""Maps in half the bytes: how far they may be off, and that they are the same numbers wherever they are read."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cache.encode import Item, encode_items
from cache.forms import as_read, form_of, to_lines
from cache.memory import InMemory
from cache.views import parse_view

maps = arrays.arrays(
    np.float16,
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6)),
    elements=st.floats(-65504, 65504, width=16, allow_nan=False, allow_infinity=False),
)


@given(maps)
@settings(max_examples=200, deadline=None)
def test_no_number_is_off_by_more_than_half_a_step(exact: np.ndarray) -> None:
    """Half of 1/255 of the channel's range in its image, and a rounding to float16; never out of float16's range."""
    found = as_read("map8", exact)
    assert (found.dtype, found.shape) == (np.float16, exact.shape)
    wide = exact.astype(np.float64)
    step = (wide.max((0, 1)) - wide.min((0, 1))) / 255
    allowed = step / 2 * (1 + 1e-4) + np.abs(wide) * 2.0**-11 + step * 2.0**-11 + 2.0**-24
    assert (np.abs(found.astype(np.float64) - wide) <= allowed).all()


@given(maps)
@settings(max_examples=50, deadline=None)
def test_the_smallest_number_and_equal_numbers_are_exact(exact: np.ndarray) -> None:
    found = as_read("map8", exact)
    np.testing.assert_array_equal(found.min((0, 1)), exact.min((0, 1)))
    flat = exact.max((0, 1)) == exact.min((0, 1))
    np.testing.assert_array_equal(found[:, :, flat], exact[:, :, flat])


def test_an_image_costs_half_and_eight_rows() -> None:
    exact = np.random.default_rng(0).standard_normal((48, 64, 256)).astype(np.float16)
    lines = to_lines("map8", exact)
    assert lines.rows.nbytes == exact.nbytes // 2 + 8 * 256
    assert len(lines.rows) == form_of("map8").rows(48, 64)


@pytest.mark.usefixtures("no_fsync")
def test_from_a_store_and_from_memory_they_are_the_same(tmp_path: Path, fakes: ModuleType) -> None:
    """The trap: a head trained on stored maps in 256 steps, and `predict` giving it exact ones."""
    names = fakes.write_images(tmp_path / "images", [(20, 30), (40, 90), (20, 30), (1, 1)])
    name = "coarse:map8"
    stored = fakes.fill(tmp_path, tmp_path / "images", names, [name]).select([name])
    items = [Item(n, tmp_path / "images" / n) for n in stored.ids]
    rows = list(encode_items(items, fakes.FakeEncoder(), parse_view("native"), fakes.features(name)))
    here, rows_wanted = InMemory(rows, [name]), [np.array([3, 0, 2, 1])]
    for one, other in zip(stored.batches(name, rows_wanted), here.batches(name, rows_wanted), strict=True):
        for (positions, values), (others, expected) in zip(one, other, strict=True):
            np.testing.assert_array_equal(positions, others)
            np.testing.assert_array_equal(values, expected, strict=True)
    exact = fakes.truth(tmp_path / "images" / names[1], fakes.features("coarse:map")[0])
    assert (stored.map(name, 1) != exact).any()
