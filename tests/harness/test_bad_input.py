"""What goes wrong on a user's machine: each gets one clear message, the stated outcome, no traceback, and loses
nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skimage import data as photographs

import harness
from harness.cli import main

ENCODER = "efficientnet-lite0"
FEATURES = ["stage.2:moments", "stage.3:map"]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def type_(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Types a command and gives its exit code and what it printed; an exception that is no message fails the test."""

    def run(*words: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Outcome(int(caught.value.code or 0), out, " ".join(err.split()))

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight crops of real photographs with labels, as a folder dataset."""
    root = tmp_path / "photos"
    (root / "images").mkdir(parents=True)
    sources = [photographs.astronaut(), photographs.chelsea(), photographs.coffee(), photographs.rocket()]
    names = []
    for i in range(8):
        image = sources[i % 4][20 * i : 20 * i + 64, 30 * i : 30 * i + 96]
        names.append(f"p{i}.png")
        Image.fromarray(image).save(root / "images" / names[-1])
    pd.DataFrame({"id": names, "mos": np.linspace(1.2, 4.7, 8)}).to_csv(root / "labels.csv", index=False)
    (root / "dataset.toml").write_text('name = "photos"\nlow = 1\nhigh = 5\n', encoding="utf-8")
    return root


def precompute(type_: Callable[..., Outcome], root: Path, *more: object) -> Outcome:
    return type_(
        "precompute",
        "--dataset",
        "photos",
        "--root",
        root,
        "--encoder",
        ENCODER,
        "--features",
        *FEATURES,
        *more,
        "--json",
    )


def relabel(root: Path, mos: list[object]) -> None:
    frame = pd.read_csv(root / "labels.csv")
    frame["mos"] = mos
    frame.to_csv(root / "labels.csv", index=False)


def test_no_root_says_what_to_type(type_: Callable[..., Outcome]) -> None:
    done = type_("precompute", "--dataset", "spaq", "--encoder", ENCODER)
    assert done.code == 3
    for hint in ("--root DIR", "[datasets.spaq]", "IQA_DATA", "harness datasets info spaq"):
        assert hint in done.err


def test_a_root_that_is_not_there_is_named(type_: Callable[..., Outcome]) -> None:
    done = type_("precompute", "--dataset", "spaq", "--root", "nowhere", "--encoder", ENCODER)
    assert done.code == 3
    assert "nowhere" in done.err


def test_a_wrong_tree_says_what_was_looked_for_and_what_is_there(type_: Callable[..., Outcome], photos: Path) -> None:
    done = type_("precompute", "--dataset", "koniq10k", "--root", photos, "--encoder", ENCODER)
    assert done.code == 3
    assert "koniq10k" in done.err
    assert "images" in done.err  # what is there


def test_no_weights_says_what_to_type(type_: Callable[..., Outcome], photos: Path) -> None:
    done = type_("precompute", "--dataset", "photos", "--root", photos)
    assert done.code == 3
    for hint in ("sam_vit_b_01ec64.pth", "--weights FILE", "IQA_WEIGHTS", "harness encoders fetch sam-vit-b"):
        assert hint in done.err


def test_a_damaged_official_checkpoint_is_refused(type_: Callable[..., Outcome], photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "sam_vit_b_01ec64.pth"
    torch.save({"image_encoder.pos_embed": torch.zeros(1)}, file)
    done = type_("precompute", "--dataset", "photos", "--root", photos, "--weights", file)
    assert done.code == 3
    assert "01ec64" in done.err


def test_a_checkpoint_of_another_shape_is_refused(type_: Callable[..., Outcome], photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    torch.save({"image_encoder.pos_embed": torch.zeros(1)}, file)
    done = type_("precompute", "--dataset", "photos", "--root", photos, "--weights", file)
    assert done.code == 3
    assert "mine.pth" in done.err


def test_a_checkpoint_that_runs_code_is_not_run(type_: Callable[..., Outcome], photos: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    file = tmp_path / "mine.pth"
    torch.save({"image_encoder.pos_embed": Bomb()}, file)
    done = type_("precompute", "--dataset", "photos", "--root", photos, "--weights", file)
    assert done.code == 3
    assert not (tmp_path / "exploded").exists()


def test_failed_images_are_counted_with_reasons_and_the_run_goes_on(
    type_: Callable[..., Outcome], photos: Path
) -> None:
    (photos / "images/p0.png").write_bytes(b"")
    (photos / "images/p1.png").write_bytes(b"no image at all")
    whole = (photos / "images/p2.png").read_bytes()
    (photos / "images/p2.png").write_bytes(whole[: len(whole) // 2])
    done = precompute(type_, photos)
    assert done.code == 0, done.err
    (store,) = json.loads(done.out)["stores"]
    assert (store["images"], store["failed"]) == (5, 3)
    assert set(store["failures"]) == {"empty file", "not an image", "truncated"}


def test_names_that_differ_only_in_case_are_found_but_never_guessed(
    type_: Callable[..., Outcome], photos: Path
) -> None:
    (photos / "images/p0.png").rename(photos / "images/P0.PNG")
    assert json.loads(precompute(type_, photos).out)["stores"][0]["images"] == 8
    shutil.copy(photos / "images/P0.PNG", photos / "images/P0.png")
    done = precompute(type_, photos)
    assert done.code == 3
    assert "case" in done.err.lower()


def test_a_nan_label_is_a_failed_row(type_: Callable[..., Outcome], photos: Path) -> None:
    relabel(photos, ["", 2, 3, 1.5, 2.5, 3.5, 4, 4.5])
    assert precompute(type_, photos).code == 0
    done = type_("train-head", "--variant", "ridge", "--root", photos, "--split", "random:1", "--json")
    assert done.code == 0, done.err
    assert "p0.png" not in str(
        pd.read_parquet(next(Path("runs").glob("*/evaluations/*/predictions.parquet")))["id"].tolist()
    )


def test_constant_labels_are_refused(type_: Callable[..., Outcome], photos: Path) -> None:
    relabel(photos, [3] * 8)
    done = precompute(type_, photos)
    assert done.code == 3
    assert "all" in done.err
    assert "3" in done.err


def test_labels_outside_the_declared_range_are_refused(type_: Callable[..., Outcome], photos: Path) -> None:
    relabel(photos, [1, 2, 3, 4, 5, 6, 7, 80])
    done = precompute(type_, photos)
    assert done.code == 3
    assert "80" in done.err


def test_one_image_can_be_encoded_but_not_split(type_: Callable[..., Outcome], photos: Path) -> None:
    frame = pd.read_csv(photos / "labels.csv").iloc[:1]
    frame.to_csv(photos / "labels.csv", index=False)
    assert json.loads(precompute(type_, photos).out)["stores"][0]["images"] == 1
    done = type_("train-head", "--variant", "ridge", "--root", photos)
    assert done.code == 3
    assert "1" in done.err


def test_no_store_says_how_to_make_one(type_: Callable[..., Outcome]) -> None:
    done = type_("train-head", "--variant", "fft")
    assert done.code == 3
    assert "harness precompute" in done.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["precompute", "--dataset", "spaqq"], "spaq"),
        (["precompute", "--dataset", "photos", "--encoder", "sam-vit-bb"], "sam-vit-b"),
        (["train-head", "--variant", "rigde"], "ridge"),
        (["datasets", "info", "livecc"], "livec"),
        (["encoders", "info", "sam-tin"], "sam-tiny"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(
    type_: Callable[..., Outcome], photos: Path, words: list[str], meant: str
) -> None:
    if words[0] in ("precompute", "train-head"):
        assert precompute(type_, photos).code == 0
        words = [*words, "--root", str(photos)] if words[0] == "precompute" else words
    done = type_(*words)
    assert done.code in (2, 3)
    assert f"did you mean '{meant}'" in done.err


def test_somebody_who_types_a_name_of_timms_learns_how(type_: Callable[..., Outcome]) -> None:
    done = type_("encoders", "info", "timm:resnet18")
    assert done.code == 2
    assert "timm.NAME" in done.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "alpa=1"], "alpa"),
        (["--set", "alpha"], "key=value"),
        (["--features", "stage.9:moments"], "stage.9"),
        (["--features", "stage.1:moments"], "harness precompute"),
        (["--split", "oficial"], "oficial"),
        (["--split", "official"], "published split"),
        (["--encoder", "sam-tiny"], ENCODER),
        (["--dataset", "spaq"], "photos"),
    ],
)
def test_a_wrong_setting_of_train_head_loses_nothing(
    type_: Callable[..., Outcome], photos: Path, more: list[str], said: str
) -> None:
    assert precompute(type_, photos).code == 0
    done = type_("train-head", "--variant", "ridge", *more)
    assert done.code in (2, 3)
    assert said in done.err
    assert json.loads(precompute(type_, photos).out)["encoded"] == 0


def test_two_stores_are_listed_rather_than_guessed(type_: Callable[..., Outcome], photos: Path) -> None:
    assert precompute(type_, photos).code == 0
    assert precompute(type_, photos, "--view", "half").code == 0
    done = type_("train-head", "--variant", "ridge", "--dataset", "photos")
    assert done.code == 2
    assert "native" in done.err
    assert "half" in done.err


def test_an_unfinished_store_trains_on_what_is_there_and_says_so(type_: Callable[..., Outcome], photos: Path) -> None:
    result = json.loads(precompute(type_, photos, "--limit", 6).out)
    assert (result["stores"][0]["images"], result["stamps"]) == (6, ["LIMITED"])
    done = type_("train-head", "--variant", "ridge", "--split", "random:1", "--json")
    assert done.code in (0, 3)  # six rows may leave no test row: then it says so
    assert "LIMITED" in done.out or "limit" in done.err


def test_if_exists_fail_refuses_and_skip_leaves_alone(type_: Callable[..., Outcome], photos: Path) -> None:
    assert precompute(type_, photos, "--limit", 3).code == 0
    done = precompute(type_, photos, "--if-exists", "fail")
    assert done.code == 3
    assert "--if-exists" in done.err
    assert json.loads(precompute(type_, photos, "--if-exists", "skip").out)["stores"][0]["images"] == 3
    again = json.loads(precompute(type_, photos, "--if-exists", "recompute").out)
    assert (again["stores"][0]["images"], again["encoded"]) == (8, 8)


def test_a_flipped_byte_is_found_by_verify_and_by_training(type_: Callable[..., Outcome], photos: Path) -> None:
    result = json.loads(precompute(type_, photos).out)
    shard = next(p for p in Path(result["stores"][0]["path"]).glob("features/stage.2/moments.*/**/c.*"))
    raw = bytearray(shard.read_bytes())
    raw[10] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(raw)
    done = type_("stores", "verify")
    assert done.code == 3
    trained = type_("train-head", "--variant", "ridge", "--split", "random:1")
    assert trained.code == 3
    assert "harness precompute" in trained.err


def test_evaluate_without_the_other_store_says_what_to_encode(type_: Callable[..., Outcome], photos: Path) -> None:
    assert precompute(type_, photos).code == 0
    run = harness.train_head(variant="ridge", split="random:1")[0]
    done = type_("evaluate", run.folder, "--on", "livec")
    assert done.code == 3
    assert "harness precompute --dataset livec" in done.err


def test_predict_names_the_image_that_fails(type_: Callable[..., Outcome], photos: Path) -> None:
    assert precompute(type_, photos).code == 0
    run = harness.train_head(variant="ridge", split="random:1")[0]
    done = type_("predict", photos / "images/p0.png", "gone.png", "--run", run.folder, "--json")
    assert done.code == 0
    good, gone = json.loads(done.out)
    assert 0 <= good["quality"] <= 1.5
    assert gone["failure"] == "missing"
    assert type_("predict", "gone.png", "--run", run.folder).code == 1


def test_no_such_run_names_the_nearest(type_: Callable[..., Outcome]) -> None:
    done = type_("report", "runs/nothing", "--out", "report")
    assert done.code == 3
    assert "runs/nothing" in done.err


def test_a_smaller_limit_after_an_interruption_says_why_more_is_made(
    type_: Callable[..., Outcome], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap: "6 of 3 images to encode". A planned block is made whole or not at all."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("harness.engines.local.run", stopped)
        assert precompute(type_, photos, "--limit", 6).code == 130
    done = precompute(type_, photos, "--limit", 3)
    assert "the 3 images asked for were planned with others before, in blocks that are made whole: 6 images" in done.err
    assert json.loads(done.out)["stores"][0]["images"] == 6


def test_a_folder_of_stores_that_is_not_there_is_named(type_: Callable[..., Outcome], tmp_path: Path) -> None:
    done = type_("stores", "ls", "--store", tmp_path / "typo")
    assert done.code != 0
    assert "found no such folder" in done.err
