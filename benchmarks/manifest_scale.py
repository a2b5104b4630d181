"""Manifests of 10^4 to 10^7 rows: CPU-seconds and peak memory of saving, loading, splitting and checking them.

    OMP_NUM_THREADS=1 nice -n 15 python benchmarks/manifest_scale.py [--rows 10000 100000 1000000 10000000]

Each size runs in a process of its own, stage after stage; a stage's memory is the peak of the whole process while it
ran. Rows are made up (ids, sha256, hashes of looks; groups of ten), without references; a fifth is the test part.
Look-alikes are sought between test and the rest.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import record

from harness.datasets.dataset import Dataset
from harness.datasets.folder import SPEC
from harness.datasets.manifest import conform, read_manifest, write_manifest
from harness.splits import leakage
from harness.splits.kinds import whole_splits
from harness.splits.lookalikes import twins
from harness.splits.split import Split

ROWS = (10_000, 100_000, 1_000_000, 10_000_000)


class Stages:
    """Seconds and gigabytes of each stage, in their order."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, float]] = {}
        self.start()

    def start(self) -> None:
        """Forgets the peak so far, where the system can (Linux)."""
        self._fresh = Path("/proc/self/clear_refs").exists()
        if self._fresh:
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        self._began = time.process_time()

    def done(self, stage: str) -> None:
        """A stage is over, and the next one begins."""
        seconds = time.process_time() - self._began
        self.found[stage] = (round(seconds, 2), round(self._peak(), 2))
        self.start()

    def _peak(self) -> float:
        if not self._fresh:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9


def texts(letters: str, width: int) -> pd.Series:
    """Texts of equal width out of one long one."""
    data = letters.encode()
    ends = pa.py_buffer(np.arange(0, len(data) + 1, width, dtype=np.int64))
    made = pa.LargeStringArray.from_buffers(len(data) // width, ends, pa.py_buffer(data))
    return pd.Series(made.to_pandas())


def numbered(name: str, numbers: Iterable[int]) -> pd.Series:
    return texts("".join(f"{name}{number:08}" for number in numbers), len(name) + 8)


def rows(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    ids = numbered("image-", range(n))
    return {
        "id": ids,
        "path": ids,
        "present": True,
        "mos": rng.uniform(1, 5, n),
        "std": rng.uniform(0, 1, n),
        "group": numbered("group-", (i // 10 for i in range(n))),
        "sha256": texts(rng.bytes(32 * n).hex(), 64),
        "looks": texts(rng.bytes(8 * n).hex(), 16),
    }


def measure(n: int) -> dict[str, tuple[float, float]]:
    """All stages at one size."""
    columns = rows(n)
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages()
        frame = conform(columns)
        del columns
        stages.done("make")
        write_manifest(frame, Path(folder) / "manifest.parquet", "lab")
        del frame
        stages.done("save")
        frame, _ = read_manifest(Path(folder) / "manifest.parquet")
        stages.done("load")
        data = Dataset(msgspec.structs.replace(SPEC, name="lab", group_rule="group"), None, frame)
        assert len(whole_splits("stratified", data)[0].test) * 5 == n
        stages.done("stratified split")
        split = whole_splits("random", data)[0]
        assert sum(split.counts.values()) == n
        stages.done("random split")
        assert split.fingerprint
        stages.done("fingerprint")
        split.save(Path(folder) / "split.json")
        del split
        stages.done("save split")
        split = Split.load(Path(folder) / "split.json")
        stages.done("load split")
    assert leakage.check(split, data.manifest) == []
    stages.done("leakage check")
    twins(data.looks(split.test), data.looks([*split.train, *split.valid]))
    stages.done("look-alikes")
    return stages.found


def judged(n: int, stages: dict[str, tuple[float, float]]) -> list[record.Result]:
    """What was found at one size, against the goals."""
    seconds, peak = sum(s for s, _ in stages.values()), max(gb for _, gb in stages.values())
    return [
        record.result(f"{n:,} rows, peak memory, GB", peak, "<= 8", stages=stages),
        record.result(f"{n:,} rows, all stages, CPU-seconds", seconds, "<= 600"),
    ]


def main() -> None:
    """Measures every size, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one)))
        return
    results: list[record.Result] = []
    for n in asked.rows:
        done = subprocess.run([sys.executable, __file__, "--one", str(n)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{n:,} rows: ended with {done.returncode}\n{done.stderr}")
        results += judged(n, json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(results[-2:]), flush=True)
    record.keep(__file__, results, ["pandas", "pyarrow", "numpy"])


if __name__ == "__main__":
    main()
