"""A fitted head on the disk: `head.safetensors` and `head.json`. Never pickles, never runs what it reads.

Files are read again only if they are whole: the sha256 of the arrays stands in `head.json`, and a newer
format or revision is refused, as it may mean other numbers.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from heads import HEADS
from heads.base import Head
from heads.errors import DataError, HeadError

FORMAT = 1
ARRAYS = "head.safetensors"
CARD = "head.json"


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What `head.json` holds.

    Attributes:
        format: of these two files.
        revision: of the variant's code that fitted the head.
        widths: channels (maps) or widths (summaries) of `features`.
        sha256: of `head.safetensors`.
    """

    format: int
    variant: str
    revision: int
    settings: dict[str, Any]
    features: list[str]
    widths: list[int]
    parameters: int
    sha256: str
    history: list[dict[str, Any]]


def save_head(head: Head, folder: Path) -> None:
    """Writes a fitted head into a folder, made if it is not there; the card last.

    Raises:
        HeadError: the head was never fitted.
    """
    if not head.features:
        raise HeadError(
            f"Expected a fitted {head.variant} head to save, found one that was never fitted. Call fit first."
        )
    arrays = save_arrays({name: np.ascontiguousarray(value) for name, value in head.state().items()})
    card = Card(
        format=FORMAT,
        variant=head.variant,
        revision=head.revision,
        settings=msgspec.to_builtins(head.settings),
        features=head.features,
        widths=head.widths,
        parameters=head.parameters(),
        sha256=hashlib.sha256(arrays).hexdigest(),
        history=head.history,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARRAYS).write_bytes(arrays)
    (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")


def read_card(folder: Path) -> Card:
    """The card of a saved head.

    Raises:
        DataError: no head here, a damaged card, or one of a newer format.
    """
    try:
        text = (folder / CARD).read_bytes()
    except OSError as error:
        raise DataError(
            f"Expected a saved head in {folder}, found no {CARD} that can be read. Name a run's head folder."
        ) from error
    try:
        version = msgspec.json.decode(text, type=dict[str, Any]).get("format")
        if isinstance(version, int) and version > FORMAT:
            raise DataError(
                f"Expected format {FORMAT} or older in {folder / CARD}, found {version}. Install a newer version."
            )
        return msgspec.json.decode(text, type=Card)
    except msgspec.MsgspecError as error:
        raise DataError(
            f"Expected the card of a head in {folder / CARD}, found a damaged one: {error}. Train it again."
        ) from error


def read_head[H: Head](kind: type[H], folder: Path) -> H:
    """A fitted head of a known class.

    Raises:
        HeadError: a head of another variant, or settings that this code does not know.
        DataError: missing or damaged files, a newer format or revision.
    """
    card = read_card(folder)
    if card.variant != kind.variant:
        raise HeadError(f"Expected a head {kind.variant} in {folder}, found {card.variant}. Load it as what it is.")
    if card.revision > kind.revision:
        raise DataError(
            f"Expected revision {kind.revision} or older of the head {kind.variant} in {folder}, found "
            f"{card.revision}. "
            "Install a newer version."
        )
    try:
        data = (folder / ARRAYS).read_bytes()
    except OSError as error:
        raise DataError(f"Expected {ARRAYS} in {folder}, found none that can be read. Train the head again.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise DataError(
            f"Expected {folder / ARRAYS} with sha256 {card.sha256[:12]}, found {found[:12]}: the file "
            "is damaged. Train the head again."
        )
    try:
        arrays = load_arrays(data)
    except SafetensorError as error:
        raise DataError(f"Expected arrays in {folder / ARRAYS}, found {error}. Train the head again.") from error
    head = kind(card.settings)
    head.features, head.widths, head.history = card.features, card.widths, card.history
    head.restore(arrays)
    return head


def load_head(folder: Path, find: Callable[[str], type[Head]] | None = None) -> Head:
    """A fitted head of whichever variant.

    Args:
        folder: where `save_head` wrote.
        find: variant -> class; None knows the built-in heads only. Hand a registry's lookup over for plugins.

    Raises:
        HeadError: an unknown variant; DataError: see `read_head`.
    """
    variant = read_card(folder).variant
    return read_head((find or builtin)(variant), folder)


def builtin(variant: str) -> type[Head]:
    """The class of a built-in head.

    Raises:
        HeadError: no such head.
    """
    if variant not in HEADS:
        raise HeadError(
            f"Expected one of the heads {', '.join(HEADS)}, found {variant!r}. Install the package that offers it."
        )
    module, _, name = HEADS[variant].partition(":")
    return getattr(importlib.import_module(module), name)
