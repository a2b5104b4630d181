"""Parquet files that say what they hold and whether all of it is there. Knows no plan and no commit.

Bytes depend on content alone, so that two makers of one file make the same. A flipped bit is never silent: pages have
checksums, and names, content and metadata have a sha256, since a footer has none of its own.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import StoreError


def parquet(table: pa.Table, facts: dict[str, Any]) -> bytes:
    """A table and its facts as the bytes of one file."""
    text = json.dumps(facts, sort_keys=True)
    table = table.replace_schema_metadata({"facts": text, "sha256": _digest(table, text)})
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, write_page_checksum=True, compression="zstd", use_dictionary=False, write_statistics=False
    )
    return sink.getvalue().to_pybytes()


def read(path: Path, schema: pa.Schema) -> tuple[pa.Table, dict[str, Any]]:
    """A table and its facts, if both are what was written.

    Raises:
        FileNotFoundError: it is not there (any more).
        StoreError: torn, flipped, or another table.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(use_threads=False)  # starting threads takes longer than reading
        facts = (table.schema.metadata or {})[b"facts"].decode()
        stated = (table.schema.metadata or {})[b"sha256"].decode()
        if not table.schema.equals(schema):
            raise StoreError(damaged(path, "other columns"))
        if _digest(table, facts) != stated:
            raise StoreError(damaged(path, "content that does not fit its digest"))
        return table, json.loads(facts)
    except (FileNotFoundError, StoreError):
        raise
    except Exception as error:  # a flipped byte can make Parquet's reader fail in any way
        raise StoreError(damaged(path, str(error).split("\n")[0])) from error


def damaged(path: Path, found: str) -> str:
    """The message for a file that is not what was written."""
    return (
        f"Expected a whole file at {path}, found {found}. Move that file away and run `harness precompute` again: "
        "it encodes what the file stood for, and nothing else."
    )


def _digest(table: pa.Table, facts: str) -> str:
    """sha256 over names, content and metadata; independent of how Parquet lays them out."""
    digest = hashlib.sha256(facts.encode())
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        digest.update(f"\n{name}\n".encode())
        if pa.types.is_string(column.type):
            digest.update(json.dumps(column.to_pylist()).encode())
        elif pa.types.is_list(column.type):
            digest.update(np.asarray(column.value_lengths()).astype("<i8").tobytes())
            digest.update(np.ascontiguousarray(column.flatten().to_numpy(zero_copy_only=False)).tobytes())
        else:
            digest.update(np.ascontiguousarray(column.to_numpy(zero_copy_only=False)).tobytes())
    return digest.hexdigest()
