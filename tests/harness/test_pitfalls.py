"""The field's numbered pitfalls P1 to P25 (what each is: docs/protocol.md), and those that no other file guards.

A test that guards one is called `test_p06_...` and stands in the room that the pitfall concerns:
`grep -rn "def test_p06_" tests`. Content, hashing and directions are `tests/harness`, correlations `tests/reports`,
choices of a head `tests/heads`, padding and stores `tests/cache`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import fit
from harness.datasets import sharing
from harness.datasets.dataset import Dataset, open_dataset
from harness.errors import ProtocolError
from harness.registry import datasets, encoders
from harness.splits import leakage
from harness.splits.kinds import fraction, whole_splits
from harness.splits.split import Split

ELSEWHERE = {25: "a paper on such leaks, not a pitfall: docs/protocol.md names it"}


def test_every_pitfall_has_a_test_or_a_reason() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    guarded = {int(number) for number in re.findall(r"^def test_p(\d\d)_", source, flags=re.MULTILINE)}
    assert guarded | set(ELSEWHERE) == set(range(1, 26))
    assert not guarded & set(ELSEWHERE)


def by_image(data: Dataset) -> Split:
    """What `random_split` over images gives: references on both sides."""
    ids = sorted(str(name) for name in data.labelled["id"])
    test = [name for name in ids if fraction(name) < 0.2]
    train = sorted(set(ids) - set(test))
    return Split(
        kind="random", name="by image", dataset=data.name, seed=0, ratios=(), group_rule="image",
        train=tuple(train), valid=(), test=tuple(test),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "folder", "references"),
    [("kadid10k", "kadid10k", 81), ("tid2013", "tid2013", 25), ("csiq", "csiq", 30), ("live", "unified", 29)],
)
def test_p01_a_split_by_image_of_a_synthetic_set_stops_the_run(
    data_root: Path, name: str, folder: str, references: int
) -> None:
    """The trap: distorted copies of one photograph on both sides; KADID's SRCC goes up to .97 by that alone."""
    data = open_dataset(name, None, data_root / "labels" / folder)
    (leak,) = leakage.check(by_image(data), data.manifest)
    assert (leak.what, len(leak.keys)) == ("group", references)
    with pytest.raises(ProtocolError, match=f"train and test share {references} groups"):
        fit.leaks(data, by_image(data), allowed=False)
    assert fit.leaks(data, by_image(data), allowed=True)
    for split in [*whole_splits("random:3", data), *whole_splits("stratified:1", data)]:
        assert leakage.check(split, data.manifest) == []


def test_p11_no_reference_of_kadid_is_left_out(data_root: Path) -> None:
    """The trap: `range(0, 80)` over 81 references."""
    data = open_dataset("kadid10k", None, data_root / "labels/kadid10k")
    group = dict(zip(data.labelled["id"], data.labelled["group"], strict=True))
    for split in whole_splits("random:3", data):
        assert len(split.ids) == 10125
        assert len({group[image] for image in split.ids}) == 81


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("tid2008", "tid2013", "the same 25 references"),
        ("live", "tid2013", "Kodak"),
        ("toyama", "live-dmos", "Kodak"),
        ("koniq10k", "koniqplusplus", "the same photographs"),
        ("flive", "ava", "photographs of AVA"),
        ("kadid10k", "uhdiqa", "Pixabay"),
        ("koniq10k", "spaq", ""),
        ("live", "csiq", ""),
        ("koniq10k", "koniq10k", ""),
    ],
)
def test_p18_datasets_that_share_content_are_named_in_both_directions(one: str, other: str, why: str) -> None:
    """The trap: "cross-dataset" between sets whose pictures are the same."""
    for trained, tested in ((one, other), (other, one)):
        notes = sharing.between(datasets().get(trained), datasets().get(tested))
        assert len(notes) == bool(why)
        assert all(why in note and f"{trained} (train) and {tested} (test)" in note for note in notes)


@pytest.mark.parametrize(
    ("encoder", "dataset", "said"),
    [
        ("clip-vit-b", "koniq10k", ["was trained on YFCC100M", "not known in full"]),
        ("clip-vit-b", "biq2021", ["not known in full"]),
        ("sam-vit-b", "koniq10k", []),
        ("efficientnet-lite0", "flive", []),
        ("sam-tiny", "koniq10k", []),
        ("onnx", "livec", ["is not known:"]),
    ],
)
def test_p18_an_encoder_that_may_have_seen_a_dataset_is_named(encoder: str, dataset: str, said: list[str]) -> None:
    """The trap: features of a dataset by an encoder that was trained on its pictures."""
    notes = sharing.seen(encoder, encoders().get(encoder).spec.trained_on, datasets().get(dataset))
    assert len(notes) == len(said)
    assert all(words in note for words, note in zip(said, notes, strict=True))
