"""Scoring and generation for (sample, record) pairs through the score table."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from jomed.config import RunConfig
from jomed.progress import track
from jomed.reading.answers import AnswerSet
from jomed.reading.packing import ReaderError
from jomed.reading.prompts import Prompt, PromptParts, build_prompt
from jomed.reading.reader import PROMPTS_AT_ONCE, Reader
from jomed.reading.scores import GenerationTable, PairKey, PairTable, ScoreTable
from jomed.records import Record, Sample, rows_of

Pair = tuple[str, str]
"""Sample id and record id; "" is no record at all (closed book)."""

Row = TypeVar("Row", Sample, Record)
Value = TypeVar("Value")
Batches = Iterator[tuple[list[int], list[Value]]]


def table_key(reader: Reader, parts: PromptParts = "record") -> str:
    """Return the reader key of a table; prompts that show part of a record only have their own."""
    return reader.key if parts == "record" else f"{reader.key}:{parts}"


class PromptBook:
    """The prompts of the pairs between the given ids, made when they are asked for.

    Raises ReaderError for an id that is in neither data frame.
    """

    def __init__(
        self,
        samples: pd.DataFrame,
        records: pd.DataFrame,
        pairs: Iterable[Pair],
        config: RunConfig,
        parts: PromptParts = "record",
    ):
        named = list(pairs)
        shown = {record_id for _, record_id in named if record_id}
        self._samples = _by_id(samples, Sample, "sample_id", {sample_id for sample_id, _ in named})
        self._records = _by_id(records, Record, "record_id", shown)
        self._settings = config.prompt
        self._parts = parts

    def prompt(self, sample_id: str, record_id: str) -> Prompt:
        """Return the prompt of one pair."""
        record = self._records[record_id] if record_id else None
        return build_prompt(self._samples[sample_id], record, self._settings, parts=self._parts)


def score_pairs(
    reader: Reader,
    table: ScoreTable,
    samples: pd.DataFrame,
    records: pd.DataFrame,
    pairs: Sequence[Pair],
    answer_sets: Mapping[str, AnswerSet],
    config: RunConfig,
    parts: PromptParts = "record",
) -> list[np.ndarray]:
    """Return log p(c | record, sample) of every pair, float32 (|C|,) in the order of its set.

    Only pairs that the table does not hold are computed, each once, and written in blocks of
    PROMPTS_AT_ONCE: a killed run loses at most one block and goes on to the same values.
    ``answer_sets`` maps sample ids to sets. The table must belong to ``table_key(reader, parts)``.
    """
    keys = [(*pair, _answer_set(pair[0], answer_sets).key) for pair in pairs]

    def run(some: Sequence[PairKey], prompts: Sequence[Prompt]) -> Batches[np.ndarray]:
        return reader.score_batches(prompts, [answer_sets[key[0]] for key in some])

    _check_table(table, reader, parts)
    missing = table.missing(keys)
    book = PromptBook(samples, records, (key[:2] for key in missing), config, parts)
    return _through(table, keys, missing, book, run, "reader scores")


def generate_pairs(
    reader: Reader,
    table: GenerationTable,
    samples: pd.DataFrame,
    records: pd.DataFrame,
    pairs: Sequence[Pair],
    config: RunConfig,
    parts: PromptParts = "record",
) -> list[str]:
    """Return the reader's greedy answer to every pair, through the table as in ``score_pairs``.

    Answers have at most ``config.inference.max_new_tokens`` tokens.
    """
    limit = config.inference.max_new_tokens
    keys = [(*pair, f"max_new_tokens={limit}") for pair in pairs]

    def run(some: Sequence[PairKey], prompts: Sequence[Prompt]) -> Batches[str]:
        return reader.generate_batches(prompts, limit)

    _check_table(table, reader, parts)
    missing = table.missing(keys)
    book = PromptBook(samples, records, (key[:2] for key in missing), config, parts)
    return _through(table, keys, missing, book, run, "reader answers")


def _through(
    table: PairTable[Value],
    keys: Sequence[PairKey],
    missing: Sequence[PairKey],
    book: PromptBook,
    run: Callable[[Sequence[PairKey], Sequence[Prompt]], Batches[Value]],
    description: str,
) -> list[Value]:
    """Compute what is missing, write it block by block behind a progress bar, return all keys.

    Within a block the reader puts prompts into rows and these into batches. The last bit of a value
    depends on both, so a block is written as a whole or not at all: what is missing after a kill
    is then cut as without one.
    """

    def blocks() -> Iterator[PairKey]:
        for start in range(0, len(missing), PROMPTS_AT_ONCE):
            some = missing[start : start + PROMPTS_AT_ONCE]
            prompts = [book.prompt(sample_id, record_id) for sample_id, record_id, _ in some]
            found: dict[PairKey, Value] = {}
            for indices, values in run(some, prompts):
                batch = [some[i] for i in indices]
                found.update(zip(batch, values, strict=True))
                yield from batch
            table.put(list(found), list(found.values()))

    for _ in track(blocks(), description, total=len(missing)):
        pass
    known = table.get(keys)
    return [known[key] for key in keys]


def _answer_set(sample_id: str, answer_sets: Mapping[str, AnswerSet]) -> AnswerSet:
    if sample_id not in answer_sets:
        raise ReaderError(
            f"sample {sample_id} has no answer set; an open test question gets its own from the "
            "candidates' generations (pool_answer_set)"
        )
    return answer_sets[sample_id]


def _check_table(table: PairTable[Value], reader: Reader, parts: PromptParts) -> None:
    wanted = table_key(reader, parts)
    if table.reader_key != wanted:
        raise ReaderError(f"the table is that of reader {table.reader_key}, not of {wanted}")


def _by_id(frame: pd.DataFrame, cls: type[Row], column: str, wanted: set[str]) -> dict[str, Row]:
    rows = rows_of(frame[frame[column].isin(wanted)], cls)
    found = {str(getattr(row, column)): row for row in rows}
    if len(found) != len(wanted):
        absent = sorted(wanted - found.keys())
        raise ReaderError(f"{len(absent)} ids of the pairs have no {column} row: {absent[:5]}")
    return found
