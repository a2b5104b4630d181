"""A store as one file of a common format, and back from HDF5 bit for bit. Encodes nothing, changes no number.

HDF5 keeps all that a store means: header, images, failures, features with their checksums. `npz` and `parquet` are for
reading elsewhere. In all of them a map is a run of h*w rows, channels last, as in the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from cache import blocks, format, objects
from cache.blocks import Plan, PlanItem
from cache.compaction import groups_of
from cache.errors import StoreError, UsageError
from cache.features import MAP, MAPS, parse_feature
from cache.forms import Form, Lines, form_of, from_lines
from cache.identity import Identity
from cache.layout import Tap, plain_name, stored_name
from cache.store import FeatureStore
from cache.writing import Given, Shape, write_block

FORMATS = ("h5", "npz", "parquet")


class Column(NamedTuple):
    """One feature of all images: where each one's rows begin (-1: it has none), its grid, its checksum."""

    stored: str
    form: Form
    width: int
    offset: NDArray[np.int64]
    h: NDArray[np.int32]
    w: NDArray[np.int32]
    crc32c: NDArray[np.uint32]

    @property
    def rows(self) -> int:
        """Rows of all images together."""
        return sum(self.slice(i).stop - self.slice(i).start for i in np.flatnonzero(self.offset >= 0).tolist())

    def slice(self, i: int) -> slice:
        """The rows of an image that has the feature."""
        first = int(self.offset[i])
        return slice(first, first + self.form.rows(int(self.h[i]), int(self.w[i])))


def export(store: FeatureStore, out: Path, kind: str) -> int:
    """Writes what counts in a store to one new file; returns how many images it holds.

    Raises:
        UsageError: an unknown format, or the file exists.
        StoreError: a row is damaged.
    """
    if kind not in FORMATS:
        raise UsageError(f"Expected one of the formats {', '.join(FORMATS)}; found {kind!r}.")
    if out.exists():
        raise UsageError(f"{out} exists, and nothing is overwritten. Choose another --out, or move it away.")
    out.parent.mkdir(parents=True, exist_ok=True)
    items = sorted(item for members in groups_of(store, store.state.live).values() for item in members)
    columns = list(_columns(store, items, _as_stored if kind == "h5" else _as_read))
    part = out.with_name(f".{out.name}.part")
    part.unlink(missing_ok=True)
    try:
        {"h5": _to_h5, "npz": _to_npz, "parquet": _to_parquet}[kind](store, items, columns, part)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return len(items)


def _as_stored(what: str) -> Form:
    return form_of(what)


def _as_read(what: str) -> Form:
    return form_of(MAP if what in MAPS else what)


def _columns(store: FeatureStore, items: Sequence[PlanItem], form_for: Callable[[str], Form]) -> Iterator[Column]:
    spans, _ = store.state.spans
    for name in store.features(everywhere=False):
        stored, form, first = stored_name(name), form_for(name.what), 0
        table = np.array([[-1, 0, 0, 0]] * len(items), dtype=np.int64).reshape(-1, 4)
        for i, item in enumerate(items):
            span = spans.get(item.id, {}).get(stored)
            if span is not None:
                table[i] = first, span.h, span.w, span.crc32c
                first += form.rows(span.h, span.w)
        h, w, crc = (table[:, k] for k in (1, 2, 3))
        yield Column(
            stored, form, store.width(name), table[:, 0], h.astype(np.int32), w.astype(np.int32), crc.astype(np.uint32)
        )


def _values(store: FeatureStore, items: Sequence[PlanItem], column: Column) -> Iterator[tuple[int, NDArray[Any]]]:
    """(position, rows in the column's form) of each image that has the feature, checked."""
    name = str(plain_name(column.stored))
    features, what = store.select_any([name]), parse_feature(name).what
    position = {image_id: row for row, image_id in enumerate(features.ids)}
    for i, item in enumerate(items):
        if column.offset[i] >= 0:
            row = position[item.id]
            rows = features.stored(name, row)
            if column.form != form_of(what):
                rows = from_lines(what, Lines(rows, int(column.h[i]), int(column.w[i]))).reshape(-1, column.width)
            yield i, rows


def _facts(store: FeatureStore, items: Sequence[PlanItem]) -> dict[str, list[Any]]:
    """What is known of each image, as columns."""
    spans, failed = store.state.spans
    columns: dict[str, list[Any]] = {field: [item[k] for item in items] for k, field in enumerate(PlanItem._fields)}
    # Not known of an image that has no size: its header could not be read.
    shown = [store.shown(item.width, item.height) if item.width else (0, 0) for item in items]
    columns["shown_width"], columns["shown_height"] = [w for w, _ in shown], [h for _, h in shown]
    columns["status"] = ["ok" if item.id in spans else "failed" for item in items]
    columns["reason"] = [failed.get(item.id, "") for item in items]
    return columns


# --- HDF5, both ways ------------------------------------------------------------------------------------------------


def _to_h5(store: FeatureStore, items: Sequence[PlanItem], columns: Sequence[Column], out: Path) -> None:
    import h5py

    with h5py.File(out, "x") as file:
        file.attrs["sam_iqa"] = json.dumps(store.header, sort_keys=True)
        for name, values in _facts(store, items).items():
            text = values and isinstance(values[0], str)
            data = np.array(values, dtype=h5py.string_dtype() if text else np.int64)
            file.create_dataset(f"images/{name}", data=data)
        groups = groups_of(store, store.state.live)
        known = [column.stored for column in columns]
        asked = {i.id: [n for n in names if n in known] for names, members in groups.items() for i in members}
        file.create_dataset("images/asked", data=[json.dumps(asked[i.id]) for i in items], dtype=h5py.string_dtype())
        for column in columns:
            group = file.create_group(f"features/{column.stored.replace(':', '/')}")
            values = group.create_dataset("values", (column.rows, column.width), column.form.dtype)
            for i, rows in _values(store, items, column):
                if rows.size:
                    values.write_direct(np.ascontiguousarray(rows), dest_sel=column.slice(i))
            for field in ("offset", "h", "w", "crc32c"):
                group.create_dataset(field, data=getattr(column, field))


def load(file: Path, root: Path) -> FeatureStore:
    """Makes a store below `root` from an HDF5 file that `export` wrote. The same command again goes on where it was
    killed.

    Raises:
        StoreError: not such a file, damaged, or a store of that name holds other images already.
    """
    import h5py

    try:
        with h5py.File(file, "r") as source:
            return _load(source, file, root)
    except (OSError, KeyError, ValueError) as error:
        raise StoreError(
            f"Expected a file of `harness stores export --format h5` at {file}, found none that can be read ({error})."
        ) from error


def _load(source: Any, file: Path, root: Path) -> FeatureStore:
    header = json.loads(source.attrs["sam_iqa"])
    store = FeatureStore.create(
        root,
        header["dataset"],
        msgspec.convert(header["identity"], Identity),
        header["provenance"],
        [Tap(*tap) for tap in header["taps"]],
    )
    facts: dict[str, list[Any]] = {
        name: [value.decode() if isinstance(value, bytes) else int(value) for value in data[:]]
        for name, data in source["images"].items()
    }
    items = [PlanItem(*values) for values in zip(*(facts[field] for field in PlanItem._fields), strict=True)]
    groups: dict[tuple[str, ...], list[PlanItem]] = {}
    for item, asked in zip(items, facts["asked"], strict=True):
        groups.setdefault(tuple(json.loads(asked)), []).append(item)
    columns = {
        stored: _column(source[f"features/{stored.replace(':', '/')}"], stored)
        for stored in sorted({stored for names in groups for stored in names})
    }
    row = {item.id: i for i, item in enumerate(items)}
    made = store.add_plan(lambda number: None if store.state.plans else _plan(store, number, groups, columns, row))
    plan = made or store.state.ordered[0]
    if len(store.state.plans) > 1 or sorted(i for b in plan.blocks for i in b) != sorted(items):
        raise StoreError(f"{store.path} holds other images than {file}. Choose another --store to import into.")
    for b, members in enumerate(plan.blocks):
        if (plan.number, b) in store.state.commits:
            continue
        shapes = {stored: Shape(plan.capacity[stored], columns[stored].width) for stored in plan.copied[b]}
        rows = [_given(source, file, item, row[item.id], facts, shapes, columns) for item in members]
        if not write_block(store.layout, plan.number, len(plan.blocks), b, shapes, rows):
            raise StoreError(f"{store.path} holds other bytes than {file}. Choose another --store to import into.")
    objects.sync_folder(store.path / "blocks")
    store.refresh()
    return store


def _column(group: Any, stored: str) -> Column:
    form = form_of(parse_feature(stored).what)
    return Column(
        stored, form, group["values"].shape[1], *(group[field][:] for field in ("offset", "h", "w", "crc32c"))
    )


def _plan(
    store: FeatureStore,
    number: int,
    groups: dict[tuple[str, ...], list[PlanItem]],
    columns: dict[str, Column],
    row: dict[str, int],
) -> Plan:
    heavy = float(store.provenance.get("gflop", 0)) > 100
    cut = [(names, block) for names, members in sorted(groups.items()) for block in blocks.cut(members, heavy)]
    capacity: dict[str, int] = {}
    for names, block in cut:
        for stored in names:
            column, at = columns[stored], [row[i.id] for i in block]
            here = [column.slice(i) for i in at if column.offset[i] >= 0]
            used = sum(rows.stop - rows.start for rows in here) if column.form.by_token else len(block)
            rows = format.capacity(used, format.inner_rows(column.width, column.form))
            capacity[stored] = max(rows, capacity.get(stored, 0))
    return Plan(
        number,
        tuple(block for _, block in cut),
        rank=number,
        copied=tuple(names for names, _ in cut),
        capacity=capacity,
    )


def _given(
    source: Any,
    file: Path,
    item: PlanItem,
    i: int,
    facts: dict[str, list[Any]],
    shapes: dict[str, Shape],
    columns: dict[str, Column],
) -> Given:
    values: dict[str, Lines] = {}
    ok = facts["status"][i] == "ok"
    for stored in shapes if ok else ():
        column = columns[stored]
        rows = source[f"features/{stored.replace(':', '/')}/values"][column.slice(i)]
        if format.crc32c(rows) != int(column.crc32c[i]):
            raise StoreError(
                f"{file}: expected the bytes that were exported for {item.id!r} ({stored}), found others. Export "
                "it again."
            )
        values[stored] = Lines(rows, int(column.h[i]), int(column.w[i]))
    return Given(
        item.id, item.sha256, item.width, item.height, facts["status"][i], "" if ok else facts["reason"][i], values
    )


# --- for reading elsewhere ------------------------------------------------------------------------------------------


def _whole(store: FeatureStore, items: Sequence[PlanItem], column: Column) -> NDArray[Any]:
    values = np.empty((column.rows, column.width), column.form.dtype)
    for i, rows in _values(store, items, column):
        values[column.slice(i)] = rows
    return values


def _to_npz(store: FeatureStore, items: Sequence[PlanItem], columns: Sequence[Column], out: Path) -> None:
    arrays: dict[str, Any] = {"header": np.array(json.dumps(store.header, sort_keys=True))}
    arrays |= {f"images/{name}": np.array(values) for name, values in _facts(store, items).items()}
    for column in columns:
        arrays[column.stored] = _whole(store, items, column)
        arrays |= {f"{column.stored}/{field}": getattr(column, field) for field in ("offset", "h", "w")}
    with out.open("xb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _to_parquet(store: FeatureStore, items: Sequence[PlanItem], columns: Sequence[Column], out: Path) -> None:
    """One row an image; a feature is a list, with the map's grid in two columns beside it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table: dict[str, Any] = {name: pa.array(values) for name, values in _facts(store, items).items()}
    for column in columns:
        have = column.offset >= 0
        sizes = np.where(have, column.h.astype(np.int64) * column.w * column.width, 0)
        offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
        flat = pa.array(_whole(store, items, column).reshape(-1))
        table[column.stored] = pa.LargeListArray.from_arrays(offsets, flat, mask=pa.array(~have))
        if column.form.by_token:
            table |= {f"{column.stored}/{field}": pa.array(getattr(column, field)) for field in ("h", "w")}
    schema = {"sam_iqa": json.dumps(store.header, sort_keys=True)}
    pq.write_table(pa.table(table).replace_schema_metadata(schema), out)
