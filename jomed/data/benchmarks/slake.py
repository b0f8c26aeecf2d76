"""SLAKE: English questions about radiographs and slices, closed and open."""

from pathlib import Path
from typing import Any

from jomed.catalogue import BenchmarkConfig
from jomed.data.benchmarks.common import yes_or_no
from jomed.data.benchmarks.parquet import (
    find_shards,
    read_questions,
    warn_of_guesses,
)
from jomed.data.benchmarks.questions import (
    answer_type,
    item_name,
    numbered,
    question_problem,
    read_rows,
    text_of,
)
from jomed.data.sources import MissingData
from jomed.records import Sample, Skipped
from jomed.settings import DataConfig

FILES = {"train": "train.json", "val": "validate.json", "test": "test.json"}
IMAGES = "imgs"
PREFIXES = {"train": "train", "val": "validation", "test": "test"}
_KEYS = ("qid", "img_name", "question", "answer", "q_lang", "answer_type", "content_type")


def load(
    root: Path, benchmark: BenchmarkConfig, _settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """Read the three published splits from the original JSON or, without it, from Parquet files.

    Questions in Chinese are skipped. The question type is the published content type, the group the
    image. Parquet files have neither type: closed are the questions with the answer yes or no, and
    a warning says so. Raises DataError when files are missing or broken.
    """
    home = root / benchmark.path
    original = any((home / name).is_file() for name in FILES.values())
    if original or not find_shards(home, PREFIXES["train"], benchmark.url):
        return _from_json(root, benchmark)
    samples, skipped = read_questions(root, benchmark, PREFIXES, yes_or_no)
    remedy = f"The original release has them: {', '.join(FILES.values())} and {IMAGES}."
    warn_of_guesses(benchmark, len(samples), len(samples), remedy)
    return samples, skipped


def _from_json(root: Path, benchmark: BenchmarkConfig) -> tuple[list[Sample], list[Skipped]]:
    home = root / benchmark.path
    rows: list[tuple[str, dict[str, Any]]] = []
    skipped: list[Skipped] = []
    for split, name in FILES.items():
        for place, row in enumerate(read_rows(home / name, benchmark)):
            reason, detail = _problem(row)
            if not reason and not (root / _image(benchmark, row)).is_file():
                reason, detail = "missing image", str(row["img_name"])
            if reason:
                item = item_name(row, f"{name} row {place}")
                skipped.append(Skipped(benchmark.name, item, reason, detail))
            else:
                rows.append((split, row))
    if not (home / IMAGES).is_dir():
        raise MissingData(
            f"{home / IMAGES} is missing; unpack {IMAGES}.zip of {benchmark.url} in {home}."
        )
    return _samples(rows, benchmark), skipped


def _problem(row: Any) -> tuple[str, str]:
    if isinstance(row, dict) and row.get("q_lang") not in (None, "en"):
        return "other language", repr(row["q_lang"])
    return question_problem(row, _KEYS)


def _image(benchmark: BenchmarkConfig, row: dict[str, Any]) -> str:
    return f"{benchmark.path}/{IMAGES}/{row['img_name']}"


def _samples(rows: list[tuple[str, dict[str, Any]]], benchmark: BenchmarkConfig) -> list[Sample]:
    names = numbered(f"{benchmark.name}:{row['qid']}" for _, row in rows)
    return [
        Sample(
            sample_id=sample_id,
            benchmark=benchmark.name,
            split=split,
            image=_image(benchmark, row),
            question=text_of(row, "question"),
            answer=text_of(row, "answer"),
            answer_type=answer_type(row),
            question_type=str(row["content_type"]).strip(),
            group=str(row["img_name"]),
            image_sha="",
            image_phash="",
        )
        for sample_id, (split, row) in zip(names, rows, strict=True)
    ]
