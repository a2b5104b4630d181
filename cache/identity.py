"""What the numbers of a store mean, as declared canonical JSON, and the short key made from it.

Labels, paths and which features are kept are not in it: none of them changes a number that is stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import msgspec


class EncoderIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which function of pixels: name, sha256 of the weights, revision of the code around them, precision."""

    name: str
    weights: str
    code: str
    precision: str


class ViewIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an image becomes pixels: name, geometry in words, resize backend."""

    name: str
    geometry: str
    resize: str


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Encoder, view, and the revision of the decoding rule."""

    encoder: EncoderIdentity
    view: ViewIdentity
    decoding: str


def canonical(identity: Identity) -> bytes:
    """Canonical JSON: validated, keys sorted, no spaces, so that equal meanings have equal bytes."""
    checked = msgspec.json.decode(msgspec.json.encode(identity), type=Identity)
    return json.dumps(msgspec.to_builtins(checked), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def key8(identity: Identity) -> str:
    """Eight hexadecimal letters of the sha256 of `canonical`; a name, no proof: the whole is compared on opening."""
    return hashlib.sha256(canonical(identity)).hexdigest()[:8]


def differences(one: Identity, other: Identity) -> list[str]:
    """The fields that differ, as `encoder.weights: abc, not def`."""
    left, right = what_differs([one, other])
    return [f"{key}: {left[key]}, not {right[key]}" for key in left]


def what_differs(identities: Sequence[Identity]) -> list[dict[str, str]]:
    """Of each, the fields in which they are not all alike, as `{"encoder.weights": "abc"}`."""
    every = [_flat(msgspec.to_builtins(identity)) for identity in identities]
    return [{key: value for key, value in one.items() if any(o[key] != value for o in every)} for one in every]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix[:-1]: value}
    result: dict[str, Any] = {}
    for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]  # JSON
        result |= _flat(inner, f"{prefix}{key}.")
    return result
