"""All that the sections of one report draw from: scored evaluations, rows, names, stamps. Made once, changed never."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reports import names, results, tables
from reports.tables import Config, Row, Scored


@dataclass(frozen=True)
class Study:
    """Attributes:
    scored: every evaluation, sorted by run and rows.
    rows: the rows of the tables.
    meanings: stamp -> what it means, in the order in which stamps are shown.
    """

    scored: list[Scored]
    rows: list[Row]
    meanings: Mapping[str, str]

    @cached_property
    def configs(self) -> list[Config]:
        """Every configuration once, by name."""
        return sorted({row.config for row in self.rows})

    @cached_property
    def notes(self) -> dict[Config, str]:
        """What sets apart configurations that look alike."""
        return names.notes(self.configs)

    @cached_property
    def labels(self) -> dict[Config, str]:
        """Short names for figures."""
        return names.labels(self.configs, self.notes)

    def head(self, config: Config) -> str:
        """The head's name, with what sets it apart."""
        return names.head(config, self.notes[config])

    def stamps(self, rows: Iterable[Row]) -> list[str]:
        """The stamps of any of these rows."""
        return ordered({stamp for row in rows for stamp in row.stamps}, self.meanings)

    def validation(self, config: Config) -> tables.Middle:
        """A configuration's validation SRCC."""
        return tables.validation(config, self.scored)

    def tests(self) -> list[tuple[str, list[Row]]]:
        """(test dataset, its rows), by name."""
        return [(test, [row for row in self.rows if row.test == test]) for test in sorted({r.test for r in self.rows})]


def ordered(stamps: set[str], meanings: Mapping[str, str]) -> list[str]:
    """Stamps in the order of their meanings, unknown ones last."""
    return [stamp for stamp in meanings if stamp in stamps] + sorted(stamps - set(meanings))


def study(folders: Sequence[Path], meanings: Mapping[str, str]) -> Study:
    """Reads and scores every evaluation of these runs."""
    scored = [tables.scored(result) for result in results.load(folders)]
    return Study(scored, tables.rows_of(scored, lambda stamps: ordered(stamps, meanings)), meanings)
