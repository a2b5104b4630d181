"""The registry's pages: every fact has a source or is called unverified, and a person can read the tables."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from harness.datasets.conformance import check_spec
from harness.datasets.spec import UNVERIFIED, DatasetSpec
from harness.errors import UsageError
from harness.registry import datasets
from harness.verbs.datasets import info, ls, prepare

ASKED = (
    "live", "csiq", "tid2008", "tid2013", "kadid10k", "koniq10k", "koniqplusplus", "spaq", "livec", "flive",
    "pipal", "bid", "cid2013", "livemd", "mdid2013", "mdid", "sdivl", "mdivl", "vclfer", "toyama", "cidiq50",
    "cidiq100", "pdaphdds", "a57", "uhdiqa", "piq23-overall", "piq23-details", "piq23-exposure", "biq2021",
    "gfiqa20k", "agiqa1k", "agiqa3k", "aigiqa20k", "aadb", "ava",
)  # fmt: skip
HOME_MADE = ("synthetic", "synthetic-cross", "folder")


def drawn(thing: object, width: int = 160) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(thing, markup=False)
    return capture.get()


def test_at_least_32_datasets_are_in_the_registry_and_all_that_were_asked_for() -> None:
    assert len(ASKED) >= 32
    assert set(ASKED) <= set(datasets().names())


@pytest.mark.parametrize("name", datasets().names())
def test_a_page_states_facts_with_sources(name: str) -> None:
    spec: DatasetSpec = datasets().get(name)
    check_spec(spec)
    assert spec.name == name
    if name in HOME_MADE:
        return
    assert spec.year > 1990
    assert spec.citation
    assert all(other in datasets().names() or " " in other or not other.islower() for other in spec.shares), spec.shares
    # A fact without a source is printed as unverified, and the page says which these are.
    page = drawn(info(name))
    for fact in spec.unverified():
        assert spec.source(fact).startswith(UNVERIFIED)
    assert ("Not checked against a source" in page) == bool(spec.unverified())
    assert ("Tree UNVERIFIED" in page) == spec.tree_unverified
    flat = " ".join(page.split())
    for word in (
        spec.title,
        f"Terms: {spec.terms.split()[0]}",
        "Obtain:",
        "Cite:",
        spec.tree.split("\n")[0].split()[0],
    ):
        assert word in flat, word


def test_a_mirror_alone_does_not_verify_an_official_tree() -> None:
    """Where only another project's table or code was read, the page says that the tree is unverified."""
    verified = {name for name in ASKED if not datasets().get(name).tree_unverified}
    assert verified == {
        *("biq2021", "koniq10k", "livec", "spaq", "flive", "bid", "csiq", "tid2013", "agiqa1k", "agiqa3k"),
        *("piq23-overall", "piq23-details", "piq23-exposure"),
    }


def test_shared_content_is_told_from_both_sides() -> None:
    for name in ASKED:
        for other in datasets().get(name).shares:
            if other in datasets().names() and (name, other) not in {("mdivl", "sdivl")}:
                assert name in datasets().get(other).shares, (name, other)


def test_ls_is_one_line_a_dataset_within_160_columns() -> None:
    lines = drawn(ls()).rstrip().split("\n")
    names = [line.split()[0] for line in lines[1 : 1 + len(datasets().names())]]
    assert names == datasets().names()
    assert max(map(len, lines)) <= 160
    assert all("…" not in line[:60] for line in lines[1 : 1 + len(ASKED)])


def test_ls_imports_no_array_library_and_is_quick() -> None:
    code = (
        "import sys, harness.cli\n"
        "try: harness.cli.main(['datasets', 'ls', '--json'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'pandas', 'scipy', 'h5py', 'torch') if m in sys.modules], file=sys.stderr)"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.strip() == "[]"
    assert [row["name"] for row in json.loads(done.stdout)] == datasets().names()
    assert time.monotonic() - start < 30


def test_info_tells_direction_scale_and_traps_in_words() -> None:
    assert "LOWER is better" in drawn(info("csiq"))
    assert "without declared ends" in drawn(info("pipal"))
    assert "its fourth column is a variance" in drawn(info("kadid10k")).lower()
    assert "unverified" in drawn(info("ava"))
    assert max(map(len, drawn(info("koniq10k"), 100).split("\n"))) <= 100


def test_prepare_says_how_under_which_terms_what_tree_and_what_to_type() -> None:
    page = drawn(prepare("piq23-overall"))
    for words in (
        "non-commercial",
        "corp.dxomark.com",
        "Scores_Overall.csv",
        "does not fetch",
        "datasets verify piq23",
    ):
        assert words in page
    assert "harness datasets prepare synthetic --to DIR" in drawn(prepare("synthetic"))
    assert "CSV into DIR" in drawn(prepare("folder"))


def test_prepare_makes_what_it_may_and_refuses_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.datasets import synthetic

    monkeypatch.setitem(synthetic.PHOTOGRAPHS, "synthetic", {"brick": "skimage/data/brick.png"})
    page = drawn(prepare("synthetic", to=tmp_path / "made"))
    assert f"Made in {tmp_path / 'made'}" in " ".join(page.replace("\n", "").split())
    assert len(list((tmp_path / "made" / "images").iterdir())) == 21
    with pytest.raises(UsageError, match="spaq cannot be made or fetched here"):
        prepare("spaq", to=tmp_path / "spaq")
    assert not (tmp_path / "spaq").exists()
