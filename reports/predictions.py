"""The prediction file: one row an asked image, as Parquet. Owns its columns; every statistic is made from them."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from reports.errors import ReportError

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("mos", pa.float64()),  # as published
        pa.field("quality", pa.float64()),  # higher is better
        pa.field("prediction", pa.float64()),  # in quality; null where failure says why
        pa.field("std", pa.float64()),  # of the votes, in units of mos
        pa.field("group", pa.string()),
        pa.field("reference", pa.string()),
        pa.field("distortion", pa.string()),
        pa.field("level", pa.int64()),
        pa.field("scene", pa.string()),  # scene or source
        pa.field("official_part", pa.string()),
        pa.field("failure", pa.string(), nullable=False),  # "" where there is a prediction
    ]
)


def write(path: Path, frame: pd.DataFrame) -> None:
    """Writes the columns of `SCHEMA`, whole or not at all; NaN becomes null."""
    table = pa.Table.from_pandas(frame[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(table, part, compression="zstd", write_page_checksum=True)
    part.replace(path)


def none() -> pd.DataFrame:
    """The prediction file of an evaluation that is absent as a whole: no rows."""
    return SCHEMA.empty_table().to_pandas()


def read(path: Path) -> pd.DataFrame:
    """Reads a prediction file.

    Raises:
        ReportError: not there, damaged, or with other columns.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).split("\n")[0]
        raise ReportError(
            f"Expected predictions at {path}, found none that can be read ({reason}). Evaluate again: harness evaluate."
        ) from error
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise ReportError(
            f"Expected the columns {', '.join(SCHEMA.names)} in {path}; {', '.join(missing)} missing. Evaluate again."
        )
    return table.select(SCHEMA.names).to_pandas()
