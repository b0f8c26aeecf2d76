import os
import signal
from pathlib import Path

import numpy as np
import pytest
from reading_cases import killed

from jomed.reading.scores import GenerationTable, PairKey, ScoreTable


def key(number: int, variant: str = "c") -> PairKey:
    return (f"s{number // 10}", f"r{number}", variant)


def value(number: int) -> np.ndarray:
    return np.array([number, -0.1, np.pi], np.float32)


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
    assert found[key(4321)][0] == 4321


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


def test_a_batch_that_a_kill_interrupts_leaves_no_trace(tmp_path: Path) -> None:
    class Dying(ScoreTable):
        def _encode(self, value: np.ndarray) -> bytes:
            if value[0] == 4:
                # The rows before are already in the open transaction.
                self._connection.execute(
                    "INSERT INTO scores VALUES ('reader', 's', 'half', 'c', x'00')"
                )
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._encode(value)

    def work() -> None:
        table = Dying(tmp_path / "t.sqlite", "reader")
        table.put([key(1), key(2)], [value(1), value(2)])
        table.put([key(3), key(4)], [value(3), value(4)])

    assert killed(work)
    table = ScoreTable(tmp_path / "t.sqlite", "reader")
    assert len(table) == 2
    assert table.missing(map(key, range(1, 5))) == [key(3), key(4)]


def test_a_table_of_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.sqlite").write_text("not a database, but long enough to look at" * 9)
    with pytest.raises(Exception, match="not a database"):
        ScoreTable(tmp_path / "t.sqlite", "reader")
