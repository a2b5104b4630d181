"""`harness doctor`: what is installed, on which devices, with how much room, and the known traps. Changes nothing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

ROOMS = ("harness", "cache", "heads", "reports")


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: `state` is ok, note or wrong."""

    what: str
    state: str
    found: str
    advice: str = ""


class Findings(list[Finding]):
    """Findings that draw themselves."""

    @property
    def exit_code(self) -> int:
        """1 where anything is wrong."""
        return 1 if any(f.state == "wrong" for f in self) else 0

    def __rich__(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        marks = {"ok": Text("ok", "green"), "note": Text("note", "yellow"), "wrong": Text("wrong", "red")}
        table = Table(box=None, show_header=False)
        for finding in self:
            text = finding.found + (f"\n{finding.advice}" if finding.advice else "")
            table.add_row(marks[finding.state], finding.what, Text(text))
        return table


def doctor(
    store: Annotated[
        Path | None, typer.Option(help="The stores' folder whose disk is looked at (default: ./stores).")
    ] = None,
) -> Findings:
    """Checks versions, devices, room on the disk, where our packages come from, and known traps.

    Examples:
    harness doctor
    """
    from harness import config

    settings = config.load()
    found = Findings([_python(), *_versions(), _torch_pair(), _devices(), *_rooms()])
    found.append(Finding(config.FILE, "ok", settings.file or "none here or above"))
    found += _disk(store or settings.path("stores", "stores"), settings)
    return found


def _python() -> Finding:
    fine = sys.version_info >= (3, 12)
    return Finding(
        "python",
        "ok" if fine else "wrong",
        sys.version.split()[0],
        "" if fine else "Python >= 3.12 is needed.",
    )


def _versions() -> list[Finding]:
    from harness.provenance import packages

    return [
        Finding(
            name,
            "ok" if found != "not installed" else "wrong",
            found,
            "" if found != "not installed" else f"pip install {name}",
        )
        for name, found in packages().items()
    ]


def _torch_pair() -> Finding:
    """The index's torchvision beside a CPU-only torch: imports of torchvision fail, and segment_anything and timm
    with it.
    """
    try:
        import torch
    except ImportError as error:
        return Finding("torch", "wrong", str(error), "pip install torch torchvision")
    try:
        import torchvision  # noqa: F401  # beside another torch's build it is found, and fails when imported
    except (ImportError, RuntimeError) as error:
        return Finding(
            "torchvision",
            "wrong",
            str(error).split("\n")[0],
            torchvision_advice(str(error), torch.__version__),
        )
    return Finding("torch + torchvision", "ok", "import together")


def torchvision_advice(message: str, torch_version: str) -> str:
    """What to install when torchvision does not load beside this torch."""
    if "torchvision::nms" in message or "libc10_cuda" in message or "libcudart" in message:
        build = torch_version.partition("+")[2] or "another build"
        return (
            f"torchvision here is built for another torch than {torch_version} ({build}): its operators do not "
            "load. Install both "
            "from one index: pip install --force-reinstall torch torchvision (the plain index's builds belong "
            "together), or both "
            "from the CPU index of the torch project."
        )
    return "pip install --force-reinstall torch torchvision"


def _devices() -> Finding:
    import os

    try:
        import torch
    except ImportError:
        return Finding("devices", "wrong", "no torch")
    names = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = f"{', '.join(names) or 'no GPU'}; {cores} CPU cores, torch uses {torch.get_num_threads()}"
    return Finding(
        "devices",
        "ok" if names else "note",
        text,
        "" if names else "sam-vit-b takes seconds an image on a CPU.",
    )


def _rooms() -> list[Finding]:
    """Where each of our packages is imported from; other projects on the index are called harness, cache and reports
    too.
    """
    import importlib
    from importlib.metadata import packages_distributions

    owners = packages_distributions()
    found = []
    for room in ROOMS:
        module = importlib.import_module(room)
        place = Path(module.__file__ or "?").parent
        others = sorted(set(owners.get(room, [])) - {"sam-iqa-harness"})
        ours = place.parent == Path(__file__).resolve().parents[2]
        if others or not ours:
            owner = ", ".join(others) or str(place)
            advice = f"Another project owns this name ({owner}): pip uninstall it, then install sam-iqa-harness again."
            found.append(Finding(f"package {room}", "wrong", str(place), advice))
        else:
            found.append(Finding(f"package {room}", "ok", str(place)))
    return found


def _disk(folder: Path, settings: object) -> list[Finding]:
    """Free room against what maps of each configured dataset would take with the default encoder."""
    from harness.config import Config
    from harness.console import size
    from harness.registry import datasets

    place = folder.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = [Finding(f"disk of {folder}", "ok" if free > 5e9 else "note", f"{size(free)} free")]
    assert isinstance(settings, Config)
    for name in settings.datasets:
        if name in datasets().names():
            count = datasets().get(name).count
            need = count * 2 * 256 * 64 * 48  # float16 neck maps of 4:3 images, sam-vit-b
            state = "ok" if need < free else "wrong"
            advice = "" if need < free else "Keep summaries only: --features '*:moments'"
            found.append(
                Finding(
                    f"room for {name}",
                    state,
                    f"sam-vit-b neck maps of {count:,} images: about {size(need)}",
                    advice,
                )
            )
    return found
