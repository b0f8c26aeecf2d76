import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reading_cases import killed, make_config, record_frame, sample_frame

from jomed.reading import scoring
from jomed.reading.answers import AnswerSet
from jomed.reading.packing import ReaderError
from jomed.reading.prompts import Prompt
from jomed.reading.reader import Reader
from jomed.reading.scores import GenerationTable, ScoreTable
from jomed.reading.scoring import generate_pairs, score_pairs, table_key

SAMPLES = sample_frame(
    {"sample_id": "s1", "image": "a.png", "question": "is it?"},
    {"sample_id": "s2", "image": "b.png", "question": "which?"},
)
RECORDS = record_frame(
    {"record_id": "r1", "image": "c.png", "text": "one"},
    {"record_id": "r2", "image": "d.png", "text": "another text"},
)
SETS = {"s1": AnswerSet(("0", "1")), "s2": AnswerSet(("left", "right side"))}
PAIRS = [("s2", "r1"), ("s1", "r2"), ("s1", ""), ("s2", "r1"), ("s1", "r1")]


class StubReader:
    """Minus the number in a prompt's question; batches of two; logs what it scores.

    It dies before the batch ``die_after``, counted over all calls, and says NaN for ``nan_at``.
    """

    key = "stub"

    def __init__(self, log: Path, die_after: int | None = None, nan_at: int | None = None):
        self.log = log
        self.die_after = die_after
        self.nan_at = nan_at
        self.done = 0

    def score_batches(
        self, prompts: Sequence[Prompt], answer_sets: Sequence[AnswerSet]
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        for start in range(0, len(prompts), 2):
            if self.done == self.die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            self.done += 1
            batch = list(range(start, min(start + 2, len(prompts))))
            with self.log.open("a") as file:
                shown = [f"{prompts[i].question} {prompts[i].record_text}" for i in batch]
                file.write(json.dumps(shown) + "\n")
            numbers = [int(prompts[i].question) for i in batch]
            values = [np.nan if number == self.nan_at else -number for number in numbers]
            yield batch, [np.full(2, value, np.float32) for value in values]


def logged(log: Path) -> list[list[str]]:
    """The batches that stub readers scored."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def many(count: int) -> tuple[pd.DataFrame, pd.DataFrame, list[tuple[str, str]]]:
    samples = sample_frame(*({"sample_id": f"s{i}", "question": f"{i}"} for i in range(count)))
    records = record_frame(*({"record_id": f"r{i}", "text": f"text {i}"} for i in range(3)))
    pairs = [(f"s{i}", f"r{j}") for i in range(count) for j in range(3)]
    return samples, records, pairs * 2


def run(reader: Any, path: Path, count: int = 7) -> list[np.ndarray]:
    samples, records, pairs = many(count)
    sets = dict.fromkeys(samples["sample_id"], AnswerSet(("0", "1")))
    table = ScoreTable(path, "stub")
    return score_pairs(reader, table, samples, records, pairs, sets, make_config())


def test_after_a_kill_each_pair_has_been_scored_exactly_once(tmp_path: Path) -> None:
    """Killed between two calls, as between two refreshes of stage 2."""
    log, path = tmp_path / "log", tmp_path / "t.sqlite"
    run(StubReader(log), path, count=4)
    assert killed(lambda: run(StubReader(log, die_after=0), path) and None)
    assert len(ScoreTable(path, "stub")) == 12
    scores = run(StubReader(log), path)
    counts = Counter(shown for batch in logged(log) for shown in batch)
    assert len(counts) == 21
    assert set(counts.values()) == {1}
    assert [row.tolist() for row in scores] == [
        [-i, -i] for _ in "ab" for i in range(7) for _ in "abc"
    ]


@pytest.mark.parametrize("die_after", range(9))
def test_after_a_kill_the_rest_is_cut_into_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, die_after: int
) -> None:
    """21 pairs in blocks of 5, that is batches of 2, 2 and 1 pairs."""
    monkeypatch.setattr(scoring, "PROMPTS_AT_ONCE", 5)
    whole, resumed, path = tmp_path / "whole", tmp_path / "resumed", tmp_path / "t.sqlite"
    run(StubReader(whole), tmp_path / "whole.sqlite")
    assert [len(batch) for batch in logged(whole)] == [2, 2, 1] * 4 + [1]
    assert killed(lambda: run(StubReader(tmp_path / "log", die_after), path) and None)
    assert len(ScoreTable(path, "stub")) == die_after // 3 * 5
    run(StubReader(resumed), path)
    assert logged(resumed) == logged(whole)[die_after // 3 * 3 :]


def test_a_score_that_is_not_finite_ends_the_run_and_keeps_the_blocks_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "PROMPTS_AT_ONCE", 5)
    path = tmp_path / "t.sqlite"
    pairs, variant = many(7)[2], AnswerSet(("0", "1")).key
    for _ in "ab":
        with pytest.raises(ReaderError, match="sample 's4' with record 'r0' are not finite"):
            run(StubReader(tmp_path / "log", nan_at=4), path)
        table = ScoreTable(path, "stub")
        assert table.missing([(*pair, variant) for pair in pairs[:10]]) == []
        assert len(table) == 10


def test_windows_give_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(StubReader(tmp_path / "log"), tmp_path / "one.sqlite")
    monkeypatch.setattr(scoring, "PROMPTS_AT_ONCE", 5)
    in_windows = run(StubReader(tmp_path / "log"), tmp_path / "many.sqlite")
    np.testing.assert_array_equal(in_windows, expected)


def test_scores_come_in_the_order_of_the_pairs(reader: Reader, tmp_path: Path) -> None:
    table = ScoreTable(tmp_path / "t.sqlite", reader.key)
    scores = score_pairs(reader, table, SAMPLES, RECORDS, PAIRS, SETS, make_config())
    prompts = {
        ("s2", "r1"): Prompt("c.png", "one", "b.png", "which?"),
        ("s1", "r2"): Prompt("d.png", "another text", "a.png", "is it?"),
        ("s1", ""): Prompt(None, None, "a.png", "is it?"),
        ("s1", "r1"): Prompt("c.png", "one", "a.png", "is it?"),
    }
    for pair, values in zip(PAIRS, scores, strict=True):
        expected = reader.score([prompts[pair]], SETS[pair[0]])[0]
        np.testing.assert_allclose(values, expected, atol=1e-4)
    assert len(table) == 4


def test_a_full_table_needs_no_reader(
    load_reader: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = load_reader("qwen2_vl")
    table = ScoreTable(tmp_path / "t.sqlite", reader.key)
    arguments = (reader, table, SAMPLES, RECORDS, PAIRS, SETS, make_config())
    first = score_pairs(*arguments)
    monkeypatch.setattr(reader, "score_batches", None)
    monkeypatch.setattr(reader.packer, "pack", None)
    for one, two in zip(first, score_pairs(*arguments), strict=True):
        np.testing.assert_array_equal(one, two)


def test_parts_of_a_record_are_kept_apart(
    load_reader: Callable[..., Reader], tmp_path: Path
) -> None:
    reader, config = load_reader("qwen2_vl"), make_config()
    pairs, path = [("s1", "r1")], tmp_path / "t.sqlite"
    whole = ScoreTable(path, table_key(reader))
    caption = ScoreTable(path, table_key(reader, "caption"))
    with pytest.raises(ReaderError, match="the table is that of reader"):
        score_pairs(reader, whole, SAMPLES, RECORDS, pairs, SETS, config, parts="caption")
    score_pairs(reader, whole, SAMPLES, RECORDS, pairs, SETS, config)
    only = score_pairs(reader, caption, SAMPLES, RECORDS, pairs, SETS, config, parts="caption")
    expected = reader.score([Prompt(None, "one", "a.png", "is it?")], SETS["s1"])
    np.testing.assert_allclose(only, expected, atol=1e-4)


def test_generations_are_kept_and_come_in_order(
    load_reader: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, config = load_reader("qwen2_vl"), make_config(inference__max_new_tokens=3)
    table = GenerationTable(tmp_path / "t.sqlite", reader.key)
    texts = generate_pairs(reader, table, SAMPLES, RECORDS, PAIRS, config)
    assert (
        texts[0] == texts[3] == reader.generate([Prompt("c.png", "one", "b.png", "which?")], 3)[0]
    )
    assert texts[2] == reader.generate([Prompt(None, None, "a.png", "is it?")], 3)[0]
    monkeypatch.setattr(reader, "generate_batches", None)
    assert generate_pairs(reader, table, SAMPLES, RECORDS, PAIRS[:2], config) == texts[:2]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("s1", "r9"), "record_id row: .'r9'"),
        (("s9", "r1"), "sample s9 has no answer set"),
    ],
)
def test_unknown_ids_are_named(pair: tuple[str, str], message: str, tmp_path: Path) -> None:
    stub: Any = StubReader(tmp_path / "log")
    table = ScoreTable(tmp_path / "t.sqlite", "stub")
    with pytest.raises(ReaderError, match=message):
        score_pairs(stub, table, SAMPLES, RECORDS, [pair], SETS, make_config())
