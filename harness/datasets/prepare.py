"""How to get a dataset: what to do, under which terms, what to type then. Makes the synthetic ones, and fetches label
files where their authors publish them under terms that allow it; never an image.

Images are not fetched, because no dataset of the table offers them both under terms that allow it and at an address
that stays: most ask for a form or a request, the rest state no terms.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.datasets.errors import DatasetError
from harness.datasets.page import obtaining, title
from harness.datasets.spec import DatasetSpec

if TYPE_CHECKING:
    from rich.console import RenderableType


class Preparation(msgspec.Struct, frozen=True):
    """What is left to do for one dataset.

    Attributes:
        place: the folder that was made, or that label files were fetched into; "" where nothing was.
        steps: what to do, in order.
    """

    name: str
    spec: DatasetSpec
    place: str
    steps: list[str]

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        steps = [f"{number}. {step}" for number, step in enumerate(self.steps, 1)]
        how = [] if self.place and self.spec.made_here else obtaining(self.spec)
        return Group(title(self.spec), *how, Text("\n" + "\n".join(steps)))


def preparation(spec: DatasetSpec, place: Path | None = None) -> Preparation:
    """The steps that lead to a usable dataset.

    Args:
        place: where it was made, or its label files were fetched into, already.
    """
    where, name = str(place) if place is not None else "DIR", spec.name
    files = ", ".join(file.path for file in spec.label_files)
    steps: list[str] = []
    if spec.made_here:
        steps.append(f"Made in {where}." if place else f"Make it here: harness datasets prepare {name} --to DIR")
    elif not spec.count:
        steps.append("Put your images and a CSV into DIR.")
    else:
        if files and place:
            steps.append(
                f"Fetched into {where}: {files}. Predictions can be scored: harness score FILE --dataset {name} "
                f"--labels {where}"
            )
        elif files:
            steps.append(
                f"Fetch its label file{'s' * (len(spec.label_files) > 1)} ({files}; {spec.label_files[0].terms}): "
                f"harness datasets prepare {name} --to DIR"
            )
        what = "the images" if files else "it"
        steps.append(
            f"Read the terms, obtain {what} yourself (this project does not fetch {'them' if files else 'it'}), and "
            f"unpack into {where}."
        )
    steps.append(f"Look at it whole: harness datasets verify {name} --root {where}")
    steps.append(f"Encode it once: harness precompute --dataset {name} --root {where}")
    steps.append(f'Name {where} once and for all, in harness.toml: [datasets.{name}] root = "{where}"')
    return Preparation(name, spec, str(place or ""), steps)


def fetch_labels(spec: DatasetSpec, folder: Path) -> None:
    """Fetches a dataset's label files into its root; one that is there with the right sha256 is not fetched again.

    Raises:
        DatasetError: the network fails, what came is another file, or another file is there already.
    """
    import pooch  # it takes a third of a second
    import requests

    for file in spec.label_files:
        target, known = folder / file.path, f"sha256:{file.sha256}"
        if target.is_file():
            if pooch.file_hash(str(target)) != file.sha256:
                raise DatasetError(
                    str(target),
                    f"another file than the published one (sha256 {pooch.file_hash(str(target))[:12]}..., published "
                    f"{file.sha256[:12]}...)",
                    "Move it away, or choose another folder; nothing was overwritten.",
                )
            continue
        pooch.get_logger().setLevel("ERROR")  # it would greet each file on stderr
        try:
            pooch.retrieve(file.url, known, fname=target.name, path=target.parent)
        except (requests.RequestException, OSError, ValueError) as error:
            match error:
                case requests.ConnectionError():
                    reason = "no connection"
                case requests.RequestException() | OSError():
                    reason = str(error).split("\n")[0]
                case _:
                    reason = "what came has another sha256"
            raise DatasetError(
                f"{file.url} could not be fetched: {reason}",
                do=f"Try again later, or put the file into {target.parent} by other means (sha256 {file.sha256}).",
            ) from error
