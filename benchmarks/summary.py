"""BENCHMARKS.md from the kept results. Runs no benchmark.

python benchmarks/summary.py
"""

from __future__ import annotations

import json
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
HEAD = """# Benchmarks

Written by `python benchmarks/summary.py` from `benchmarks/results/`: ratios side by side in one run, variants
alternated, medians. Where a goal is missed or was not tried, the reason stands below its table.
"""


def table(name: str, kept: dict[str, object]) -> list[str]:
    """One results file as lines of Markdown."""
    machine: dict[str, object] = kept["machine"]  # JSON
    cpu = machine["processor"]
    load = f", load {machine['load_before']:.1f} before it began" if "load_before" in machine else ""
    lines = [
        f"\n## {name}\n",
        f"`{kept['command']}`, {str(kept['date'])[:10]}, {cpu}, {machine['cores']} cores{load}.\n",
        "| benchmark | ratio | goal | met |",
        "|---|---|---|---|",
    ]
    reasons: dict[str, None] = {}
    for result in kept["results"]:  # JSON
        ratio = shown(result["ratio"])
        met = {True: "yes", False: "**no**"}.get(result["met"], "not run" if result["goal"] else "–")
        lines.append(f"| {result['benchmark']} | {ratio} | {result['goal'] or '–'} | {met} |")
        if result.get("why"):
            least, most = map(shown, result.get("seen", (None, None)))
            seen = f"; {least} to {most} was seen" if result.get("seen") else ""
            reasons[f"{result['why'].rstrip('.')}{seen}"] = None
    staged = {str(r["benchmark"]): r["stages"] for r in kept["results"] if "stages" in r}  # JSON
    lines += stages(staged) if staged else []
    timed = {str(r["benchmark"]): r["seconds"] for r in kept["results"] if "seconds" in r}  # JSON
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
    names = list(next(iter(seconds.values())))
    head = ["variant: seconds, wall and CPU", *seconds]
    rows = [
        [name, *(f"{took[name]['wall_s']:.2f}, {took[name]['cpu_s']:.2f}" for took in seconds.values())]
        for name in names
    ]
    return ["", *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))]


def main() -> None:
    """Writes the page."""
    lines = [HEAD.rstrip()]
    for file in sorted((TOP / "benchmarks/results").glob("*.json")):
        lines += table(file.stem, json.loads(file.read_text(encoding="utf-8")))
    (TOP / "BENCHMARKS.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
