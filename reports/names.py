"""What configurations are called, so that two different ones never look the same. Never computes a number."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from reports.tables import Config

NOTED = {"store": "store", "labels": "labels", "revision": "head revision"}


def features(names: Sequence[str]) -> str:
    """Feature names in short: `block.0:moments block.1:moments neck:moments` -> `block.0..1,neck:moments`.

    Of several stores, whose names stand in `Config.encoder`: once where each gives the same, else `native/neck:map
    half/block.1:map`.
    """
    stores = [(name, [*own]) for name, own in groupby(names, key=lambda name: name.rpartition("/")[0])]
    parts = [(name, _features([f.rpartition("/")[2] for f in own])) for name, own in stores]
    if len({name for name, _ in parts}) == len(parts) and len({short for _, short in parts}) == 1:
        return parts[0][1]
    sides = zip(*(name.partition("@")[::2] for name, _ in parts), strict=True)
    same = [len(set(side)) == 1 for side in sides]
    return " ".join(f"{_apart(name, *same)}/{short}" for name, short in parts)


def _apart(prefix: str, same_encoder: bool, same_view: bool) -> str:
    encoder, _, view = prefix.partition("@")
    return view if same_encoder else encoder if same_view else prefix


def _features(names: Sequence[str]) -> str:
    parts: list[str] = []
    for what, group in groupby((name.rpartition(":") for name in names), key=lambda parts: parts[2]):
        taps = [parts[0] for parts in group]
        parts.append(f"{','.join(_ranges(taps))}:{what}")
    return " ".join(parts)


def _ranges(taps: Sequence[str]) -> list[str]:
    found: list[str] = []
    start: tuple[str, int] | None = None
    for tap in taps:
        match = re.fullmatch(r"(.*\.)(0|[1-9]\d*)", tap)
        here = (match[1], int(match[2])) if match else None
        if here and start and here[0] == start[0]:
            last = int(found[-1].rpartition(".")[2])
            if here[1] == last + 1:
                found[-1] = f"{start[0]}{start[1]}..{here[1]}"
                continue
        found.append(tap)
        start = here
    return found


def notes(configs: Iterable[Config]) -> dict[Config, str]:
    """What sets apart configurations of the same train set, encoder, features, head and split; "" for most."""
    alike: dict[tuple[Any, ...], list[Config]] = {}
    for config in sorted(set(configs)):
        alike.setdefault(config[:5], []).append(config)
    found: dict[Config, str] = {}
    for group in alike.values():
        settings = [json.loads(config.settings) for config in group]
        keys = [k for k in sorted({k for s in settings for k in s}) if len({repr(s.get(k)) for s in settings}) > 1]
        fields = [name for name in NOTED if len({getattr(config, name) for config in group}) > 1]
        for config, own in zip(group, settings, strict=True):
            told = [f"{key}={own.get(key, 'none')}" for key in keys]
            told += [f"{NOTED[name]} {str(getattr(config, name))[:8]}" for name in fields]
            found[config] = ", ".join(told)
    return found


def head(config: Config, note: str) -> str:
    """The head's variant, with what sets it apart."""
    return f"{config.variant} ({note})" if note else config.variant


def labels(configs: Iterable[Config], noted: dict[Config, str]) -> dict[Config, str]:
    """The shortest names that tell these configurations apart in a figure: head, and what differs besides."""
    every = sorted(set(configs))
    short = encoders(every)
    parts = {c: (c.train, short[c], head(c, noted[c]), features(c.features), c.split) for c in every}
    differ = [i == 2 or len({p[i] for p in parts.values()}) > 1 for i in range(5)]
    differ[4] = len({(c.train, c.split) for c in every}) > len({c.train for c in every})
    return {
        c: " · ".join(part for part, shown in zip(p, differ, strict=True) if shown and part) for c, p in parts.items()
    }


def encoders(configs: Iterable[Config]) -> dict[Config, str]:
    """Encoders without their views, but for those that are there with two."""
    every = sorted(set(configs))
    short = {name: _without_view(name) for name in {config.encoder for config in every}}
    times = Counter(short.values())
    return {c: short[c.encoder] if times[short[c.encoder]] == 1 else c.encoder for c in every}


def viewed(configs: Iterable[Config]) -> dict[Config, tuple[str, str]]:
    """(encoder, view) apart, for two columns; no view at all where no encoder is there with two."""
    short = encoders(configs)
    if not any("@" in name for name in short.values()):
        return {c: (name, "") for c, name in short.items()}
    parts = {c: c.encoder.partition("@")[::2] for c in short}
    return {c: (c.encoder, "") if "@" in view else (encoder, view) for c, (encoder, view) in parts.items()}


def _without_view(name: str) -> str:
    encoder, _, view = name.partition("@")
    return name if "+" in view else encoder


def whole(config: Config, note: str) -> str:
    """In a sentence: head, encoder and features; of predictions made elsewhere there is no more than their name."""
    read = f" on {config.encoder}, {features(config.features)}" if config.features else ", predictions made elsewhere"
    return head(config, note) + read


def shared(configs: Iterable[Config]) -> str:
    """What the names of `labels` leave out because it is the same for all: "trained on A, encoder B, ..."."""
    every = sorted(set(configs))
    parts = [(c.train, c.encoder if c.features else "", features(c.features), c.split) for c in every]
    words = ("trained on", "encoder", "features", "split")
    told = [(word, {p[i] for p in parts}) for i, word in enumerate(words)]
    return ", ".join(f"{word} {value}" for word, values in told if len(values) == 1 for value in values if value)
