"""What a person can do, one file a verb. Owns the table of verbs; a verb's signature is the only place that names
its settings.

A verb is an annotated function; its result is a msgspec struct (or a list of them) that `--json` prints as it is and
that draws itself for people by `__rich__`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

VERBS = {
    "precompute": "harness.verbs.precompute:precompute",
    "train-head": "harness.verbs.train_head:train_head",
    "evaluate": "harness.verbs.evaluate:evaluate",
    "predict": "harness.verbs.predict:predict",
    "score": "harness.verbs.score:score",
    "report": "harness.verbs.report:report",
    "demo": "harness.verbs.demo:demo",
    "doctor": "harness.verbs.doctor:doctor",
    "datasets ls": "harness.verbs.datasets:ls",
    "datasets info": "harness.verbs.datasets:info",
    "datasets verify": "harness.verbs.datasets:verify",
    "datasets prepare": "harness.verbs.datasets:prepare",
    "splits ls": "harness.verbs.splits:ls",
    "splits make": "harness.verbs.splits:make",
    "splits import": "harness.verbs.splits:import_published",
    "splits show": "harness.verbs.splits:show",
    "splits check": "harness.verbs.splits:check",
    "splits plans": "harness.verbs.plans:plans",
    "encoders ls": "harness.verbs.encoders:ls",
    "encoders info": "harness.verbs.encoders:info",
    "encoders fetch": "harness.verbs.encoders:fetch",
    "heads ls": "harness.verbs.heads:ls",
    "heads info": "harness.verbs.heads:info",
    "stores ls": "harness.verbs.stores:ls",
    "stores info": "harness.verbs.stores:info",
    "stores verify": "harness.verbs.stores_verify:verify",
    "stores gc": "harness.verbs.stores_keep:gc",
    "stores derive": "harness.verbs.stores_keep:derive",
    "stores export": "harness.verbs.stores_keep:export",
    "stores import": "harness.verbs.stores_keep:load",
}

GROUPS = {
    "datasets": "What image-quality datasets there are, what is known of each, and whether yours is whole.",
    "splits": "Which images train, which choose, which are tested: lists of ids that cannot leak.",
    "encoders": "Frozen encoders: what they cost, where their weights come from, which taps they have.",
    "heads": "The small trainable things that turn features into a quality score.",
    "stores": "Feature stores: what is in them, and whether every byte is what it was.",
}


def load_verb(name: str) -> Callable[..., Any]:
    """The function of one verb."""
    module, _, attribute = VERBS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
