"""Several devices: a process each, the same bytes as one, and nothing lost when one of them dies."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cache.blocks import PlanItem
from cache.encoders.sam import SAM_TINY
from cache.features import expand
from cache.identity import Identity
from cache.images import DECODING, probe
from cache.store import FeatureStore
from cache.views import parse_view
from harness import console
from harness.engines import local, processes
from harness.errors import HarnessError
from harness.recipe import Recipe

TINY = Recipe("sam-tiny", None, {})
VIEW = parse_view("native")
FEATURES = expand(["neck:map", "*:moments"], [tap.name for tap in SAM_TINY.spec.taps])

PARENT = """
import json, sys
from pathlib import Path
from cache.features import parse_feature
from cache.store import FeatureStore
from cache.views import parse_view
from harness.engines import local, processes
from harness.recipe import Recipe

store, root, ids, features = json.loads(sys.argv[1])
store = FeatureStore.open(Path(store))
job = local.Job(store, [parse_feature(f) for f in features], ids, Path(root), parse_view("native"), 4, {})
processes.run([job], Recipe("sam-tiny", None, {}), ["cpu", "cpu"], lambda _: print(end="x", flush=True))
"""


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three blocks of small images of three sizes."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(66):
        pixels = np.random.default_rng(i).integers(0, 256, (20 + i // 30, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture
def job(tmp_path: Path, photographs: Path) -> Callable[[str], local.Job]:
    names = sorted(file.name for file in photographs.iterdir())
    items = []
    for name in names:
        data = (photographs / name).read_bytes()
        width, height = probe(data)
        items.append(PlanItem(name, name, hashlib.sha256(data).hexdigest(), len(data), 1, width, height))
    identity = Identity(SAM_TINY.load(None, "cpu").identity, VIEW.identity(), DECODING)

    def make(name: str) -> local.Job:
        store = FeatureStore.create(tmp_path / name, "set", identity, {}, SAM_TINY.spec.taps)
        store.plan(items, heavy=True)
        return local.Job(store, FEATURES, names, photographs, VIEW, 4, {})

    return make


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are started."""
    found: list[subprocess.Popen[bytes]] = []

    class Seen(subprocess.Popen[bytes]):
        """A process that is remembered."""

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Seen)
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def expected(job: Callable[[str], local.Job]) -> dict[str, bytes]:
    """The store that one process makes."""
    alone = job("alone")
    local.run([alone], TINY.load("cpu"), lambda _: None)
    return files(alone.store.path)


def test_two_processes_make_the_store_that_one_makes(
    job: Callable[[str], local.Job], expected: dict[str, bytes], started: list[Any]
) -> None:
    shared, seen = job("shared"), []
    work = processes.run([shared], TINY, ["cpu", "cpu"], seen.append)
    assert (work.images, len(seen), set(seen), len(started)) == (66, 66, {False}, 2)
    assert 0 < work.busy < work.ready < work.seconds  # the trap: processes that start are no encoders that wait
    assert files(shared.store.path) == expected
    assert [process.returncode for process in started] == [0, 0]


def test_a_killed_worker_is_named_and_its_blocks_are_made_by_the_others(
    job: Callable[[str], local.Job], expected: dict[str, bytes], started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap: a run that waits for ever for the rows of a process that is no more."""
    said: list[str] = []
    monkeypatch.setattr(console, "say", said.append)
    shared = job("shared")

    def kill(_: bool) -> None:
        started[0].kill()

    processes.run([shared], TINY, ["cpu", "cpu"], kill)
    assert files(shared.store.path) == expected
    assert said == ["The worker on cpu is lost (its process ended by SIGKILL); the others take its blocks."]


def test_when_no_worker_is_left_the_run_says_what_ended_each(
    job: Callable[[str], local.Job], tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """And what was committed before counts: the same command again goes on."""
    shared, damaged = job("shared"), tmp_path / "damaged.pth"
    damaged.write_bytes(b"no tensors")
    with pytest.raises(HarnessError, match=r"No worker is left \(cpu: .*damaged\.pth.*run the same command again"):
        processes.run([shared], Recipe("mobile-sam", damaged, {}), ["cpu"], lambda _: None)
    local.run([shared], TINY.load("cpu"), lambda _: None)
    assert files(shared.store.path) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_die_with_their_parent(job: Callable[[str], local.Job]) -> None:
    """Killed, not interrupted: it can clean up nothing."""
    shared = job("shared")
    facts = [str(shared.store.path), str(shared.root), list(shared.ids), [str(f) for f in FEATURES]]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, json.dumps(facts)], stdout=subprocess.PIPE, env=env)
    assert parent.stdout is not None
    assert parent.stdout.read(1) == b"x"
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) == 2
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{child}/cmdline").exists() for child in children) and time.monotonic() < end:
        time.sleep(0.02)
    assert not [child for child in children if Path(f"/proc/{child}/cmdline").exists()]
