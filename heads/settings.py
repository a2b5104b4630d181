"""Settings of heads: text -> a checked, frozen struct. Never holds a default of any head.

Every head declares its settings as a `HeadSettings` with bounds in the types; all values, defaults among
them, pass `parse_settings`, so that `2` and `2.0` cannot become two identities.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from heads.errors import HeadError


class HeadSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No settings at all; the base of every head's settings."""


def parse_settings[S: HeadSettings](kind: type[S], values: Mapping[str, Any] | HeadSettings | None) -> S:
    """Checked settings from text, numbers or an existing struct.

    Args:
        kind: the settings of a head; its field types carry the bounds.
        values: field -> value; text is converted (`"20"` to 20, `"true"` to True), absent fields take their
            defaults.

    Raises:
        HeadError: an unknown name (with the nearest one), or a value of the wrong type or out of bounds.
    """
    given: dict[str, Any] = {}
    if isinstance(values, msgspec.Struct):
        given = msgspec.to_builtins(values)
    elif values is not None:
        given = {name: v.item() if isinstance(v, np.generic) else v for name, v in values.items()}
    known = [field.name for field in msgspec.structs.fields(kind)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise HeadError(f"Unknown setting {name!r}{hint} There are: {', '.join(known) or 'none'}.")
    try:
        # Twice: struct defaults are not checked when a struct is built, and 1 stays 1 where 1.0 is meant.
        first = msgspec.convert(given, kind, strict=False)
        return msgspec.convert(msgspec.to_builtins(first), kind, strict=False)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`")
        found = f", found {given[name]!r}" if name in given else ""
        raise HeadError(
            f"Setting {name or 'value'}: {reason[0].lower()}{reason[1:]}{found}. Give a value within these bounds."
        ) from error
