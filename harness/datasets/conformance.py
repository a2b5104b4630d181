"""What any dataset must keep to, ours or a plug-in's, as one call for a test. Downloads nothing.

from harness.datasets.conformance import check_dataset
check_dataset(my_package.mydata.SPEC, root="a/small/tree")
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import msgspec
import numpy as np

from harness.datasets.dataset import Dataset, open_spec
from harness.datasets.manifest import COLUMNS, PARTS, column
from harness.datasets.spec import DatasetSpec


def check_spec(spec: DatasetSpec) -> None:
    """Checks what is declared.

    Raises:
        AssertionError: says which rule is broken.
    """
    assert isinstance(spec, DatasetSpec), f"a DatasetSpec, not {type(spec).__name__}"
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", spec.name), f"{spec.name!r}: letters, digits, '.', '_', '-'"
    for fact in ("title", "label_variant", "group_rule", "tree", "terms", "obtain", "reader"):
        assert getattr(spec, fact).strip(), f"{spec.name}: {fact} is empty"
    known = {*DatasetSpec.__struct_fields__, *COLUMNS}
    assert set(spec.sources) <= known, f"{spec.name}: sources of what is no fact: {sorted(set(spec.sources) - known)}"
    assert all(spec.sources.values()), f"{spec.name}: an empty source; write 'unverified'"
    assert min(spec.count, spec.references, spec.distortions) >= 0, f"{spec.name}: a negative count"
    assert msgspec.json.decode(msgspec.json.encode(spec), type=DatasetSpec) == spec, f"{spec.name}: not plain data"
    module, _, name = spec.reader.partition(":")
    assert callable(getattr(importlib.import_module(module), name, None)), f"{spec.name}: no callable {spec.reader}"


def check_dataset(spec: DatasetSpec, root: Path | str | None = None, labels: Path | str | None = None) -> Dataset:
    """Checks what is declared, and what its reader makes of a tree (or of label files alone).

    Raises:
        AssertionError: says which rule is broken.
        DatasetError: the tree is not as the reader expects.
    """
    check_spec(spec)
    data, again = open_spec(spec, root, labels), open_spec(spec, root, labels)
    rows = data.manifest
    assert rows.equals(again.manifest), f"{spec.name}: two readings of the same files differ"
    assert list(rows.columns) == list(COLUMNS), f"{spec.name}: use manifest.conform or readers.as_labels"
    references, ids = column(rows, "is_reference"), column(rows, "id")
    assert not any("\\" in name or name != name.strip() for name in ids), f"{spec.name}: ids with \\ or outer blanks"
    if spec.count:
        count = int(np.count_nonzero(~references))
        assert count <= spec.count, f"{spec.name}: {count} labelled rows, {spec.count} declared"
    assert set(rows["official_part"]) <= set(PARTS), f"{spec.name}: official parts {PARTS}"
    for name, path in zip(ids, rows["path"], strict=True):
        assert not path or (data.root is not None and (data.root / path).is_file()), f"{spec.name}: {name}: no {path}"
    group = dict(zip(ids, rows["group"], strict=True))
    for name, reference in zip(ids, rows["reference"], strict=True):
        assert not reference or group.get(reference, group[name]) == group[name], (
            f"{spec.name}: {name!r} is in another group than its reference {reference!r}: they could be split apart"
        )
    names = [str(name) for name in data.labelled["id"]]
    if data.scale.closed or len(names) > 1:
        quality = data.quality_map(names).to_quality(data.labelled["mos"])
        assert bool(np.isfinite(quality).all()), f"{spec.name}: labels that make no finite quality"
    return data
