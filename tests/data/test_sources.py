import gzip
from pathlib import Path

import pytest

from jomed.data.sources import (
    DataError,
    clean_text,
    find_all,
    locate,
    parse_json,
    read_table,
    text_problem,
)


def test_nearest_then_newest_wins(tmp_path: Path) -> None:
    for folder in ("a/b", "v1", "v2"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "x.csv").touch()
    assert locate(tmp_path, ["x.csv"], "X", "url") == tmp_path / "v2/x.csv"
    assert len(find_all(tmp_path, ["x.csv"])) == 3
    (tmp_path / "x.csv").touch()
    assert locate(tmp_path, ["x.csv"], "X", "url") == tmp_path / "x.csv"
    with pytest.raises(DataError, match=r"X is not below .*y\.csv.*https://x"):
        locate(tmp_path, ["y.csv"], "X", "https://x")


def test_tables_are_text_and_columns_found_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffID, Name ,Age\r\n007,None,NA\r\n8,,3\r\n".encode())
    table = read_table(path, ["age", "id", "name"])
    assert table.to_numpy().tolist() == [["NA", "007", "None"], ["3", "8", ""]]
    with pytest.raises(DataError, match="no column sex; its columns are id, name, age"):
        read_table(path, ["id", "sex"])
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "absent.csv", ["id"])


def test_a_table_without_a_header_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("10999999,secret\n10999998,secret\n")
    with pytest.raises(DataError, match="begin with the names of its columns") as caught:
        read_table(path, ["subject_id", "text"])
    assert "secret" not in str(caught.value)


def test_json_that_no_file_could_hold_is_refused() -> None:
    whole = b'\xef\xbb\xbf["\\ud83d\\ude00 \\\\ud800"]'
    assert parse_json(whole) == ["\U0001f600 \\ud800"]
    for data in (b'["\\ud800 alone"]', b'{"\\uDC00": 1}', b"[" * 100_000, b'"\xe9"', b""):
        with pytest.raises(ValueError, match=r"."):
            parse_json(data)


def test_tables_that_would_be_misread_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,name\n1,a,\n2,b,\n")
    with pytest.raises(DataError, match=r"t\.csv has rows with more cells than its header"):
        read_table(path, ["id", "name"])
    packed = bytearray(gzip.compress(b"".join(b"%d,%d\n" % (i, i**3) for i in range(999))))
    packed[100:160] = bytes(60)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(packed)
    with pytest.raises(DataError, match=r"t\.csv\.gz cannot be read"):
        read_table(path, ["id"])


def test_texts() -> None:
    assert clean_text("\u00a0 a\t\u200ab\r\n") == "a b"
    assert [text_problem(text, 3) for text in ("", "ab", "abc")] == ["empty text", "short text", ""]
