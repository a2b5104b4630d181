"""Death at any moment: what was committed stays, the same command again makes the rest, and nobody's rows get lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import zarr

from cache.compaction import compact
from cache.store import FeatureStore
from cache.verify import verify

pytestmark = pytest.mark.usefixtures("no_fsync")
PATTERNS = ["fine:map", "coarse:moments"]  # as in crasher.py
Truth = dict[tuple[str, str], np.ndarray]
Died = tuple[Path, dict[str, Any]]
CRASHER = Path(__file__).with_name("crasher.py")
SIZES = [(20, 30), (33, 17), (20, 30), (64, 64), (17, 33)] * 7  # 35 images: two blocks


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, fakes: ModuleType) -> Path:
    folder = tmp_path_factory.mktemp("crash") / "images"
    fakes.write_images(folder, SIZES)
    (folder / "i007.png").write_bytes(b"no image")  # a failed row is committed, too
    return folder


@pytest.fixture(scope="module")
def truth(images: Path, fakes: ModuleType) -> Truth:
    """(id, feature) -> what a store must hold."""
    features, good = fakes.features(*PATTERNS), [n for n in names(images) if n != "i007.png"]
    return {(n, str(f)): fakes.truth(images / n, f) for n in good for f in features}


def names(images: Path) -> list[str]:
    return sorted(p.name for p in images.iterdir())


@pytest.fixture(scope="module")
def died(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Died:
    """Where writers died, and how many; all in one process, since starting one costs more than all the deaths."""
    top = tmp_path_factory.mktemp("died")
    env = os.environ | {"PYTHONPATH": str(CRASHER.parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(CRASHER), str(top), str(images)], capture_output=True, text=True, timeout=500, env=env
    )
    assert done.returncode == 0, done.stderr
    return top, json.loads(done.stdout)


def kept(fakes: ModuleType, store: Path) -> dict[str, bytes]:
    """What a store is: its files, less what a dying writer left aside."""
    return {name: data for name, data in fakes.files(store).items() if not name.endswith(".part")}


def only_store(root: Path) -> Path:
    (found,) = (root / "set").iterdir()
    return found


def assert_whole(fakes: ModuleType, store: FeatureStore, truth: Truth) -> None:
    assert store.failures() == [("i007.png", "not an image")]
    assert store.status().pending == 0
    for name in fakes.features(*PATTERNS):
        found = fakes.stored(store, name)
        assert sorted(found) == sorted({image_id for image_id, _ in truth})
        for image_id, values in found.items():
            np.testing.assert_array_equal(values, truth[image_id, str(name)])


def test_death_at_every_step_of_the_disk(
    tmp_path: Path, died: Died, images: Path, fakes: ModuleType, truth: Truth
) -> None:
    """Inside each write, and before and after each object gets its name: header, plan, the arrays' documents, every
    shard, every commit. What can be read then is right, and the next run ends with the bytes of a store that nobody
    disturbed.
    """
    whole = kept(fakes, fakes.fill(tmp_path / "whole", images, names(images), PATTERNS).path)
    top, codes, steps = died[0] / "points", died[1]["points"]["codes"], Counter(died[1]["points"]["steps"])
    assert codes == [9] * steps.total() + [0]
    assert steps["no name yet"] == steps["a name"] == len(whole)
    assert steps["half a piece"] > len(whole) < steps["durable"]  # several pieces a shard; folders are made durable too
    if sys.platform == "linux":
        assert steps["room"] == sum("/c." in name for name in whole) > 0
    left = 0
    for step in range(len(codes)):
        root = top / f"{step}"
        if list((root / "set").glob("*/features/zarr.json")):
            store = FeatureStore.open(only_store(root))
            assert set(store.ids()) <= set(names(images))
            assert verify(store) == []
            for name in store.features():
                for image_id, values in fakes.stored(store, name).items():
                    np.testing.assert_array_equal(values, truth[image_id, str(name)])
        store = fakes.fill(root, images, names(images), PATTERNS)
        assert kept(fakes, store.path) == whole, f"step {step}"
        if list(
            store.path.rglob("*.part")
        ):  # what a dead writer left aside: zarr warns of what it does not know in a group
            left += 1
            assert len(dict(zarr.open_group(store.path / "features", mode="r").members(max_depth=None))) == 6
    assert left >= 5
    assert_whole(fakes, store, truth)


@pytest.mark.parametrize("writers", [1, 2])
def test_killed_at_random_again_and_again(
    tmp_path: Path, died: Died, images: Path, fakes: ModuleType, truth: Truth, writers: int
) -> None:
    """kill -9 at any moment, one writer or two at once, half a dozen times a store and more."""
    whole = kept(fakes, fakes.fill(tmp_path / "whole", images, names(images), PATTERNS).path)
    top, deaths = died[0] / f"kills-{writers}", died[1][f"kills-{writers}"]
    assert sum(deaths) >= 3
    for number in range(len(deaths)):
        path = only_store(top / f"{number}")
        assert kept(fakes, path) == whole
    assert_whole(fakes, FeatureStore.open(path), truth)


def test_compactions_and_writers_killed_again_and_again(
    died: Died, images: Path, fakes: ModuleType, truth: Truth
) -> None:
    """Two compactions and two writers, one making images anew, all killed at any moment, 40 times on one store; after
    each round every image was there (crasher.py). What is left compacts to the right rows.
    """
    assert died[1]["compactions"]["deaths"] >= 10
    root = died[0] / "compactions" / "0"
    store = fakes.fill(root, images, names(images), PATTERNS)
    compact(store)
    assert_whole(fakes, store, truth)
    assert verify(store) == []
    assert compact(store).plans == 0


def test_two_writers_of_one_store_lose_nothing(tmp_path: Path, images: Path, fakes: ModuleType, truth: Truth) -> None:
    """Different features, different batch sizes, overlapping images, at once in threads of one process."""
    half = names(images)[:25]

    def write(number: int) -> None:
        wanted, some = [(PATTERNS[:1], names(images)), (PATTERNS[1:], half), (PATTERNS, half)][number % 3]
        fakes.fill(tmp_path, images, some, wanted, batch_size=1 + number)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, number) for number in range(6)]:
            done.result()
    store = fakes.fill(tmp_path, images, names(images), PATTERNS)
    assert_whole(fakes, store, truth)
    assert verify(store) == []


def test_writers_whose_bytes_differ_lose_nothing(tmp_path: Path, images: Path, fakes: ModuleType) -> None:
    """A batch size that changes the last bits: the second finds the first one's shard without a commit, leaves it, and
    plans anew.
    """

    class Sensitive(fakes.FakeEncoder):
        """A fake whose numbers depend on the batch, as a GPU's do in the last bits."""

        def encode(self, pixels, valid, taps):
            return {tap: m + 0.25 * len(pixels) for tap, m in super().encode(pixels, valid, taps).items()}

    def first_shard_then_dies(store: FeatureStore) -> None:
        """Writes one shard of the first block, and no commit."""
        task = store.pending(fakes.features("*:map"), names(images))[0]
        fakes.work(store, images, [task.features[0]], [task.items[0].id], encoder=Sensitive(), batch_size=1)
        for commit in (store.path / "blocks").iterdir():
            commit.unlink()

    store = fakes.new_store(tmp_path)
    store.plan(fakes.look(images, names(images)), heavy=True)
    first_shard_then_dies(store)
    store = fakes.fill(tmp_path, images, names(images), ["*:map"], encoder=Sensitive(), batch_size=4)
    assert store.status().pending == 0
    assert len(store.ids()) == len(SIZES) - 1
    assert store.status().plans == 2
    assert verify(store) == []
