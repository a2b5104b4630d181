"""Where a number comes from: commit, packages, device, command. Facts only; nothing here enters an identity."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "sam-iqa-harness",
    "torch",
    "torchvision",
    "timm",
    "segment-anything",
    "numpy",
    "scipy",
    "zarr",
    "pillow",
    "simplejpeg",
    "pandas",
)


def packages() -> dict[str, str]:
    """Installed versions of what changes numbers."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> tuple[str, bool | None]:
    """The commit of the checkout that this code runs from, and whether it differs from it; ("", None) when
    installed.
    """
    here = Path(__file__).resolve().parents[1]
    if not (here / ".git").exists():
        return "", None
    try:
        head = subprocess.run(
            ["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        state = subprocess.run(
            ["git", "-C", here, "status", "--porcelain"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "", None
    return head.stdout.strip(), bool(state.stdout.strip())


def facts(command: str, device: str) -> dict[str, object]:
    """The fields of a card's provenance."""
    head, dirty = commit()
    return {
        "commit": head,
        "dirty": dirty,
        "packages": packages(),
        "device": device,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
