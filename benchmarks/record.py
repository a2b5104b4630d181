"""One form for what a benchmark finds, kept in `results/<script>.json` with where and how it was measured. Measures
nothing.

Kept is the whole benchmark, which is the script without arguments. A run with any is a look: it prints, and keeps
nothing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

LOAD = os.getloadavg()[0]  # before the script adds its own
RESULTS = Path(__file__).parent / "results"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
Result = dict[str, Any]


def result(benchmark: str, ratio: float | None, goal: str = "", **more: Any) -> Result:
    """One line of a benchmark.

    Args:
        ratio: what was found, kept to four digits; None where it was not run.
        goal: ">= 2" or "<= 1.1"; "" for a fact that has none.
        more: figures behind it; where the goal is missed, `why`, and as `seen` the least and the most that was found
            on machines that this reason was found out on; where it was not tried, `why`.
    """
    met = None
    if ratio is not None and goal:
        sign, bound = goal.split()
        met = ratio <= float(bound) if sign == "<=" else ratio >= float(bound)
    return {"benchmark": benchmark, "ratio": ratio and float(f"{ratio:.4g}"), "goal": goal, "met": met, **more}


def keep(script: str, results: Sequence[Result], packages: Sequence[str], **more: Any) -> None:
    """Prints the results as the last line; keeps them if that was the whole benchmark.

    Args:
        script: the `__file__` of the benchmark.
        results: objects with `benchmark`, `ratio`, `goal` and `met`, as `result` makes them.
        packages: whose versions the figures depend on.
        more: facts of the machine beside its processor, cores, load and threads.

    Raises:
        SystemExit: a goal in another form, or missed or not tried without a reason, or missed by more than the reason
            was found out for; nothing is kept.
    """
    print(json.dumps(results), flush=True)
    place = RESULTS / f"{Path(script).stem}.json"
    if len(sys.argv) > 1:
        print(f"Not kept: {place.name} is for the whole benchmark, which has no arguments.", file=sys.stderr)
        return
    kept = json.loads(place.read_text(encoding="utf-8"))["results"] if place.is_file() else []
    if _measured(kept) and not _measured(results):
        print(f"Not kept: nothing was run here, and {place.name} has figures.", file=sys.stderr)
        return
    for one in results:
        if not re.fullmatch(r"([<>]= [\d.]+)?", str(one["goal"])):
            raise SystemExit(f"{one['benchmark']}: expected a goal such as '>= 2', found {one['goal']!r}")
        if one["goal"] and not one["met"] and not one.get("why"):
            raise SystemExit(
                f"{one['benchmark']}: {one['ratio']}, {one['goal']} is missed, and no reason is given. Nothing is "
                f"kept: find out why, say it as this result's `why` in {script}, and run it again."
            )
        if one["met"] is False and not _within(one["ratio"], one.get("seen", ())):
            raise SystemExit(
                f"{one['benchmark']}: {one['ratio']}, {one['goal']} is missed, and `seen` is {one.get('seen')}: the "
                f"reason was not found out for this. Nothing is kept: find out whether it still holds, then change "
                f"`why` or `seen` in {script}."
            )
    place.parent.mkdir(exist_ok=True)
    record = {**_circumstances(script, packages, more), "results": list(results)}
    place.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _within(ratio: float, seen: Sequence[float]) -> bool:
    return len(seen) == 2 and seen[0] <= ratio <= seen[1]


def _measured(results: Sequence[Result]) -> bool:
    return any(one["ratio"] is not None for one in results)


def _circumstances(script: str, packages: Sequence[str], more: dict[str, Any]) -> dict[str, Any]:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    threads = [f"{name}={os.environ[name]}" for name in THREADS if name in os.environ]
    torch = sys.modules.get("torch")
    return {
        "command": " ".join([*threads, "python", f"benchmarks/{Path(script).name}"]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": named[0] if named else platform.processor(),
            "cores": os.cpu_count(),
            "load_before": round(LOAD, 2),
            "system": platform.system(),
            **({"torch_threads": torch.get_num_threads()} if torch else {}),
            **more,
        },
        "packages": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }
