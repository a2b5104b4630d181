"""Datasets: one page (module) each. Owns the table of built-in names; imports nothing until a name is asked
for.
"""

from __future__ import annotations

DATASETS: dict[str, str] = {
    # Photographs as they were taken.
    "biq2021": "harness.datasets.biq2021:SPEC",
    "koniq10k": "harness.datasets.koniq10k:SPEC",
    "koniqplusplus": "harness.datasets.koniq10k:PLUSPLUS",
    "livec": "harness.datasets.livec:SPEC",
    "spaq": "harness.datasets.spaq:SPEC",
    "flive": "harness.datasets.flive:SPEC",
    "bid": "harness.datasets.bid:SPEC",
    "cid2013": "harness.datasets.cid2013:SPEC",
    "uhdiqa": "harness.datasets.uhdiqa:SPEC",
    "piq23-overall": "harness.datasets.piq23:SPEC_OVERALL",
    "piq23-details": "harness.datasets.piq23:SPEC_DETAILS",
    "piq23-exposure": "harness.datasets.piq23:SPEC_EXPOSURE",
    "gfiqa20k": "harness.datasets.gfiqa20k:SPEC",
    # Distortions made on purpose; they have references.
    "live": "harness.datasets.live:SPEC",
    "live-dmos": "harness.datasets.live:DMOS",
    "csiq": "harness.datasets.csiq:SPEC",
    "tid2008": "harness.datasets.tid:SPEC2008",
    "tid2013": "harness.datasets.tid:SPEC2013",
    "kadid10k": "harness.datasets.kadid10k:SPEC",
    "pipal": "harness.datasets.pipal:SPEC",
    "pdaphdds": "harness.datasets.pdaphdds:SPEC",
    "livemd": "harness.datasets.livemd:SPEC",
    "mdid2013": "harness.datasets.mdid:MDID2013",
    "mdid": "harness.datasets.mdid:MDID",
    "sdivl": "harness.datasets.ivl:SDIVL",
    "mdivl": "harness.datasets.ivl:MDIVL",
    "vclfer": "harness.datasets.vclfer:SPEC",
    "toyama": "harness.datasets.toyama:SPEC",
    "cidiq50": "harness.datasets.cidiq:CIDIQ50",
    "cidiq100": "harness.datasets.cidiq:CIDIQ100",
    "a57": "harness.datasets.a57:SPEC",
    # Pictures made by models.
    "agiqa1k": "harness.datasets.agiqa:AGIQA1K",
    "agiqa3k": "harness.datasets.agiqa:AGIQA3K",
    "aigiqa20k": "harness.datasets.agiqa:AIGIQA20K",
    # Aesthetics.
    "aadb": "harness.datasets.aadb:SPEC",
    "ava": "harness.datasets.ava:SPEC",
    # Made on the spot, and yours.
    "synthetic": "harness.datasets.synthetic:SPEC",
    "synthetic-cross": "harness.datasets.synthetic:CROSS",
    "folder": "harness.datasets.folder:SPEC",
}
