"""Plans over datasets: exact lists of ids from the authors' label files, and what is not here is shown, not dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.datasets.dataset import Dataset, open_dataset
from harness.errors import NotFoundError
from harness.splits import ready
from harness.splits.errors import SplitError, SplitUsageError
from harness.splits.plans import Plan, together
from harness.splits.split import Split
from harness.verbs import plans, splits

PUBLISHED = {"live": 10, "csiq": 10, "tid2013": 10, "kadid10k": 10, "flive": 1, "koniq10k": 10, "livec": 10}


@pytest.fixture
def opened(data_root: Path) -> Callable[[str], Dataset]:
    def open_here(name: str) -> Dataset:
        if not (data_root / "labels" / name).is_dir():
            raise NotFoundError(f"no labels of {name}")
        return open_dataset(name, None, data_root / "labels" / name)

    return open_here


@pytest.fixture(scope="module")
def koniq_ood(data_root: Path) -> Plan:
    return plans.plan_of("koniq-ood", data_root / "labels")


# --- koniq-ood


def test_koniq_ood_has_the_rows_that_the_protocol_states(koniq_ood: Plan) -> None:
    """The traps: KonIQ's other split, LIVE Challenge's training images, FLIVE's 1,827 taken for the whole."""
    (leg,) = koniq_ood.legs
    assert leg.train[0].counts == {"train": 7058, "valid": 1000, "test": 2015}
    assert {split.dataset: len(split.test) for split in leg.tests} == {
        "spaq": 11125,
        "livec": 1162,
        "flive": 39810,
        "kadid10k": 10125,
        "csiq": 866,
        "agiqa3k": 2982,
    }
    assert not any(split.train or split.valid for split in leg.tests)
    assert [(gap.dataset, gap.counts) for gap in leg.absent] == [("pipal", {"test": 23200})]
    livec = next(split for split in leg.tests if split.dataset == "livec")
    assert not {f"t{number}.bmp" for number in range(1, 8)} & set(livec.test)


def test_koniq_ood_trains_on_the_ids_of_the_authors_file(koniq_ood: Plan, data_root: Path) -> None:
    """Read here by hand: the plan's list must be that column, not a count that happens to fit."""
    lines = (data_root / "labels/koniq10k/koniq10k_distributions_sets.csv").read_text(encoding="utf-8").splitlines()
    heads = lines[0].replace('"', "").split(",")
    cells = [dict(zip(heads, line.replace('"', "").split(","), strict=True)) for line in lines[1:]]
    by_set = {name: sorted(c["image_name"] for c in cells if c["set"] == name) for name in ("training", "validation")}
    assert list(koniq_ood.legs[0].train[0].train) == by_set["training"]
    assert list(koniq_ood.legs[0].train[0].valid) == by_set["validation"]


def test_label_files_with_another_count_leave_the_cell_empty_and_say_so(data_root: Path) -> None:
    """The mirror table of LIVE Challenge has 1,161 of 1,162 rows: near enough to be taken for the whole."""

    def opened(name: str) -> Dataset:
        folder = "unified" if name == "livec" else name
        if name not in ("livec", "koniq10k"):
            raise NotFoundError(name)
        return open_dataset(name, None, data_root / "labels" / folder)

    (leg,) = ready.named("koniq-ood", opened).legs
    why = {gap.dataset: gap.why for gap in leg.absent}
    assert why["livec"] == "these label files have 1,161 test"
    assert why["spaq"] == "no label files here"


def test_without_any_label_file_a_plan_still_states_its_counts() -> None:
    table = plans.plans("koniq-ood")
    assert table[0].counts == {"train": 7058, "valid": 1000, "test": 2015}
    assert sum(row.counts.get("test", 0) for row in table[1:]) == 11125 + 1162 + 39810 + 10125 + 866 + 2982 + 23200
    assert {row.absent for row in table} == {"no label files here"}
    with pytest.raises(SplitError, match="nothing of it can be trained here"):
        plans.plan_of("koniq-ood", None).trained()


# --- arniqa


def test_arniqa_is_its_ten_splits_of_each_dataset(data_root: Path) -> None:
    plan = plans.plan_of("arniqa", data_root / "labels", data_root / "splits/arniqa")
    legs = plan.trained()
    found = [leg.train[0].dataset for leg in legs]
    assert {name: found.count(name) for name in found} == PUBLISHED
    assert all(leg.train[0].test and not leg.tests for leg in legs)
    # Reports put runs of one kind of split into one row, whose number is their median.
    assert {leg.train[0].kind for leg in legs} == {"published"}
    assert len({leg.train[0].fingerprint for leg in legs}) == 61


def test_arniqa_without_its_files_says_how_to_go_on() -> None:
    with pytest.raises(SplitError, match="harness splits plans arniqa --files"):
        plans.plan_of("arniqa", None).trained()


# --- cross and leave one dataset out


def test_cross_trains_on_one_whole_dataset_and_tests_the_other(opened: Callable[[str], Dataset]) -> None:
    (leg,) = ready.named("cross:csiq,tid2013", opened).legs
    learnt, tested = leg.train[0], leg.tests[0]
    data = opened("csiq")
    assert {*learnt.train, *learnt.valid} == set(data.labelled["id"])
    assert not learnt.test
    group = dict(zip(data.labelled["id"], data.labelled["group"], strict=True))
    assert not {group[i] for i in learnt.train} & {group[i] for i in learnt.valid}
    assert len(tested.test) == 3000


def test_leave_one_dataset_out_tests_each_dataset_once_and_never_trains_on_it(
    opened: Callable[[str], Dataset],
) -> None:
    plan = ready.named("leave-one-dataset-out:tid2013,csiq,bid", opened)
    assert [leg.tests[0].dataset for leg in plan.legs] == ["bid", "csiq", "tid2013"]
    for leg in plan.legs:
        assert leg.tests[0].dataset not in leg.learnt.dataset.split("+")
        assert len(leg.learnt.train) == sum(len(split.train) for split in leg.train)
        assert all("/" in name for name in leg.learnt.train)
    assert plan == ready.named("leave-one-dataset-out:bid,csiq,tid2013", opened)


def test_equal_names_in_two_datasets_stay_two_images() -> None:
    """The trap: `1.png` of one dataset taken for `1.png` of another."""
    common = {"kind": "all", "name": "all", "seed": 0, "ratios": (), "test": (), "group_rule": "image"}
    one = Split(dataset="a", train=("1.png",), valid=("2.png",), **common)
    other = Split(dataset="b", train=("2.png",), valid=("1.png",), **common)
    both = together([other, one])
    assert both == together([one, other])
    assert (both.dataset, both.train, both.valid) == ("a+b", ("a/1.png", "b/2.png"), ("a/2.png", "b/1.png"))


@pytest.mark.parametrize("text", ["koniq", "cross:csiq", "cross:a,b,c", "leave-one-dataset-out:csiq,bid", "arniqa:3"])
def test_an_unknown_plan_lists_what_there_is(text: str, opened: Callable[[str], Dataset]) -> None:
    with pytest.raises(SplitUsageError, match="koniq-ood, arniqa, cross:A,B"):
        ready.named(text, opened)


def test_a_dataset_is_not_tested_by_what_was_trained_on_it(opened: Callable[[str], Dataset]) -> None:
    with pytest.raises(SplitError, match="csiq twice"):
        ready.named("cross:csiq,csiq", opened)


# --- a plan as files


def test_a_plan_is_the_same_from_its_folder(koniq_ood: Plan, data_root: Path) -> None:
    table = plans.plans("koniq-ood", data_root / "labels", out=Path("ood"))
    assert Plan.load(Path("ood")) == koniq_ood
    assert plans.plans("ood") == table
    listed = json.loads(Path("ood/plan.json").read_text(encoding="utf-8"))
    assert listed["fingerprint"] == koniq_ood.fingerprint
    assert {entry["file"] for leg in listed["legs"] for entry in (*leg["train"], *leg["tests"])} == {
        path.name for path in Path("ood").glob("*.json")
    } - {"plan.json"}
    checked = splits.check(Path("ood/spaq-all.json"), "spaq", labels=data_root / "labels/spaq")
    assert (checked.counts["test"], checked.leaks) == (11125, [])


def test_a_list_that_was_changed_or_swapped_is_refused(data_root: Path) -> None:
    plans.plans("cross:csiq,bid", data_root / "labels", out=Path("p"))
    test = Split.load(Path("p/bid-all.json"))
    Split.load(Path("p/bid-all.json")).restrict(test.test[1:]).save(Path("p/bid-all.json"))
    with pytest.raises(SplitError, match=r"the list that plan\.json names"):
        Plan.load(Path("p"))
    Path("p/bid-all.json").unlink()
    with pytest.raises(SplitError, match="Expected a split in"):
        Plan.load(Path("p"))
    with pytest.raises(SplitError, match=r"found no plan\.json"):
        Plan.load(Path("elsewhere"))
