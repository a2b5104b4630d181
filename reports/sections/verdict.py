"""The answer in one sentence for each train set. Chosen by validation scores alone: test rows choose nothing."""

from __future__ import annotations

import math

from reports import names, text
from reports.blocks import Section, Words
from reports.study import Study
from reports.tables import Config, Row

FEW_GROUPS = 10
FEW_LEFT_OUT = 30


def section(study: Study) -> Section:
    """One sentence a train set and split kind, then what limits it."""
    blocks = [
        words
        for train, split in sorted({(c.train, c.split) for c in study.configs})
        for words in _one(study, train, split)
    ]
    return Section("verdict", "Verdict", [*blocks, *_cautions(study)])


def chosen(study: Study, configs: list[Config]) -> list[tuple[float, Config]]:
    """Configurations with a validation score, best first; equal scores stand in the order of their names."""
    found = [(study.validation(config).value, config) for config in configs]
    return sorted(((v, c) for v, c in found if math.isfinite(v)), key=lambda pair: (-pair[0], pair[1]))


def _one(study: Study, train: str, split: str) -> list[Words]:
    configs = [c for c in study.configs if (c.train, c.split) == (train, split)]
    tried = text.plural(len(configs), "configuration")
    ranking = chosen(study, configs)
    if not ranking:
        why = study.validation(configs[0]).reason
        return [
            Words(
                f"Trained on {train} ({split}): nothing was chosen among {tried}, because there is no validation score "
                f"({why}). None is named the winner: choosing by test scores would flatter it.",
                "lead",
            )
        ]
    value, best = ranking[0]
    if len(configs) == 1:
        choice = f"Trained on {train} ({split}), there is one configuration and so no choice: {_name(study, best)}"
    else:
        choice = f"Trained on {train} ({split}), validation rows choose {_name(study, best)} among {tried}"
    runs = study.validation(best).runs
    score = f"validation SRCC {text.number(value)}" + (f", median of {text.plural(runs, 'run')}" if runs > 1 else "")
    tests = [_test(row) for row in study.rows if row.config == best]
    stamps = study.stamps(row for row in study.rows if row.config == best)
    stamped = f" Stamped {text.joined(stamps)}." if stamps else ""
    found = [Words(f"{choice} ({score}). SRCC is {text.joined(tests)}.{stamped}", "lead")]
    if len(ranking) > 1:
        second, other = ranking[1]
        found.append(
            Words(f"Next by validation: {_name(study, other)}, SRCC {text.number(second)}. Test scores chose nothing.")
        )
    left = len(configs) - len(ranking)
    if left:
        found.append(
            Words(f"{text.plural(left, 'configuration')} without a validation score took no part in the choice.")
        )
    if len({frozenset(r.run.split_fingerprint for r in study.scored if r.config == c) for c in configs}) > 1:
        found.append(
            Words("Not all of these were tried on the same splits, so their validation scores compare loosely.")
        )
    return found


def _name(study: Study, config: Config) -> str:
    return names.whole(config, study.notes[config])


def _test(row: Row) -> str:
    """`0.842 on its official test rows (95% interval [0.711, 0.931], n = 120)`"""
    where = f"on its {row.rows} rows" if row.own else f"on {row.test} ({row.rows})"
    n = text.counts(m.scores.n for m in row.members)
    value = row.middle(lambda m: m.scores.srcc)
    if not value.runs:
        return f"not to be had {where} (n = {n}; {value.reason})"
    if len(row.members) > 1:
        how = f"median of {text.plural(len(row.members), 'run')}, {text.spread(row)}, n = {n} each"
    else:
        interval = row.members[0].srcc
        ends = (
            f"95% interval {text.interval(interval)}"
            if math.isfinite(interval.low)
            else f"no interval: {interval.reason}"
        )
        how = f"{ends}, n = {n}"
    return f"{text.number(value.value)} {where} ({how})"


def _cautions(study: Study) -> list[Words]:
    found: list[Words] = []
    for test, rows in study.tests():
        out = [row for row in rows if row.config.split == "leave-one-out" and row.own]
        if out:
            runs = max(len({m.run.split_name for m in row.members}) for row in out)
            n = text.counts(m.scores.n for row in out for m in row.members)
            far = runs < FEW_LEFT_OUT
            few = f"{text.plural(runs, 'group')} are far too few to speak for photographs at large, and " if far else ""
            found.append(
                Words(
                    f"How little this proves: on {test} every run is tested on the one group that was left out, "
                    f"{text.plural(runs, 'group')} in all, n = {n} each. Such an SRCC says how well the images of one "
                    "group (a photograph and its copies) are put in order. Its spread shows how much hangs on which "
                    f"group it is; {few}a difference smaller than the spread means nothing.",
                    "caution",
                )
            )
        units = {m.srcc.units for row in rows if not row.own for m in row.members if m.srcc.by == "group"}
        if units and min(units) < FEW_GROUPS:
            found.append(
                Words(
                    f"{test} has {text.counts(units)} groups of related images only: intervals drawn by group are "
                    "wide, and even so rest on very few independent photographs.",
                    "caution",
                )
            )
    proxies = sorted(
        {
            f"{s.evaluation.dataset}: {s.evaluation.scale.get('name', '')}"
            for s in study.scored
            if is_proxy(s.evaluation.scale)
        }
    )
    if proxies:
        found.append(
            Words(
                f"Labels that no person gave ({text.joined(proxies)}): scores say how well a formula is imitated.",
                "caution",
            )
        )
    return found


def is_proxy(scale: dict[str, object]) -> bool:
    """Whether labels come from a formula."""
    return scale.get("kind") == "proxy"
