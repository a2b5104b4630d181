"""Several views from one reading of each image: the stores that one command a view makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import harness
from cache import images
from harness.cli import main
from harness.engines import processes
from harness.errors import UsageError

ENCODER = "efficientnet-lite0"
FEATURES = ["stage.1:moments", "stage.3:map"]
VIEWS = ["native", "half", "crops5x64"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """24 images of three sizes, one of them torn, with scores."""
    root = tmp_path / "photos"
    (root / "images").mkdir(parents=True)
    lines = ["id,mos"]
    for i in range(24):
        pixels = np.random.default_rng(i).integers(0, 256, (80 + 16 * (i % 3), 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"p{i:02}.png")
        lines.append(f"p{i:02}.png,{1 + i % 5}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    (root / "dataset.toml").write_text('name = "photos"\nlow = 1\nhigh = 5\n')
    torn = root / "images/p07.png"
    torn.write_bytes(torn.read_bytes()[:900])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harness.toml").write_text('[datasets.photos]\nroot = "photos"\n')
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each image that is decoded."""
    found: list[int] = []
    real = images.decode

    def decode(data: bytes, **more: Any) -> Any:
        found.append(1)
        return real(data, **more)

    monkeypatch.setattr(images, "decode", decode)
    return found


def rows(path: str) -> dict[str, dict[str, bytes]]:
    """Features of every image of a store, to the byte."""
    store = harness.open_store(path)
    found: dict[str, dict[str, bytes]] = {}
    for feature in map(str, store.features()):
        one = store.select([feature])
        read = one.map if feature.endswith(":map") else one.summary
        found[feature] = {image: np.asarray(read(feature, i)).tobytes() for i, image in enumerate(one.ids)}
    return found


@pytest.mark.usefixtures("photos")
def test_views_made_together_are_those_made_one_by_one_and_each_image_is_decoded_once(decoded: list[int]) -> None:
    encode: dict[str, Any] = {"dataset": "photos", "encoder": ENCODER, "features": FEATURES}
    together = harness.precompute(**encode, view=VIEWS[:2], store="together")
    assert len(decoded) == 24
    assert [(s.view, s.images, s.failures) for s in together.stores] == [
        (view, 23, {"truncated": 1}) for view in VIEWS[:2]
    ]
    assert together.encoded == 48
    for store in together.stores:
        alone = harness.precompute(**encode, view=store.view, store="alone").stores[0]
        assert alone.key == store.key
        assert rows(alone.path) == rows(store.path)


@pytest.mark.usefixtures("photos")
def test_a_view_added_later_encodes_that_view_alone(decoded: list[int]) -> None:
    encode: dict[str, Any] = {"dataset": "photos", "encoder": ENCODER, "features": FEATURES[:1]}
    harness.precompute(**encode, view=["native"], limit=10)
    decoded.clear()
    grown = harness.precompute(**encode, view=VIEWS)
    assert [s.already for s in grown.stores] == [10, 0, 0]
    assert (grown.encoded, len(decoded)) == (14 + 24 + 24, 24)
    assert harness.precompute(**encode, view=VIEWS).encoded == 0
    skipped = harness.precompute(**encode, view=[*VIEWS, "long80"], if_exists="skip")
    assert (skipped.encoded, [s.images for s in skipped.stores]) == (24, [23] * 4)


@pytest.mark.usefixtures("photos")
def test_views_may_be_made_by_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What all views lack goes out together, to be decoded once; then what one of them lacks alone."""
    given: list[list[int]] = []
    real = processes.Worker.give

    def give(self: processes.Worker, bundle: Any) -> None:
        if bundle is not None:
            assert len({task.items for task in bundle}) == 1
            given.append([len(task.items) for task in bundle])
        real(self, bundle)

    monkeypatch.setattr(processes.Worker, "give", give)
    features = ["block.1:moments", "neck:map"]  # of the encoder whose processes are the fastest to start
    encode: dict[str, Any] = {"dataset": "photos", "encoder": "sam-tiny", "features": features}
    one = harness.precompute(**encode, view=VIEWS[:2], store="one")
    two = harness.precompute(**encode, view=VIEWS[:2], store="two", device="cpu,cpu")
    assert two.encoded == one.encoded == 48
    assert given == [[24, 24]]
    given.clear()
    grown = harness.precompute(**encode, view=["native"], limit=10, store="grown", device="cpu,cpu")
    grown = harness.precompute(**encode, view=VIEWS[:2], store="grown", device="cpu,cpu")
    assert given == [[10], [14], [24]]
    assert [rows(s.path) for s in one.stores] == [rows(s.path) for s in two.stores]
    assert [s.images for s in grown.stores] == [s.images for s in one.stores] == [23, 23]


@pytest.mark.usefixtures("photos")
def test_a_list_of_views_is_typed_as_the_help_shows_it(capfd: pytest.CaptureFixture[str]) -> None:
    """The trap: `--view native half` took `half` for a word of its own."""

    def typed(line: str) -> Any:
        with pytest.raises(SystemExit) as caught:
            main([*line.split(), "--json"])
        found = capfd.readouterr()
        assert not caught.value.code, found.err
        return json.loads(found.out)

    common = f"--dataset photos --encoder {ENCODER} --view native half --features stage.1:moments"
    made = typed(f"precompute {common} --limit 20")
    assert [store["view"] for store in made["stores"]] == ["native", "half"]
    assert "@half-" in typed("stores info --view half")["name"]
    assert [found["findings"] for found in typed("stores verify --view native")] == [[]]
    (run,) = typed(f"train-head --variant ridge {common} --split random:1")
    assert run["features"] == [f"{ENCODER}@{view}/stage.1:moments" for view in ("native", "half")]


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("view", ["crops5x64", "tiles64"])
def test_no_map_is_made_of_several_pictures(view: str, decoded: list[int]) -> None:
    """Their maps have no common grid; refused before anything is read, also where another view could have one."""
    encode: Callable[..., Any] = harness.precompute
    with pytest.raises(UsageError, match=r"takes over the several pictures that it makes.*found stage\.3:map"):
        encode(dataset="photos", encoder=ENCODER, view=["native", view], features=FEATURES)
    assert not decoded
    assert not Path("stores").exists()
    made = encode(dataset="photos", encoder=ENCODER, view=[view])
    assert all(feature.endswith(":moments") for feature in made.stores[0].features)
