"""Names of datasets, encoders, heads and verbs -> objects, looked up when asked for. Never imports anything before
that.

A built-in is one line in its room's table (`"fft": "heads.fft:FftHead"`); a plugin package adds the same line as an
entry point in the group `sam_iqa.datasets`, `sam_iqa.encoders` or `sam_iqa.heads`. Two owners of one name are an error.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from harness.errors import UsageError, suggest


class Registry:
    """The names of one kind of thing.

    Args:
        kind: what a person calls it ("dataset"), for messages.
        table: built-in names -> "module:object".
        group: the entry-point group that plugin packages use.
        besides: what else can be typed, in words.
    """

    def __init__(self, kind: str, table: Mapping[str, str], group: str, besides: str = "") -> None:
        self.kind, self._besides = kind, besides
        self._builtin = dict(table)
        self._group = group

    def _targets(self) -> dict[str, str]:
        targets = dict(self._builtin)
        for point in entry_points(group=self._group):
            if point.name in targets and targets[point.name] != point.value:
                raise UsageError(
                    f"Two packages offer the {self.kind} {point.name!r}: {targets[point.name]} and {point.value}. "
                    "Uninstall one, or ask its author to choose another name."
                )
            targets[point.name] = point.value
        return targets

    def names(self) -> list[str]:
        """All names, built-ins first, in the order of their tables."""
        return list(self._targets())

    def get(self, name: str) -> Any:
        """The object behind a name; `timm.resnet18` is what the object `timm` has `named` "resnet18".

        Raises:
            UsageError: no such name (with the nearest one), or its module cannot be imported.
        """
        targets = self._targets()
        owner, _, rest = name.partition(".")
        if name not in targets and rest and owner in targets and hasattr(found := self.get(owner), "named"):
            return found.named(rest)
        if name not in targets:
            raise UsageError(f"Unknown {self.kind} {name!r}{suggest(name, targets)}{self._besides}")
        module, _, attribute = targets[name].partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"The {self.kind} {name!r} could not be loaded from {targets[name]}: {error}. "
                "Install the package that offers it again, or run `harness doctor`."
            ) from error


def datasets() -> Registry:
    """The registry of datasets."""
    from harness.datasets import DATASETS

    return Registry("dataset", DATASETS, "sam_iqa.datasets")


def encoders() -> Registry:
    """The registry of encoders."""
    from cache import ENCODERS

    return Registry("encoder", ENCODERS, "sam_iqa.encoders", " And any network of timm, as timm.NAME.")


def heads() -> Registry:
    """The registry of heads."""
    from heads import HEADS

    return Registry("head", HEADS, "sam_iqa.heads")
