"""Identity: everything that changes a number changes the key, nothing else does, and a name is never taken for a
proof.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.errors import StoreError
from cache.identity import EncoderIdentity, Identity, ViewIdentity, canonical, differences, key8
from cache.store import FeatureStore

ONE = Identity(
    EncoderIdentity("enc", "sha-a", "enc.1", "fp32"), ViewIdentity("native", "as it is", "none"), decoding="1"
)
CHANGES = {
    "encoder.name": "enc2",
    "encoder.weights": "sha-b",
    "encoder.code": "enc.2",
    "encoder.precision": "bf16",
    "view.name": "half",
    "view.geometry": "sides times 0.5",
    "view.resize": "pillow-bilinear",
    "decoding": "2",
}


def changed(field: str) -> Identity:
    outer, _, inner = field.partition(".")
    value: object = CHANGES[field]
    if inner:
        value = msgspec.structs.replace(getattr(ONE, outer), **{inner: value})
    return msgspec.structs.replace(ONE, **{outer: value})


def test_every_field_of_the_identity_is_tried_below() -> None:
    fields = {f"{a}.{b}" for a, inner in msgspec.to_builtins(ONE).items() if a != "decoding" for b in inner}
    assert set(CHANGES) == fields | {"decoding"}


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_field_gives_another_key(field: str) -> None:
    assert key8(changed(field)) != key8(ONE)
    assert differences(ONE, changed(field))[0].startswith(f"{field}: ")


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_field_is_refused_even_where_the_name_fits(field: str, tmp_path: Path, fakes: ModuleType) -> None:
    """The trap: the eight letters are only a name. A store that was renamed (or collides) must not be taken."""
    other = changed(field)
    store = FeatureStore.create(tmp_path, "set", ONE, {}, fakes.SPEC.taps)
    store.path.rename(tmp_path / "set" / f"{other.encoder.name}@{other.view.name}-{key8(other)}")
    with pytest.raises(StoreError, match=field.replace(".", r"\.")):
        FeatureStore.create(tmp_path, "set", other, {}, fakes.SPEC.taps)


def test_labels_provenance_and_features_are_not_in_it(tmp_path: Path, fakes: ModuleType) -> None:
    first = FeatureStore.create(tmp_path, "set", ONE, {"host": "a"}, fakes.SPEC.taps)
    again = FeatureStore.create(tmp_path, "set", ONE, {"host": "b"}, fakes.SPEC.taps)
    assert first.path == again.path
    assert again.provenance == {"host": "a"}  # who came first


@pytest.mark.parametrize("value", [2, 2.0, True, None, b"2"])
def test_a_number_cannot_stand_where_a_text_must(value: object) -> None:
    """The trap: a struct built in Python is not validated, so 2 and 2.0 would give two keys for one meaning."""
    wrong = Identity(EncoderIdentity("enc", "sha", "enc.1", value), ONE.view, "1")
    if isinstance(value, bytes):
        assert canonical(wrong) != canonical(ONE)  # bytes become their base64 text: another key, but one
        return
    with pytest.raises(msgspec.ValidationError, match=r"encoder.precision"):
        key8(wrong)


def test_canonical_json_is_the_same_in_every_process() -> None:
    code = (
        "from cache.identity import *;"
        "print(canonical(Identity(EncoderIdentity('é','b','c','d'),ViewIdentity('e','f','g'),'1')).decode())"
    )
    root = Path(__file__).parents[2]
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert said == {
        '{"decoding":"1","encoder":{"code":"c","name":"\\u00e9","precision":"d","weights":"b"},'
        '"view":{"geometry":"f","name":"e","resize":"g"}}\n'
    }


texts = st.text(max_size=6)
identities = st.builds(
    Identity,
    st.builds(EncoderIdentity, texts, texts, texts, texts),
    st.builds(ViewIdentity, texts, texts, texts),
    texts,
)


@given(identities, identities)
def test_equal_meanings_have_equal_bytes_and_only_they(one: Identity, other: Identity) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)
    assert bool(differences(one, other)) == (one != other)
    assert msgspec.json.decode(canonical(one), type=Identity) == one
