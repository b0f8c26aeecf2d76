"""Rows: round trip, schemas, and refusal of what does not fit."""

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jomed import records as module
from jomed.records import (
    PREDICTION_SCHEMA,
    RECORD_SCHEMA,
    SAMPLE_SCHEMA,
    SKIPPED_SCHEMA,
    Prediction,
    Record,
    RecordsError,
    Sample,
    Skipped,
    read_frame,
    rows_of,
    write_rows,
)

RECORD = Record("roco:1", "roco", "a/b.jpg", "None", "p1", "CC BY 4.0", "open", "0f" * 8, "a0" * 32)
SAMPLE = Sample(
    "s1", "vqa_rad", "test", "x.npz::test_images/0", "", "NA", "open", "", "g", "00", "b0" * 32
)
PREDICTION = Prediction("s1", "jomed", "text", 1, "roco:1", 0.25, 0.5, "é\n", True)


@pytest.mark.parametrize(
    ("row", "schema"),
    [
        (RECORD, RECORD_SCHEMA),
        (SAMPLE, SAMPLE_SCHEMA),
        (PREDICTION, PREDICTION_SCHEMA),
        (Skipped("roco", "1", "unreadable image", ""), SKIPPED_SCHEMA),
    ],
)
def test_rows_come_back_as_they_were(tmp_path: Path, row: object, schema: pa.Schema) -> None:
    path = tmp_path / "new" / "rows.parquet"
    assert write_rows(path, [row, dataclasses.asdict(row)], schema) == 2  # type: ignore[call-overload]
    assert rows_of(read_frame(path, schema), type(row)) == [row, row]


def test_no_rows_keep_their_columns(tmp_path: Path) -> None:
    assert write_rows(tmp_path / "r.parquet", [], RECORD_SCHEMA) == 0
    frame = read_frame(tmp_path / "r.parquet", RECORD_SCHEMA)
    assert list(frame.columns) == [field.name for field in dataclasses.fields(Record)]
    assert rows_of(frame, Record) == []


def test_types_are_plain_python_and_nan_is_a_value(tmp_path: Path) -> None:
    row = dataclasses.replace(PREDICTION, retriever_score=math.nan, correct=False)
    write_rows(tmp_path / "p.parquet", [row], PREDICTION_SCHEMA)
    [back] = rows_of(read_frame(tmp_path / "p.parquet", PREDICTION_SCHEMA), Prediction)
    assert math.isnan(back.retriever_score)
    assert [type(value) for value in dataclasses.astuple(back)] == [
        str, str, str, int, str, float, float, str, bool,
    ]  # fmt: skip


def test_rows_are_streamed_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_PER_GROUP", 2)
    rows = (dataclasses.replace(RECORD, record_id=f"roco:{i}") for i in range(5))
    assert write_rows(tmp_path / "r.parquet", rows, RECORD_SCHEMA) == 5
    assert pq.ParquetFile(tmp_path / "r.parquet").num_row_groups == 3
    frame = read_frame(tmp_path / "r.parquet", RECORD_SCHEMA)
    assert frame.record_id.tolist() == [f"roco:{i}" for i in range(5)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": None}, "'rank' holds a null"),
        ({"record_id": None}, "'record_id' holds a null"),
        ({"rank": "one"}, "'rank'"),
        ({"answer": 3}, "'answer'"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_bad_row_leaves_the_old_file(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "p.parquet"
    write_rows(path, [PREDICTION], PREDICTION_SCHEMA)
    with pytest.raises(RecordsError, match=message):
        write_rows(path, [dataclasses.asdict(PREDICTION) | change], PREDICTION_SCHEMA)
    assert rows_of(read_frame(path, PREDICTION_SCHEMA), Prediction) == [PREDICTION]
    assert [file.name for file in tmp_path.iterdir()] == ["p.parquet"]


def test_reading_names_file_and_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_rows(path, [RECORD], RECORD_SCHEMA)
    frame = pd.read_parquet(path)
    frame.drop(columns="licence").to_parquet(path)
    with pytest.raises(RecordsError, match=r"rows\.parquet: column 'licence' is missing"):
        read_frame(path, RECORD_SCHEMA)
    frame.assign(surplus=1).to_parquet(path)
    with pytest.raises(RecordsError, match=r"rows\.parquet: column 'surplus' is not expected"):
        read_frame(path, RECORD_SCHEMA)
    pq.write_table(pa.table({**frame.to_dict("list"), "text": [1]}), path)
    with pytest.raises(RecordsError, match=r"column 'text' is int64, not string"):
        read_frame(path, RECORD_SCHEMA)
    path.write_bytes(b"no parquet")
    with pytest.raises(RecordsError, match=r"rows\.parquet: not a Parquet file"):
        read_frame(path, RECORD_SCHEMA)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_frame(path, RECORD_SCHEMA)


@pytest.mark.parametrize(
    ("row", "change"),
    [
        (RECORD, {"access": "public"}),
        (SAMPLE, {"split": "validation"}),
        (SAMPLE, {"answer_type": "CLOSED"}),
    ],
)
def test_values_outside_a_fixed_set_are_refused(row: Sample, change: dict[str, str]) -> None:
    [(column, value)] = change.items()
    with pytest.raises(RecordsError, match=rf"{column} is '{value}'; allowed"):
        dataclasses.replace(row, **change)


def test_rows_of_another_frame_are_refused() -> None:
    with pytest.raises(RecordsError, match=r"Skipped.*\['detail'\]"):
        rows_of(pd.DataFrame({"source": [], "item": [], "reason": []}), Skipped)
