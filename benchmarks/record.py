"""Where and how a figure was measured, kept with it in `results/<script>.json`. Measures nothing."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

LOAD = os.getloadavg()[0]  # before the script adds its own


def keep(script: str, results: Sequence[dict[str, Any]], packages: Sequence[str], **more: Any) -> None:
    """Writes the script's file, and prints its results as the last line.

    Args:
        script: the `__file__` of the benchmark.
        results: objects with `benchmark`, `ratio`, `goal` and `met`; `why` where a goal was missed or not tried.
        packages: whose versions the figures depend on.
        more: facts of the machine beside its processor, cores and load.
    """
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    record = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": named[0] if named else platform.processor(),
            "cores": os.cpu_count(),
            "load_before": round(LOAD, 2),
            "system": platform.system(),
            **more,
        },
        "packages": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "results": list(results),
    }
    place = Path(__file__).parent / "results" / f"{Path(script).stem}.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results))
