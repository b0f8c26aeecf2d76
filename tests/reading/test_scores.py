import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from reading_cases import killed

from jomed.reading import score_files
from jomed.reading.packing import ReaderError
from jomed.reading.score_checks import find_faults
from jomed.reading.scores import GenerationTable, PairKey, ScoreTable, ScoreTableError


def key(number: int, variant: str = "c") -> PairKey:
    return (f"s{number // 10}", f"r{number}", variant)


def value(number: int) -> np.ndarray:
    return np.array([-number, -0.1, -np.pi], np.float32)


def test_values_come_back_exactly_and_by_their_own_key(tmp_path: Path) -> None:
    table = ScoreTable(tmp_path / "t.sqlite", "reader")
    table.put([key(1), key(1, "d")], [value(1), value(2)])
    found = table.get([key(1), key(1, "d"), key(2)])
    assert found.keys() == {key(1), key(1, "d")}
    assert found[key(1)].dtype == np.float32
    np.testing.assert_array_equal(found[key(1)], value(1))
    assert ScoreTable(tmp_path / "t.sqlite", "other").get([key(1)]) == {}


def test_missing_pairs_are_named_once_in_order(tmp_path: Path) -> None:
    table = ScoreTable(tmp_path / "t.sqlite", "reader")
    table.put([key(2)], [value(2)])
    assert table.missing([key(3), key(2), key(1), key(3)]) == [key(3), key(1)]


def test_a_known_pair_keeps_its_value(tmp_path: Path) -> None:
    table = ScoreTable(tmp_path / "t.sqlite", "reader")
    table.put([key(1)], [value(1)])
    table.put([key(1)], [value(9)])
    np.testing.assert_array_equal(table.get([key(1)])[key(1)], value(1))


def test_thousands_of_pairs_are_read_at_once(tmp_path: Path) -> None:
    table = ScoreTable(tmp_path / "t.sqlite", "reader")
    keys = [key(number) for number in range(5000)]
    table.put(keys, [value(number) for number in range(5000)])
    found = table.get(keys)
    assert len(found) == len(table) == 5000
    assert found[key(4321)][0] == -4321


def test_two_connections_see_each_other(tmp_path: Path) -> None:
    one, two = (ScoreTable(tmp_path / "t.sqlite", "reader") for _ in range(2))
    one.put([key(1)], [value(1)])
    two.get([key(1)])
    one.put([key(2)], [value(2)])
    assert len(two.get([key(1), key(2)])) == 2
    two.put([key(3)], [value(3)])
    assert len(one) == 3


def test_generations_have_a_table_of_their_own(tmp_path: Path) -> None:
    texts = GenerationTable(tmp_path / "t.sqlite", "reader")
    texts.put([key(1), key(2)], ["Müller's node", ""])
    assert texts.get([key(1), key(2)]) == {key(1): "Müller's node", key(2): ""}
    assert len(ScoreTable(tmp_path / "t.sqlite", "reader")) == 0
    texts.close()


@pytest.mark.parametrize("steps", [1, 50, 500, 2000, 5000, 9000])
def test_what_a_kill_interrupts_leaves_no_trace(tmp_path: Path, steps: int) -> None:
    """The second block is killed after some steps of SQLite's machine: names, half of the rows."""
    keys = [key(number) for number in range(200)]
    values = [value(number) for number in range(200)]

    def die() -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def work() -> None:
        table = ScoreTable(tmp_path / "t.sqlite", "reader")
        table.put(keys[:100], values[:100])
        table._connection.set_progress_handler(die, steps)
        table.put(keys[100:], values[100:])

    assert killed(work)
    table = ScoreTable(tmp_path / "t.sqlite", "reader")
    assert len(table) == 100
    assert table.missing(keys) == keys[100:]
    table.put(keys, values)
    assert [-table.get(keys)[one][0] for one in keys] == list(range(200))
    assert find_faults(tmp_path / "t.sqlite") == []


def test_kills_at_random_moments_leave_whole_blocks(tmp_path: Path) -> None:
    path, rng = tmp_path / "t.sqlite", random.Random(0)
    blocks = [[key(block * 50 + i) for i in range(50)] for block in range(400)]

    def work() -> None:
        table = ScoreTable(path, "reader")
        for block in blocks:
            table.put(block, [value(0)] * 50)

    known = 0
    for _ in range(8):
        child = os.fork()
        if child == 0:
            try:
                work()
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.01, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with closing(ScoreTable(path, "reader")) as table:
            there = [50 - len(table.missing(block)) for block in blocks]
        assert set(there) <= {0, 50}
        assert sum(there) >= known
        known = sum(there)
    assert known


def test_two_processes_fill_one_table(tmp_path: Path) -> None:
    """Both write all pairs, in opposite orders, blocks of different sizes."""
    path, keys = tmp_path / "t.sqlite", [key(number) for number in range(1000)]

    def fill(order: list[PairKey], size: int) -> None:
        table = ScoreTable(path, "reader")
        for start in range(0, len(order), size):
            some = order[start : start + size]
            table.put(some, [value(int(name[1][1:])) for name in some])

    children = []
    for order, size in ((keys, 7), (keys[::-1], 11)):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                fill(order, size)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    table = ScoreTable(path, "reader")
    found = table.get(keys)
    assert len(table) == len(found) == 1000
    for number, one in enumerate(keys):
        np.testing.assert_array_equal(found[one], value(number))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_never_written(tmp_path: Path, wrong: float) -> None:
    table = ScoreTable(tmp_path / "t.sqlite", "reader")
    table.put([key(1)], [value(1)])
    broken = np.array([-1, wrong], np.float32)
    with pytest.raises(ReaderError, match="sample 's1' with record 'r12' are not finite"):
        table.put([key(2), key(12)], [value(2), broken])
    assert table.missing([key(1), key(2), key(12)]) == [key(2), key(12)]


def test_fifteen_answers_take_little_space(tmp_path: Path) -> None:
    """5 million of them have to stay under 1 GiB: 214 bytes each."""
    path, scores = tmp_path / "t.sqlite", np.full(15, -1, np.float32)
    names = [f"mimic_cxr:s{number:08d}-0123456789abcdef" for number in range(200)]
    keys = [(f"vindr_pcxr:{s:032d}", names[(s * 7 + r) % 200], "c" * 16)
            for s in range(200) for r in range(100)]  # fmt: skip
    with closing(ScoreTable(path, "f" * 16)) as table:
        for start in range(0, len(keys), 1024):
            some = keys[start : start + 1024]
            table.put(some, [scores] * len(some))
    assert path.stat().st_size / len(keys) < 150


def former_layout(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE scores (reader_key TEXT, value BLOB)")


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE other (a TEXT)")


def later_layout(path: Path) -> None:
    ScoreTable(path, "reader").close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def filled(path: Path) -> None:
    with closing(ScoreTable(path, "reader")) as table:
        table.put([key(n) for n in range(5000)], [value(n) for n in range(5000)])


def cut_off(path: Path) -> None:
    filled(path)
    os.truncate(path, path.stat().st_size // 2)


def cut_in_a_page(path: Path) -> None:
    filled(path)
    os.truncate(path, path.stat().st_size - 1000)


def not_a_database(path: Path) -> None:
    path.write_text("not a database, but long enough to look at" * 9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (former_layout, "former layout; delete it"),
        (other_database, "not a score table"),
        (later_layout, "layout 99.*update jomed"),
        (cut_off, "damaged or was cut off; delete it"),
        (cut_in_a_page, "cut off in the middle of a page; delete it"),
        (not_a_database, "damaged or was cut off; delete it"),
    ],
)
def test_a_file_that_is_no_whole_score_table_is_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "t.sqlite"
    make(path)
    with pytest.raises(ScoreTableError, match=f"t.sqlite: .*{message}"):
        ScoreTable(path, "reader")


def test_damage_inside_a_file_is_said_where_it_is_met(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    filled(path)
    with path.open("r+b") as file:
        for page in range(4, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    table = ScoreTable(path, "reader")
    for broken in (
        lambda: table.get([key(n) for n in range(5000)]),
        lambda: table.put([key(9999)], [value(1)]),
        lambda: len(table),
    ):
        with pytest.raises(ScoreTableError, match="damaged or was cut off; delete it"):
            broken()


def test_a_broken_value_names_its_pair(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    with closing(ScoreTable(path, "reader")) as table:
        table.put([key(1)], [value(1)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE scores SET value = x'0102'")
    with pytest.raises(ScoreTableError, match=r"sample 's0' with record 'r1'.*--repair"):
        ScoreTable(path, "reader").get([key(1)])


def test_a_table_that_another_process_holds_is_said_to_be_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_files, "_WAIT_SECONDS", 0.05)
    path = tmp_path / "t.sqlite"
    table = ScoreTable(path, "reader")
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ScoreTableError, match="locked: another process has held the file"):
            table.put([key(1)], [value(1)])
    table.put([key(1)], [value(1)])
    assert len(table) == 1
