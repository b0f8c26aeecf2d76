import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jomed.__main__ import app, main
from jomed.reading.score_checks import Fault, TableFacts, find_faults, remove, table_facts
from jomed.reading.score_files import ScoreTableError
from jomed.reading.scores import GenerationTable, PairKey, ScoreTable

SCORES = np.array([-1, -2, -3], np.float32)


def key(sample: int, record: int, variant: str = "c") -> PairKey:
    return f"s{sample}", f"r{record}", variant


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two readers, 3 samples x 4 records of one variant, one pair of another, one generation."""
    path = tmp_path / "t.sqlite"
    keys = [key(sample, record) for sample in range(3) for record in range(4)]
    with closing(ScoreTable(path, "one")) as table:
        table.put([*keys, key(0, 0, "d")], [*[SCORES] * 12, SCORES[:2]])
    with closing(ScoreTable(path, "two")) as table:
        table.put(keys[:2], [SCORES] * 2)
    with closing(GenerationTable(path, "one")) as texts:
        texts.put([key(7, 0, "max")], ["a node"])
    return path


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1


def with_record(number: int) -> str:
    """The condition for the row of a record with sample s0, reader "one" and variant "c"."""
    names = {"reader": "one", "sample": "s0", "record": f"r{number}", "variant": "c"}
    return " AND ".join(f"{column} = (SELECT id FROM names WHERE name = '{name}')"
                        for column, name in names.items())  # fmt: skip


def test_facts_count_what_is_there(path: Path) -> None:
    assert table_facts(path) == [
        TableFacts("scores", pairs=15, readers=2, samples=3, records=4, variants=2),
        TableFacts("generations", pairs=1, readers=1, samples=1, records=1, variants=1),
    ]
    assert find_faults(path) == []


def break_values(path: Path) -> dict[str, str]:
    """Break one row in each way; returns the reasons by record (or kind)."""
    values = {
        0: (SCORES[:2].tobytes(), "8 bytes, the others of its variant 12"),
        1: (np.array([-1, np.nan, -2], "<f4").tobytes(), "not log-probabilities"),
        2: (np.array([-1, 0.5, -2], "<f4").tobytes(), "not log-probabilities"),
        3: (b"123", "3 bytes, the others of its variant 12"),
    }
    for number, (blob, _) in values.items():
        change(path, f"UPDATE scores SET value = ? WHERE {with_record(number)}", blob)
    change(path, "UPDATE generations SET value = ?", b"\xff\xfe")
    return {f"'r{number}'": reason for number, (_, reason) in values.items()}


def test_broken_values_are_found_named_and_removed(path: Path) -> None:
    expected = break_values(path)
    faults = find_faults(path)
    assert [fault.kind for fault in faults] == ["scores"] * 4 + ["generations"]
    assert faults[-1].pair == "sample 's7', record 'r0', variant 'max', reader 'one'"
    assert faults[-1].reason == "not a text"
    for fault in faults[:4]:
        record = fault.pair.split(", ")[1].removeprefix("record ")
        assert fault.pair.startswith("sample 's0', ")
        assert fault.reason == expected.pop(record)
    assert not expected
    remove(path, faults)
    assert find_faults(path) == []
    with closing(ScoreTable(path, "one")) as table:
        keys = [key(0, record) for record in range(4)]
        assert table.missing([*keys, key(1, 0), key(0, 0, "d")]) == keys


def test_without_a_common_length_no_value_is_trusted(path: Path) -> None:
    with closing(ScoreTable(path, "one")) as table:
        table.put([key(0, 1, "d")], [SCORES])
    reasons = [fault.reason for fault in find_faults(path) if "variant 'd'" in fault.pair]
    assert reasons == [f"{size} bytes, and the values of its variant have no common length"
                       for size in (8, 12)]  # fmt: skip


def test_a_number_without_a_name_is_found(path: Path) -> None:
    change(path, "DELETE FROM names WHERE name = 'max'")
    (fault,) = find_faults(path)
    assert fault.kind == "generations"
    assert fault.reason == "a number of the row has no name"
    assert "variant 'number " in fault.pair
    remove(path, [fault])
    assert [one.kind for one in table_facts(path)] == ["scores"]


def test_damage_to_the_file_itself_cannot_be_repaired(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 200)
    with pytest.raises(ScoreTableError, match="delete it"):
        find_faults(path)


def test_the_commands_say_what_they_find(path: Path) -> None:
    call = CliRunner().invoke
    told = call(app, ["scores", "info", str(path)])
    assert told.exit_code == 0
    assert f"{path}: {path.stat().st_size:,} bytes" in told.output
    assert "scores: 15 pairs of 2 readers, 3 samples, 4 records, 2 variants" in told.output
    assert call(app, ["scores", "verify", str(path)]).output == f"{path}: whole\n"
    break_values(path)
    told = call(app, ["scores", "verify", str(path)])
    assert told.exit_code == 1
    assert "generations: sample 's7', record 'r0', variant 'max', reader 'one': not" in told.output
    assert "5 broken rows; --repair removes them" in told.output
    told = call(app, ["scores", "verify", "--repair", str(path)])
    assert told.exit_code == 0
    assert "5 broken rows removed" in told.output
    assert call(app, ["scores", "verify", str(path)]).exit_code == 0


def test_without_a_path_the_profile_is_looked_through(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOMED_RUNS", str(tmp_path / "runs"))
    call = CliRunner().invoke
    assert "no score tables in" in call(app, ["scores", "info", "--profile", "tiny"]).output
    place = tmp_path / "runs" / "tiny" / "scores" / "t.sqlite"
    place.parent.mkdir(parents=True)
    path.rename(place)
    told = call(app, ["scores", "info", "--profile", "tiny"])
    assert told.exit_code == 0
    assert str(place) in told.output


def test_a_missing_or_foreign_file_ends_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign.sqlite"
    foreign.write_text("x" * 5000)
    for name, message in (("none.sqlite", "no such file"), ("foreign.sqlite", "damaged")):
        monkeypatch.setattr("sys.argv", ["jomed", "scores", "verify", str(tmp_path / name)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none.sqlite").exists()


def test_a_fault_is_shown_with_the_number_of_what_has_no_name(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO scores VALUES (1, 90, 91, 92, ?)", (SCORES.tobytes(),))
    (fault,) = find_faults(path)
    assert isinstance(fault, Fault)
    assert fault.row == (1, 90, 91, 92)
    assert fault.pair.startswith("sample 'number 90', record 'number 91', variant 'number 92'")


def test_looking_into_tables_loads_no_deep_learning_library() -> None:
    modules = "jomed.__main__, jomed.reading.score_checks"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", code), check=False).returncode == 0
