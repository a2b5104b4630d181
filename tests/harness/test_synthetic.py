"""The two made sets share nothing, are made the same everywhere, and their labels say they are a formula."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets import distortions, synthetic
from harness.datasets.dataset import Dataset, open_dataset
from harness.datasets.errors import DatasetError

KINDS = ("synthetic", "synthetic-cross")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    folder = tmp_path_factory.mktemp("made")
    return {kind: open_dataset(kind, synthetic.generate(kind, folder / kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.generate("synthetic", tmp_path_factory.mktemp("quick"), quick=True)


def contents(root: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_two_sets_share_no_photograph_no_family_and_no_file(made: dict[str, Dataset]) -> None:
    one, other = (data.filled().manifest for data in made.values())
    for column in ("id", "group", "reference", "sha256"):
        assert not set(one[column]) & set(other[column])
    assert set(one["distortion"]) & set(other["distortion"]) == {""}
    sources = [set(synthetic.PHOTOGRAPHS[kind].values()) for kind in KINDS]
    assert not sources[0] & sources[1]


def test_a_whole_set_is_what_its_page_declares(made: dict[str, Dataset]) -> None:
    for data in made.values():
        assert (len(data.labelled), data.missing, data.unlabelled) == (data.spec.count, 0, 0)
        assert data.manifest["is_reference"].sum() == data.spec.references
        assert data.labelled["distortion"].nunique() == data.spec.distortions
        assert data.labelled.groupby(["group", "distortion"]).size().eq(5).all()
        assert data.spec.count <= 150


def test_labels_are_called_a_proxy_and_never_mos(made: dict[str, Dataset]) -> None:
    for data in made.values():
        assert data.proxy
        assert (data.scale.kind, data.scale.name) == ("proxy", "proxy (SSIM)")
        assert "no person" in data.note


def test_labels_fall_with_the_level_for_every_photograph_and_family(made: dict[str, Dataset]) -> None:
    for data in made.values():
        for _, rows in data.labelled.groupby(["group", "distortion"]):
            mos = rows.sort_values("level")["mos"].to_numpy()
            assert (np.diff(mos) < 0).all()
            assert ((mos > 0) & (mos < 1)).all()


def test_no_set_is_so_easy_that_one_family_or_one_photograph_tells_the_label(
    made: dict[str, Dataset],
) -> None:
    for data in made.values():
        assert data.labelled.groupby("distortion")["mos"].std().min() > 0.05
        assert data.labelled.groupby("group")["mos"].std().min() > 0.05


def test_making_it_again_gives_the_same_bytes(quick: Path, tmp_path: Path) -> None:
    again = synthetic.generate("synthetic", tmp_path / "again", quick=True)
    assert contents(again) == contents(quick)


def test_an_interrupted_set_is_finished_and_labels_come_last(quick: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    steps: list[int] = []

    def stop(n: int) -> None:
        steps.append(n)
        if len(steps) == 5:
            raise StopError

    with pytest.raises(StopError):
        synthetic.generate("synthetic", tmp_path, stop, quick=True)
    assert not (tmp_path / "labels.csv").exists()
    kept = tmp_path / "images" / "astronaut.png"
    before = kept.stat().st_mtime_ns
    synthetic.generate("synthetic", tmp_path, quick=True)
    assert kept.stat().st_mtime_ns == before
    assert contents(tmp_path) == contents(quick)


def test_a_quick_set_is_a_part_of_the_whole_and_stamped_a_subset(quick: Path, made: dict[str, Dataset]) -> None:
    data, whole = open_dataset("synthetic", quick), made["synthetic"]
    assert data.subset
    assert data.manifest["group"].nunique() == 4
    mine = contents(quick)
    assert whole.root is not None
    theirs = contents(whole.root)
    assert {name: digest for name, digest in theirs.items() if name in mine and name != "labels.csv"} == {
        name: digest for name, digest in mine.items() if name != "labels.csv"
    }
    same = whole.labelled.set_index("id").loc[data.labelled["id"], "mos"].tolist()
    assert data.labelled["mos"].tolist() == same


def test_a_folder_with_something_else_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,mos\nmine.jpg,3\n")
    with pytest.raises(DatasetError, match=r"'mine\.jpg'"):
        synthetic.generate("synthetic", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_the_other_sets_folder_is_the_wrong_tree(quick: Path) -> None:
    with pytest.raises(DatasetError, match="labels of a synthetic-cross set"):
        open_dataset("synthetic-cross", quick)


def test_an_unknown_kind_lists_the_kinds(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="synthetic-cross"):
        synthetic.generate("synthetik", tmp_path)


def test_images_are_small_colour_png_of_several_shapes(made: dict[str, Dataset]) -> None:
    sizes = set()
    for data in made.values():
        for name in data.manifest.loc[data.manifest["is_reference"], "id"]:
            with Image.open(data.path(name)) as image:
                assert (image.format, image.mode, max(image.size)) == ("PNG", "RGB", 256)
                sizes.add(image.size)
    assert len(sizes) > 3


def ssim_by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, equations 13 and 14, written out: 11 x 11 Gaussian windows that lie whole in the
    image.
    """
    axis = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(axis, axis) / axis.sum() ** 2

    def mean(values: np.ndarray) -> np.ndarray:
        return (np.lib.stride_tricks.sliding_window_view(values, (11, 11)) * window).sum(axis=(2, 3))

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return float((((2 * mx * my + c1) * (2 * vxy + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


@pytest.mark.parametrize("family", list(distortions.STRENGTHS))
def test_the_label_is_ssim_as_published(family: str) -> None:
    rgb = synthetic.photograph("skimage/data/chelsea.png")[60:140, 80:190]
    copy = distortions.distort(rgb, family, 3, "key")
    assert copy.shape == rgb.shape
    assert copy.dtype == np.uint8
    by_hand = ssim_by_hand(distortions.luma(rgb), distortions.luma(copy))
    assert distortions.ssim(rgb, copy) == pytest.approx(by_hand, abs=1e-6)
    assert distortions.ssim(rgb, rgb) == pytest.approx(1.0)


def test_noise_comes_from_the_key_alone() -> None:
    rgb = np.full((40, 50, 3), 128, dtype=np.uint8)
    one, same, other = (distortions.distort(rgb, "white noise", 2, key) for key in ("a", "a", "b"))
    assert (one == same).all()
    assert (one != other).mean() > 0.8
    assert one.astype(float).std() == pytest.approx(10, rel=0.05)
    # The first word of PCG64 seeded by sha256 of the key: another stream would change every set.
    seed = int.from_bytes(hashlib.sha256(b"k").digest()[:16], "big")
    assert distortions.uniform((1,), "k")[0] == (int(np.random.PCG64(seed).random_raw()) >> 11) / 2**53
