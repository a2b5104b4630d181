"""What the README says to type works as it stands there; guards against a page that has drifted from the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import harness
from harness.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def iqa(data_root: Path) -> None:
    """`iqa/biq2021`: some of its photographs, and its authors' lists, where the README has them."""
    root = Path("iqa/biq2021")
    (root / "Images").mkdir(parents=True)
    for image in sorted((data_root / "images/biq2021").glob("*.jpg"))[::60]:
        (root / "Images" / image.name).symlink_to(image)
    for table in (data_root / "labels/biq2021").iterdir():
        (root / table.name).symlink_to(table)


@pytest.mark.data
@pytest.mark.usefixtures("iqa")
def test_the_commands_and_the_python_of_the_readme(capfd: pytest.CaptureFixture[str]) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("harness ")]
    assert len(commands) == 4
    for command in commands:
        words = [w for word in shlex.split(command)[1:] for w in (sorted(map(str, Path().glob(word))) or [word])]
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0, capfd.readouterr().err
    assert Path("report/index.html").is_file()
    (python,) = blocks("python")
    exec(compile(python, "README.md", "exec"), {"harness": harness})
    assert "srcc" in capfd.readouterr().out
    assert Path("report-py/index.html").is_file()


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    for line in blocks("sh")[0].splitlines():
        target = line.split()[1]
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_every_page_that_is_linked_is_there() -> None:
    top = Path(__file__).parents[1]
    pages = [top / "README.md", *(top / "docs").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
