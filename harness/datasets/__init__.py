"""Datasets: one page (module) each. Owns the table of built-in names; imports nothing until a name is asked
for.
"""

from __future__ import annotations

DATASETS: dict[str, str] = {
    "biq2021": "harness.datasets.biq2021:SPEC",
    "koniq10k": "harness.datasets.koniq10k:SPEC",
    "livec": "harness.datasets.livec:SPEC",
    "spaq": "harness.datasets.spaq:SPEC",
    "tid2013": "harness.datasets.tid2013:SPEC",
    "synthetic": "harness.datasets.synthetic:SPEC",
    "synthetic-cross": "harness.datasets.synthetic:CROSS",
    "folder": "harness.datasets.folder:SPEC",
}
