"""Plans over datasets: exact lists of ids from the authors' label files, and what is not here is shown, not dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import harness
from harness.datasets.dataset import Dataset, open_dataset
from harness.errors import NotFoundError, ProtocolError, UsageError
from harness.examples import Joined
from harness.examples import together as joined
from harness.runs import has_own_test
from harness.splits import ready
from harness.splits.errors import SplitError, SplitUsageError
from harness.splits.plans import Plan, together
from harness.splits.split import Split
from harness.verbs import plans, splits
from harness.verbs.score import score
from reports import card as cards
from reports.blocks import Words
from reports.sections import matrix, scores
from reports.study import study as study_of

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
    return ready.named("koniq-ood", plans.opener(data_root / "labels"))


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
        ready.named("koniq-ood", plans.opener(None)).trained()


# --- arniqa


def test_arniqa_is_its_ten_splits_of_each_dataset(data_root: Path) -> None:
    plan = ready.arniqa(data_root / "splits/arniqa", data_root / "labels")
    legs = plan.trained()
    found = [leg.train[0].dataset for leg in legs]
    assert {name: found.count(name) for name in found} == PUBLISHED
    assert all(leg.train[0].test and not leg.tests for leg in legs)
    # Reports put runs of one kind of split into one row, whose number is their median.
    assert {leg.train[0].kind for leg in legs} == {"published"}
    assert len({leg.train[0].fingerprint for leg in legs}) == 61


def test_arniqa_without_its_files_says_how_to_go_on() -> None:
    with pytest.raises(SplitError, match="harness splits plans arniqa --files"):
        ready.named("arniqa", plans.opener(None)).trained()


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


# --- trained and evaluated: small copies of real photographs, with their real labels

OOD = "biq-ood"


def shrunk(source: Path, target: Path, names: list[str]) -> None:
    """Real photographs at 96 pixels: the protocol is tested here, not the encoder."""
    target.mkdir(parents=True)
    for name in names:
        with Image.open(source / name) as image:
            image.convert("RGB").resize((96, 96)).save(target / name, quality=95)


@pytest.fixture(scope="module")
def world(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of 40 BIQ2021 images, 12 of LIVE Challenge and 16 others of BIQ2021 as a dataset `street`; CSIQ has label
    files only."""
    top = tmp_path_factory.mktemp("plans")
    biq = sorted(p.name for p in (data_root / "images/biq2021").glob("*.jpg"))
    livec = sorted(p.name for p in (data_root / "images/livec/Images").glob("*.JPG"))
    shrunk(data_root / "images/biq2021", top / "iqa/biq2021/Images", biq[::60])
    shrunk(data_root / "images/livec/Images", top / "iqa/livec/Images", livec[::14])
    street = biq[7::150]
    shrunk(data_root / "images/biq2021", top / "iqa/street/images", street)
    mos = open_dataset("biq2021", None, data_root / "labels/biq2021").labelled.set_index("id")["mos"]
    pd.DataFrame({"id": street, "mos": mos[street].tolist()}).to_csv(top / "iqa/street/labels.csv", index=False)
    (top / "iqa/street/dataset.toml").write_text('name = "street"\nlow = 0\nhigh = 1\n')
    labels = {name: data_root / "labels" / name for name in ("biq2021", "livec", "csiq")}
    tables = [f'[datasets.{name}]\nlabels = "{place}"\n' for name, place in labels.items()]
    (top / "harness.toml").write_text('[paths]\ndata = "iqa"\n' + "".join(tables))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(top)
        for name in ("biq2021", "livec", "street"):
            harness.precompute(dataset=name, encoder="efficientnet-lite0", features=["stage.1:moments", "stage.6:map"])
    return top


@pytest.fixture
def here(world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Runs go into a folder of each test's own; a plan like koniq-ood for the photographs that are here."""
    monkeypatch.chdir(world)
    counts = (8022, 1978, 2000)
    tests = {"livec": 1162, "csiq": 866, "pipal": 23200}
    monkeypatch.setitem(ready.READY, OOD, ready.Protocol("biq2021", "official", counts, tests, "made for this test"))
    return tmp_path / "runs"


def card(folder: str, rows: str) -> cards.Evaluation:
    return cards.load_evaluation(Path(folder) / "evaluations" / rows / "card.json")


def test_a_plan_evaluates_what_is_here_and_counts_what_is_not(here: Path) -> None:
    runs = harness.train_head(variant="ridge", features=["stage.1:moments"], plan=OOD, runs=here)
    found = {one.dataset: one for one in harness.evaluate(runs, plan=OOD)}
    assert {name: (one.n > 0, one.asked, one.absent) for name, one in found.items()} == {
        "biq2021": (True, 2000, ""),
        "livec": (True, 1162, ""),
        "csiq": (False, 866, "no feature store here"),
        "pipal": (False, 23200, "no label files here"),
    }
    written = card(runs[0].folder, "csiq-all")
    assert written.counts == {"asked": 866, "used": 0, "missing": 866, "failed": 0}
    page = harness.report(runs, out=here / "report")
    cells = pd.read_csv(here / "report/matrix.csv")
    assert (cells.loc[0, "csiq"], cells.loc[0, "pipal"]) == ("no feature store here", "no label files here")
    assert np.isfinite(float(cells.loc[0, "livec"]))
    table = pd.read_csv(here / "report/table.csv").set_index("test")
    assert (table.loc["pipal", "asked_min"], table.loc["pipal", "missing_max"], table.loc["pipal", "n_max"]) == (
        23200,
        23200,
        0,
    )
    text = Path(page.markdown).read_text(encoding="utf-8")
    assert "| csiq | no feature store here | 866 | 866 | all |" in text
    assert "No run has an SRCC on pipal: no label files here." in text


def test_what_was_evaluated_before_stays_when_its_store_has_gone(here: Path, world: Path) -> None:
    """The trap: an empty cell written over a number."""
    runs = harness.train_head(variant="ridge", features=["stage.1:moments"], plan=OOD, runs=here)
    first = {one.dataset: one for one in harness.evaluate(runs, plan=OOD)}
    stores = world / "stores/livec"
    stores.rename(world / "gone")
    try:
        again = {one.dataset: one for one in harness.evaluate(runs, plan=OOD)}
    finally:
        (world / "gone").rename(stores)
    assert again["livec"].srcc == first["livec"].srcc
    assert card(runs[0].folder, "livec-all").absent == ""


def test_a_run_that_learnt_from_other_ids_is_refused(here: Path) -> None:
    (run,) = harness.train_head(
        variant="ridge", dataset="biq2021", features=["stage.1:moments"], split="random:1", runs=here
    )
    with pytest.raises(ProtocolError, match=r"found one trained on biq2021 \(random:0\)"):
        harness.evaluate([run], plan=OOD)
    (run,) = harness.train_head(
        variant="ridge", dataset="biq2021", features=["stage.1:moments"], split="official", runs=here
    )
    assert len(harness.evaluate([run], plan=OOD)) == 4
    with pytest.raises(UsageError, match="one of them"):
        harness.evaluate([run], on="livec", plan=OOD)


@pytest.mark.parametrize(("variant", "feature"), [("ridge", "stage.1:moments"), ("fft", "stage.6:map")])
def test_leave_one_dataset_out_learns_from_the_others_together(here: Path, variant: str, feature: str) -> None:
    plan = "leave-one-dataset-out:biq2021,livec,street"
    quick = [] if variant == "ridge" else ["epochs=1"]
    runs = harness.train_head(variant=variant, features=[feature], plan=plan, runs=here, set=quick)
    assert [run.dataset for run in runs] == ["livec+street", "biq2021+street", "biq2021+livec"]
    found = harness.evaluate(runs, plan=plan)
    assert [(one.dataset, one.n) for one in found] == [("biq2021", 40), ("livec", 12), ("street", 16)]
    assert not any(has_own_test(Path(run.folder), cards.load_run(Path(run.folder) / "card.json")) for run in runs)
    assert harness.train_head(variant=variant, features=[feature], plan=plan, runs=here, set=quick) == runs
    study = study_of([Path(run.folder) for run in runs], {})
    reasons = {(config.train, test): cell.reason for (config, test), cell in matrix.cells(study).items()}
    assert reasons["biq2021+livec", "livec"] == "holds its train rows"
    with pytest.raises(UsageError, match="learnt from all of livec"):
        harness.evaluate(runs[:1], on="livec")


def test_joined_rows_are_those_of_each_store(here: Path, world: Path) -> None:
    """Row by row against the stores themselves, in an order that mixes them."""
    parts: list[Joined] = []
    for name in ("livec", "street"):
        store = harness.open_store(next((world / "stores" / name).glob("efficientnet*")))
        data = splits.data_of(name, None, None)
        parts.append(Joined(data, [store], store.select(["stage.1:moments", "stage.6:map"]), data.quality_map()))
    rows = joined(parts)
    mixed = rows[np.random.default_rng(0).permutation(len(rows))]
    table = mixed.features.table("stage.1:moments")
    maps: dict[str, np.ndarray] = {}
    for positions, found in next(mixed.features.batches("stage.6:map", [np.arange(len(mixed))])):
        maps |= {mixed.ids[p]: value for p, value in zip(positions, found, strict=True)}
    for i, name in enumerate(mixed.ids):
        part = parts[0] if name.startswith("livec/") else parts[1]
        own = part.examples[[name.partition("/")[2]]]
        assert (table[i] == own.features.table("stage.1:moments")[0]).all()
        assert (maps[name] == next(own.features.batches("stage.6:map", [np.arange(1)]))[0][1][0]).all()
        assert mixed.quality[i] == own.quality[0]
        assert mixed.dataset[i] == name.partition("/")[0]
        assert (mixed.features.grids("stage.6:map")[i] == own.features.grids("stage.6:map")[0]).all()


def test_a_file_that_was_learnt_from_is_not_tested_as_another_dataset(here: Path, world: Path) -> None:
    """The trap: a dataset that holds photographs of another one, under other names."""
    root = world / "iqa/copies"
    (root / "images").mkdir(parents=True)
    one, other = sorted((world / "iqa/biq2021/Images").iterdir())[:2]
    (root / "images/renamed.jpg").write_bytes(one.read_bytes())
    for n, photo in enumerate(sorted((world / "iqa/street/images").iterdir())[:3]):
        (root / f"images/{n}.jpg").write_bytes(photo.read_bytes())
    ids = ["renamed.jpg", "0.jpg", "1.jpg", "2.jpg"]
    pd.DataFrame({"id": ids, "mos": [0.1, 0.5, 0.6, 0.9]}).to_csv(root / "labels.csv", index=False)
    (root / "dataset.toml").write_text('name = "copies"\nlow = 0\nhigh = 1\n')
    harness.precompute(dataset="copies", encoder="efficientnet-lite0", features=["stage.1:moments"])
    runs = harness.train_head(variant="ridge", features=["stage.1:moments"], plan="cross:biq2021,copies", runs=here)
    with pytest.raises(ProtocolError, match=r"biq2021 and copies share 1 files with the same bytes: renamed\.jpg"):
        harness.evaluate(runs, plan="cross:biq2021,copies")
    (leaky,) = harness.evaluate(runs, plan="cross:biq2021,copies", allow_leakage=True)
    assert "LEAKY" in leaky.stamps
    assert other.name not in ids


def test_declared_sharing_is_kept_in_the_evaluation_and_told_in_the_report(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.datasets import sharing

    monkeypatch.setattr(sharing, "between", lambda trained, tested: [f"{trained.name}, {tested.name}: shared"])
    runs = harness.train_head(variant="ridge", features=["stage.1:moments"], plan=OOD, runs=here)
    found = {one.dataset: one for one in harness.evaluate(runs, plan=OOD)}
    note = "biq2021, livec: shared"
    assert note in found["livec"].notes
    assert note in card(runs[0].folder, "livec-all").notes
    said = scores.section(study_of([Path(run.folder) for run in runs], {})).blocks
    assert any(note in block.text for block in said if isinstance(block, Words))


def test_predictions_from_elsewhere_are_scored_on_a_plans_list(data_root: Path) -> None:
    labels = data_root / "labels"
    plans.plans("cross:csiq,bid", labels, out=Path("p"))
    data = open_dataset("bid", None, labels / "bid")
    pd.DataFrame({"id": data.labelled["id"], "prediction": data.labelled["mos"]}).to_csv("mine.csv", index=False)
    (found,) = score("mine.csv", dataset="bid", split="p/bid-all.json", trained_on="csiq", labels=labels / "bid")
    assert (found.asked, found.rows, found.scores["srcc"]) == (586, "all", pytest.approx(1.0))
    with pytest.raises(UsageError, match="tests nothing"):
        score("mine.csv", dataset="csiq", split="p/csiq-all-train.json", labels=labels / "csiq")
