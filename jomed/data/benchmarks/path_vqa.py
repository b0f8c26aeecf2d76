"""PathVQA: questions about figures of pathology, as Parquet files."""

from pathlib import Path

from jomed.catalogue import BenchmarkConfig
from jomed.data.benchmarks.common import yes_or_no
from jomed.data.benchmarks.parquet import find_shards, read_questions
from jomed.data.sources import DataError
from jomed.records import Sample, Skipped
from jomed.settings import DataConfig

PREFIXES = {"train": "train", "val": "validation", "test": "test"}
_PICKLES = ("*_qa.pkl", "*_vqa.pkl")


def load(
    root: Path, benchmark: BenchmarkConfig, _settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """Read the three published splits; a question is closed if its answer is yes or no.

    That is the set's own definition. The group is the image. Raises DataError for missing or broken
    files and for the original release, whose questions are pickles.
    """
    home = root / benchmark.path
    if not find_shards(home, PREFIXES["train"], benchmark.url):
        _refuse_pickles(home, benchmark)
    return read_questions(root, benchmark, PREFIXES, yes_or_no)


def _refuse_pickles(home: Path, benchmark: BenchmarkConfig) -> None:
    found = sorted(path for name in _PICKLES for path in home.rglob(name))
    if found:
        names = ", ".join(f"data/{prefix}-*.parquet" for prefix in PREFIXES.values())
        raise DataError(
            f"{found[0]} is a Python pickle. Opening one runs whatever code is in it, so it is not "
            f"read. The same questions are in the Parquet files {names} of {benchmark.url}; put "
            f"them below {home}."
        )
