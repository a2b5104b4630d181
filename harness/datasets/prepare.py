"""How to get a dataset: what to do, under which terms, what to type then. Makes the synthetic ones; fetches no other.

Nothing is downloaded, because no dataset of the table is both offered under terms that allow it and at an address
that stays: most ask for a form or a request, the rest state no terms. The day one is, its files are pinned by sha256.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.datasets.page import obtaining, title
from harness.datasets.spec import DatasetSpec

if TYPE_CHECKING:
    from rich.console import RenderableType


class Preparation(msgspec.Struct, frozen=True):
    """What is left to do for one dataset.

    Attributes:
        made: the folder that was made here; "" where a person has to get it.
        steps: what to do, in order.
    """

    name: str
    spec: DatasetSpec
    made: str
    steps: list[str]

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        steps = [f"{number}. {step}" for number, step in enumerate(self.steps, 1)]
        how = [] if self.made else obtaining(self.spec)
        return Group(title(self.spec), *how, Text("\n" + "\n".join(steps)))


def preparation(spec: DatasetSpec, made: Path | None = None) -> Preparation:
    """The steps that lead to a usable dataset.

    Args:
        made: where it was made already.
    """
    where = str(made) if made is not None else "DIR"
    steps = [f"Look at it whole: harness datasets verify {spec.name} --root {where}"]
    steps.append(f"Encode it once: harness precompute --dataset {spec.name} --root {where}")
    if made is not None:
        steps.insert(0, f"Made in {made}.")
    elif spec.fetchable:
        steps.insert(0, f"Make it here: harness datasets prepare {spec.name} --to DIR")
    else:
        steps.insert(0, "Read the terms, obtain it yourself (this project does not fetch it), and unpack it into DIR.")
    if not spec.count:
        steps[0] = "Put your images and a CSV into DIR."
    steps.append(f'Name DIR once and for all, in harness.toml: [datasets.{spec.name}] root = "{where}"')
    return Preparation(spec.name, spec, str(made or ""), steps)
