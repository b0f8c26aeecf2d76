"""The rows that pass between the rooms: their classes, Arrow schemas and Parquet files."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jomed.artifacts import atomic_write

ACCESS_LEVELS = ("open", "credentialed", "dua")
SPLITS = ("train", "val", "test")
ANSWER_TYPES = ("closed", "open", "label", "labels")
DUPLICATE_KINDS = ("exact", "near")
_ROWS_PER_GROUP = 10_000

Row = TypeVar("Row")


class RecordsError(ValueError):
    """A row or a file does not have the columns, types or values of its schema."""


def _check(row: object, column: str, allowed: tuple[str, ...]) -> None:
    value = getattr(row, column)
    if value not in allowed:
        raise RecordsError(f"{type(row).__name__}.{column} is {value!r}; allowed: {allowed}")


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One (image, text) pair of the external index.

    ``image`` is an address below the data root ("a/b.jpg", "x.npz::train_images/12",
    "x.zip::dir/a.jpg", "x.parquet::12" for a row), ``group`` the patient or article. ``image_sha``
    is the hash of the pixels, ``image_phash`` the perceptual hash; both are "" until the image has
    been opened.
    """

    record_id: str
    source: str
    image: str
    text: str
    group: str
    licence: str
    access: str
    image_sha: str
    image_phash: str

    def __post_init__(self) -> None:
        _check(self, "access", ACCESS_LEVELS)


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One benchmark item; a multi-label answer is an index list in index order, "3, 7"."""

    sample_id: str
    benchmark: str
    split: str
    image: str
    question: str
    answer: str
    answer_type: str
    question_type: str
    group: str
    image_sha: str
    image_phash: str

    def __post_init__(self) -> None:
        _check(self, "split", SPLITS)
        _check(self, "answer_type", ANSWER_TYPES)


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """The answer under one candidate, or the fused one (head "fused", rank 0, record_id "").

    ``head`` "none" is a prediction without a record. ``retriever_score`` is the inner product of
    query and record (NaN where there is none), ``weight`` the candidate's share p_R in Eq. 3.
    """

    sample_id: str
    method: str
    head: str
    rank: int
    record_id: str
    retriever_score: float
    weight: float
    answer: str
    correct: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Duplicate:
    """A record that repeats the text of an earlier one, ``duplicate_of``, with the same image.

    ``kind`` is "exact" for the same pixels, "near" for the same perceptual hash; ``dropped`` says
    whether it was left out of the records.
    """

    record_id: str
    source: str
    duplicate_of: str
    kind: str
    dropped: bool

    def __post_init__(self) -> None:
        _check(self, "kind", DUPLICATE_KINDS)


@dataclasses.dataclass(frozen=True, slots=True)
class Skipped:
    """An item that a loader left out: ``reason`` is a short fixed phrase, ``detail`` the rest."""

    source: str
    item: str
    reason: str
    detail: str


_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


def _schema(cls: type) -> pa.Schema:
    return pa.schema(
        [
            pa.field(column.name, _ARROW_TYPES[column.type], nullable=False)
            for column in dataclasses.fields(cls)
        ]
    )


RECORD_SCHEMA = _schema(Record)
SAMPLE_SCHEMA = _schema(Sample)
PREDICTION_SCHEMA = _schema(Prediction)
SKIPPED_SCHEMA = _schema(Skipped)
DUPLICATE_SCHEMA = _schema(Duplicate)


@contextlib.contextmanager
def row_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[object], None]]:
    """Yield a function that adds one row, a dataclass instance or mapping, to a Parquet file.

    The file appears whole, at the end of the block, or not at all; in memory is one row group.
    Raises RecordsError for a row whose columns or values do not fit ``schema``, nulls included
    (NaN is a value).
    """
    rows: list[object] = []
    with (
        atomic_write(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):

        def flush() -> None:
            writer.write_table(_table(rows, schema, path))
            rows.clear()

        def add(row: object) -> None:
            rows.append(row)
            if len(rows) == _ROWS_PER_GROUP:
                flush()

        yield add
        if rows:
            flush()


def write_rows(path: Path, rows: Iterable[object], schema: pa.Schema) -> int:
    """Write all `rows` as `row_writer` does, and return their number."""
    count = 0
    with row_writer(path, schema) as add:
        for row in rows:
            add(row)
            count += 1
    return count


def _table(rows: Sequence[object], schema: pa.Schema, path: Path) -> pa.Table:
    _check_columns(rows, schema, path)
    columns = []
    for column in schema:
        name = column.name
        found = [row[name] if isinstance(row, Mapping) else getattr(row, name) for row in rows]
        try:
            values = pa.array(found, column.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise RecordsError(f"{path}: column {name!r}: {error}") from None
        if values.null_count:
            raise RecordsError(f"{path}: column {name!r} holds a null")
        columns.append(values)
    return pa.Table.from_arrays(columns, schema=schema)


def _check_columns(rows: Sequence[Any], schema: pa.Schema, path: Path) -> None:
    classes = {type(row) for row in rows if not isinstance(row, Mapping)}
    found = {frozenset(column.name for column in dataclasses.fields(cls)) for cls in classes}
    found |= {frozenset(row) for row in rows if isinstance(row, Mapping)}
    for names in found:
        if names != set(schema.names):
            wrong = sorted(names ^ set(schema.names))
            raise RecordsError(f"{path}: a row lacks or adds the columns {wrong}")


def read_frame(path: Path, schema: pa.Schema) -> pd.DataFrame:
    """The rows of a Parquet file as a data frame.

    Raises RecordsError, naming file and column, if the file's columns are not those of ``schema``,
    and FileNotFoundError if there is no file.
    """
    try:
        found = pq.read_schema(path)
    except pa.ArrowInvalid as error:
        raise RecordsError(f"{path}: not a Parquet file: {error}") from None
    for name in sorted(set(schema.names) ^ set(found.names)):
        problem = "is missing" if name in schema.names else "is not expected"
        raise RecordsError(f"{path}: column {name!r} {problem}; write the file again")
    for column in schema:
        actual = found.field(column.name).type
        if actual != column.type:
            raise RecordsError(f"{path}: column {column.name!r} is {actual}, not {column.type}")
    return pq.read_table(path, columns=schema.names).to_pandas()


def rows_of(frame: pd.DataFrame, cls: type[Row]) -> list[Row]:
    """The rows of a data frame as instances of a row class; RecordsError for other columns."""
    expected = [column.name for column in dataclasses.fields(cls)]  # type: ignore[arg-type]
    if set(expected) != set(frame.columns):
        wrong = sorted(set(expected) ^ set(frame.columns))
        raise RecordsError(f"{cls.__name__}: the data frame lacks or adds the columns {wrong}")
    return [
        cls(*values) for values in zip(*(frame[name].tolist() for name in expected), strict=True)
    ]
