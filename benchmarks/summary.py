"""BENCHMARKS.md from the kept results. Runs no benchmark.

python benchmarks/summary.py
"""

from __future__ import annotations

import json
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
HEAD = """# Benchmarks

Written by `python benchmarks/summary.py` from `benchmarks/results/`: ratios side by side in one run, variants
alternated, medians. Where a goal is missed, the reason stands below its table.
"""
REASONS = {
    "encode_cpu": """\
A shortened run (three of twelve blocks) on a machine that was busy with other work and has neither bf16 nor AVX-512
instructions. At the matrix product's rate measured beside it, a forward of nothing but matrix products would reach
1.9 to 2.0 times. The two-thread figure was taken at a load of four on two cores: it says nothing of an idle machine.
""",
    "store_io": """\
Writing: a plain write() with a crc of the same bytes is itself 2.4 times zarr-python here, so three times cannot be
reached with checksums; the rest is a commit and looks at the disk for each block.
""",
}


def table(name: str, kept: dict[str, object]) -> list[str]:
    """One results file as lines of Markdown."""
    machine: dict[str, object] = kept["machine"]  # JSON
    cpu = machine.get("processor") or machine.get("cpu")
    lines = [
        f"\n## {name}\n",
        f"`{kept['command']}`, {str(kept['date'])[:10]}, {cpu}, {machine['cores']} cores, shared with other work.\n",
        "| benchmark | ratio | goal | met |",
        "|---|---|---|---|",
    ]
    for result in kept["results"]:  # JSON
        ratio = "–" if result["ratio"] is None else f"{result['ratio']:.3g}"
        met = {True: "yes", False: "**no**"}.get(result["met"], result.get("why", "not run"))
        lines.append(f"| {result['benchmark']} | {ratio} | {result['goal']} | {met} |")
    return [*lines, "", REASONS.get(name, "").rstrip()]


def main() -> None:
    """Writes the page."""
    lines = [HEAD.rstrip()]
    for file in sorted((TOP / "benchmarks/results").glob("*.json")):
        lines += table(file.stem, json.loads(file.read_text(encoding="utf-8")))
    (TOP / "BENCHMARKS.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
