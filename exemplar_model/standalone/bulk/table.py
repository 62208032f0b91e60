"""The table of what to paint, checked as a whole before anything heavy starts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import fsspec
import pyarrow as pa
from pyarrow import csv, parquet

from .errors import BulkError, reason_of
from .rows import COLUMNS, PATHS, REQUIRED_COLUMNS

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Ids become names of files on any system."""
BATCHES_PER_CHUNK = 8
"""Rows are sorted by shape within a chunk: larger ones fill batches better, smaller ones share the
work better."""


@dataclass(frozen=True)
class Table:
    """Rows to paint, all cells as text.

    Attributes:
        cells: columns of `rows.COLUMNS`, as far as the table has them.
        folder: path or URL that relative paths in it start from.
    """

    cells: pa.Table
    folder: str

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def ids(self) -> list[str]:
        """One per row."""
        return self.cells["id"].to_pylist()

    def chunks(self, batch: int) -> Iterator[pa.Table]:
        """The rows in order, some batches at a time.

        They depend on the table and the batch size alone, so that a row meets the same companions
        in every run, and its picture is the same to the last bit.
        """
        size = BATCHES_PER_CHUNK * batch
        for start in range(0, len(self), size):
            yield self.cells.slice(start, size).combine_chunks()

    def spread(self, count: int) -> Table:
        """About so many rows, evenly from the first to the last."""
        step = max(1, len(self) // count)
        indices = list(range(0, len(self), step))[:count]
        return Table(self.cells.take(indices), self.folder)


def read_table(path: str) -> Table:
    """Read a CSV or Parquet file.

    Args:
        path: local, or any URL that fsspec opens.

    Raises:
        BulkError: it cannot be read, or does not say what to paint.
    """
    name = path.replace("\\", "/").rpartition("/")[2]
    if not name.endswith((".csv", ".parquet")):
        raise BulkError(f"{name} is no table; give a file that ends in .csv or .parquet.")
    try:
        with fsspec.open(path, "rb") as file:
            cells = parquet.read_table(file) if name.endswith(".parquet") else _read_csv(file)
        cells = pa.table(
            {column: _as_text(cells[column]) for column in dict.fromkeys(cells.column_names)}
        )
    except FileNotFoundError as error:
        raise BulkError(f"{path} does not exist; give the table's path.") from error
    except Exception as error:  # fsspec's and Arrow's own; all mean the same to a user
        raise BulkError(
            f"{name} cannot be read as a table ({reason_of(error)}); write it anew."
        ) from error
    _check(name, cells)
    folder = path.rpartition("/")[0] if "://" in path else str(Path(path).absolute().parent)
    return Table(cells, folder)


def _read_csv(file: object) -> pa.Table:
    """All cells as text: an id of 007 stays what it is."""
    everything = dict.fromkeys(COLUMNS, pa.string())
    options = csv.ConvertOptions(
        column_types=everything, strings_can_be_null=True, null_values=[""]
    )
    return csv.read_csv(file, convert_options=options)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def _check(name: str, cells: pa.Table) -> None:
    missing = [column for column in REQUIRED_COLUMNS if column not in cells.column_names]
    if missing:
        raise BulkError(
            f"{name} lacks the column {missing[0]}; a table has {', '.join(REQUIRED_COLUMNS)} and "
            "any settings."
        )
    unknown = [column for column in cells.column_names if column not in COLUMNS]
    if unknown:
        raise BulkError(
            f"{name} has a column {unknown[0]!r}, which means nothing here; rename or drop it, the "
            f"columns are {', '.join(COLUMNS)}."
        )
    if not len(cells):
        raise BulkError(f"{name} has no rows.")
    seen: set[str] = set()
    for number, row_id in enumerate(cells["id"].to_pylist(), 1):
        if row_id is None or not ID.fullmatch(row_id):
            raise BulkError(
                f"{name} has the id {row_id!r} in row {number}; ids name files: 1 to 128 letters "
                "of the English alphabet, digits, dots, underscores and hyphens, the first a "
                "letter or digit."
            )
        if row_id in seen:
            raise BulkError(f"{name} has the id {row_id!r} twice; every row needs its own.")
        seen.add(row_id)
    paths = (cells[column].to_pylist() for column in PATHS if column in cells.column_names)
    # of known protocols the package may be missing
    starts = {path.partition("://")[0] for path in chain(*paths) if path and "://" in path}
    for protocol in {start.rpartition("::")[2] for start in starts}:  # simplecache::s3://…
        try:
            fsspec.get_filesystem_class(protocol)
        except (ImportError, ValueError) as error:
            raise BulkError(
                f"{name} has paths that start with {protocol}://, which cannot be opened here "
                f"({reason_of(error)})."
            ) from error


def resolve(path: str, folder: str) -> str:
    """A path of a table; relative ones start from the table's folder."""
    absolute = "://" in path or path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[\\/]", path)
    return path if absolute else f"{folder}/{path}"
