"""What a kill costs: counted in images that are encoded again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

KILLED = Path(__file__).with_name("killed.py")
IMAGES, BLOCK = 70, 32  # two whole blocks and a part


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, int]]:
    """A writer killed before each commit, with as much encoded behind it as can be; of one view, and of two."""
    top = tmp_path_factory.mktemp("killed")
    (top / "images").mkdir()
    for i in range(IMAGES):
        noise = np.random.default_rng(i).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(top / f"images/{i:03}.png")
    done = subprocess.run(
        [sys.executable, str(KILLED), str(top / "stores"), str(top / "images")],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(KILLED.parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("views", [1, 2])
def test_a_kill_loses_a_block_in_flight_of_each_store_and_the_one_that_is_written(
    views: int, deaths: list[dict[str, int]]
) -> None:
    """And nothing that was committed is encoded again, ever."""
    found = [one for one in deaths if one["views"] == views]
    assert [one["died"] for one in found] == [True] * (3 * views) + [False]
    for one in found:
        lost = one["before"] + one["after"] - views * IMAGES
        assert one["after"] == views * IMAGES - one["committed"]
        assert 0 <= lost <= (views + 1) * BLOCK
        assert one["left"] == 0
    assert max(one["before"] - one["committed"] for one in found) > BLOCK  # the worst moment was met
    assert found[-1]["committed"] == views * IMAGES
