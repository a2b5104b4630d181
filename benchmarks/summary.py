"""BENCHMARKS.md from the kept results. Runs no benchmark.

python benchmarks/summary.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
HEAD = """# Benchmarks

Written by `python benchmarks/summary.py` from `benchmarks/results/`: ratios side by side in one run, variants
alternated, medians. Where a goal is missed or was not tried, the reason stands below its table. `seen` is the least and
the most of the runs before, where a figure swings with the machine.
"""


def table(name: str, kept: dict[str, Any]) -> list[str]:
    """One results file as lines of Markdown."""
    machine: dict[str, Any] = kept["machine"]
    cpu = machine["processor"]
    load = f", load {machine['load_before']:.1f} before it began" if "load_before" in machine else ""
    results: list[dict[str, Any]] = kept["results"]
    swings = any("seen" in result for result in results)
    lines = [
        f"\n## {name}\n",
        f"`{kept['command']}`, {str(kept['date'])[:10]}, {cpu}, {machine['cores']} cores{load}.\n",
        "| benchmark | ratio | goal | met |" + " seen |" * swings,
        "|---|---|---|---|" + "---|" * swings,
    ]
    reasons: dict[str, None] = {}
    for result in results:
        ratio = shown(result["ratio"])
        met = {True: "yes", False: "**no**"}.get(result["met"], "not run" if result["goal"] else "–")
        seen = f" {' to '.join(map(shown, result.get('seen', ()))) or '–'} |" * swings
        lines.append(f"| {result['benchmark']} | {ratio} | {result['goal'] or '–'} | {met} |{seen}")
        if result.get("why") and not result["met"]:
            reasons[result["why"].rstrip(".")] = None
    staged = {str(r["benchmark"]): r["stages"] for r in results if "stages" in r}
    lines += stages(staged) if staged else []
    timed = {str(r["benchmark"]): r["seconds"] for r in results if "seconds" in r}
    lines += variants(timed) if timed else []
    return [*lines, *(f"\n{why[0].upper()}{why[1:]}." for why in reasons)]


def shown(ratio: float | None) -> str:
    """Three digits, or all of those before the point."""
    return "–" if ratio is None else f"{ratio:,.0f}" if ratio >= 1000 else f"{ratio:.3g}"


def stages(costs: dict[str, dict[str, list[float]]]) -> list[str]:
    """What each stage of each benchmark cost: a table with a column a benchmark."""
    names = list(next(iter(costs.values())))
    rows = [[name, *(f"{cost[name][0]:,.2f} s, {cost[name][1]:.2f} GB" for cost in costs.values())] for name in names]
    head = ["stage: CPU-seconds, peak memory", *(name.partition(", peak")[0] for name in costs)]
    return ["", *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))]


def variants(seconds: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """What every variant took, the first one beside the others: a table with two columns a benchmark."""
    names = dict.fromkeys(name for took in seconds.values() for name in took)
    head = ["variant: seconds, wall and CPU", *seconds]
    rows = [[name, *(both(took.get(name)) for took in seconds.values())] for name in names]
    return ["", *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))]


def both(took: dict[str, float] | None) -> str:
    """Wall and CPU seconds of a variant, where it was run."""
    return f"{took['wall_s']:.2f}, {took['cpu_s']:.2f}" if took else "–"


def main() -> None:
    """Writes the page."""
    lines = [HEAD.rstrip()]
    for file in sorted((TOP / "benchmarks/results").glob("*.json")):
        lines += table(file.stem, json.loads(file.read_text(encoding="utf-8")))
    (TOP / "BENCHMARKS.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
