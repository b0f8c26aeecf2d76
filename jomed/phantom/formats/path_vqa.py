"""Synthetic PathVQA: Parquet files of three splits."""

from collections.abc import Sequence
from pathlib import Path

from jomed.phantom.formats.parquet import write_questions
from jomed.phantom.items import Planted, QuestionItem

PREFIXES = {"train": "train", "val": "validation", "test": "test"}


def write(root: Path, items: Sequence[QuestionItem], seed: int) -> Planted:
    """Write `items` below `root`, the folder of the benchmark configuration.

    What is odd and what is broken says `write_questions`. The set has no types of questions.
    """
    return write_questions(root, items, PREFIXES, seed)
