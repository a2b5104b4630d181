"""Label files that anybody may fetch: pinned by sha256, from a real server, never over another file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from harness.datasets.dataset import open_dataset
from harness.datasets.errors import DatasetError
from harness.datasets.prepare import fetch_labels, preparation
from harness.datasets.spec import DatasetSpec
from harness.registry import datasets

FETCHED = [name for name in datasets().names() if datasets().get(name).label_files]


class Server(SimpleHTTPRequestHandler):
    """Serves a folder by the last part of each path, and counts."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.path = "/" + self.path.rpartition("/")[2]
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, the address that serves it, and what was asked of it."""
    folder, asked = tmp_path / "served", list[str]()
    folder.mkdir()
    handler = type("Counting", (Server,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def at(name: str, address: str) -> DatasetSpec:
    """A dataset whose label files are where the test's server is."""
    spec: DatasetSpec = datasets().get(name)
    files = [msgspec.structs.replace(f, url=f"{address}/{f.url.partition('//')[2]}") for f in spec.label_files]
    return msgspec.structs.replace(spec, label_files=tuple(files))


def test_what_is_fetched_is_pinned_to_a_commit_and_its_terms_are_named() -> None:
    assert set(FETCHED) == {"koniq10k", "agiqa1k", "agiqa3k", "flive"}
    for name in FETCHED:
        for file in datasets().get(name).label_files:
            assert len(file.sha256) == 64
            assert any(len(part) == 40 for part in file.url.split("/"))
            assert file.terms in {"MIT", "CC BY-NC 4.0"}


@pytest.mark.parametrize("name", FETCHED)
def test_the_published_files_are_fetched_once_and_labels_can_be_read(
    name: str, data_root: Path, served: tuple[Path, str, list[str]], tmp_path: Path
) -> None:
    folder, address, asked = served
    spec, root = at(name, address), tmp_path / "root"
    for file in spec.label_files:
        (folder / file.path).write_bytes((data_root / "labels" / name / file.path).read_bytes())
    fetch_labels(spec, root)
    assert len(asked) == len(spec.label_files)
    for file in spec.label_files:
        assert hashlib.sha256((root / file.path).read_bytes()).hexdigest() == file.sha256
    fetch_labels(spec, root)
    assert len(asked) == len(spec.label_files)
    labels = open_dataset(name, labels=root).manifest
    assert len(labels) >= spec.count - 1
    assert list(labels["id"]) == list(open_dataset(name, labels=data_root / "labels" / name).manifest["id"])


def test_another_file_than_the_published_one_is_refused_and_nothing_is_left(
    served: tuple[Path, str, list[str]], tmp_path: Path
) -> None:
    """The trap: authors replace label files, and a login page answers with 200."""
    folder, address, _ = served
    spec, root = at("agiqa3k", address), tmp_path / "root"
    (folder / "data.csv").write_text("<html>please log in</html>")
    with pytest.raises(
        DatasetError, match=r"data\.csv could not be fetched: what came has another sha256.*by other means"
    ):
        fetch_labels(spec, root)
    assert not list(root.rglob("*.*"))
    (folder / "data.csv").unlink()
    with pytest.raises(DatasetError, match=r"404"):
        fetch_labels(spec, root)


def test_a_file_that_is_there_is_not_overwritten(served: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    _, address, asked = served
    own = tmp_path / "data.csv"
    own.write_text("mine")
    with pytest.raises(DatasetError, match=r"another file than the published one.*nothing was overwritten"):
        fetch_labels(at("agiqa3k", address), tmp_path)
    assert (own.read_text(), asked) == ("mine", [])


def test_no_network_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"http://127\.0\.0\.1:9/.*could not be fetched: no connection\..*sha256 d0bd1ad"
    ):
        fetch_labels(at("koniq10k", "http://127.0.0.1:9"), tmp_path)


def test_the_steps_say_what_is_fetched_and_what_is_left() -> None:
    def steps(place: Path | None) -> str:
        console = Console(width=300)
        with console.capture() as capture:
            console.print(preparation(datasets().get("koniq10k"), place), markup=False)
        return capture.get()

    before, after = steps(None), steps(Path("iqa/koniq10k"))
    assert "MIT): harness datasets prepare koniq10k --to DIR" in before
    assert "obtain the images yourself" in before
    assert "harness score FILE --dataset koniq10k --labels iqa/koniq10k" in after
    assert 'root = "iqa/koniq10k"' in after
