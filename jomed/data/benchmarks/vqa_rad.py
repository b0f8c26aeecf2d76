"""VQA-RAD: questions about radiological images, closed and open."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jomed.catalogue import BenchmarkConfig
from jomed.data.benchmarks.common import hold_out_samples, yes_or_no
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
from jomed.records import Sample, Skipped
from jomed.settings import DataConfig

QUESTIONS = "VQA_RAD Dataset Public.json"
IMAGES = "VQA_RAD Image Folder"
PREFIXES = {"train": "train", "test": "test"}
_SPLITS = {"freeform": "train", "para": "train", "test_freeform": "test", "test_para": "test"}
_KEYS = ("qid", "phrase_type", "image_name", "question", "question_type", "answer", "answer_type")
_TYPOS = {"ATRIB": "ATTRIB", "PRSE": "PRES"}


def load(
    root: Path, benchmark: BenchmarkConfig, settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """Read the original JSON and its images or, where one of them is not there, Parquet files.

    `settings.val_share` of the training images become the validation split, so that no image is in
    both; test images occur among the training images by the set's design. The group is the image.
    Whether a question is closed is what the data say, also where the answer is not yes or no. The
    Parquet files do not say it: the original JSON beside them does, by question and answer; where
    it does not, yes and no are closed, and a warning says so. Raises DataError when files are
    missing or broken.
    """
    home = root / benchmark.path
    original = (home / QUESTIONS).is_file() and (home / IMAGES).is_dir()
    if not original and find_shards(home, PREFIXES["train"], benchmark.url):
        samples, skipped = _from_parquet(root, benchmark)
    else:
        samples, skipped = _from_json(root, benchmark)
    return hold_out_samples(samples, settings.val_share, benchmark.name), skipped


def _from_parquet(root: Path, benchmark: BenchmarkConfig) -> tuple[list[Sample], list[Skipped]]:
    types = _published_types(root / benchmark.path / QUESTIONS, benchmark)

    def judge(question: str, answer: str) -> str:
        return types.get((question.lower(), answer.lower())) or yes_or_no(question, answer)

    samples, skipped = read_questions(root, benchmark, PREFIXES, judge)
    guessed = sum((s.question.lower(), s.answer.lower()) not in types for s in samples)
    if guessed:
        remedy = f"Put the published {QUESTIONS} beside the folder data."
        warn_of_guesses(benchmark, guessed, len(samples), remedy)
    return samples, skipped


def _published_types(path: Path, benchmark: BenchmarkConfig) -> dict[tuple[str, str], str]:
    """(question, answer) in small letters -> closed or open; empty without the original JSON."""
    rows = read_rows(path, benchmark) if path.is_file() else []
    return {
        (text_of(row, "question").lower(), text_of(row, "answer").lower()): answer_type(row)
        for row in rows
        if not question_problem(row, _KEYS)[0]
    }


def _from_json(root: Path, benchmark: BenchmarkConfig) -> tuple[list[Sample], list[Skipped]]:
    rows: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    for place, row in enumerate(read_rows(root / benchmark.path / QUESTIONS, benchmark)):
        reason, detail = _problem(row)
        if not reason and not (root / _image(benchmark, row)).is_file():
            reason, detail = "missing image", str(row["image_name"])
        if reason:
            item = item_name(row, f"row {place}")
            skipped.append(Skipped(benchmark.name, item, reason, detail))
        else:
            rows.append(row)
    return _samples(rows, benchmark), skipped


def _problem(row: Any) -> tuple[str, str]:
    reason, detail = question_problem(row, _KEYS)
    if not reason and str(row["phrase_type"]).strip() not in _SPLITS:
        return "unknown split", f"phrase_type {row['phrase_type']!r}"
    return reason, detail


def _image(benchmark: BenchmarkConfig, row: dict[str, Any]) -> str:
    return f"{benchmark.path}/{IMAGES}/{row['image_name']}"


def _samples(rows: Sequence[dict[str, Any]], benchmark: BenchmarkConfig) -> list[Sample]:
    names = numbered(f"{benchmark.name}:{row['qid']}" for row in rows)
    return [
        Sample(
            sample_id=sample_id,
            benchmark=benchmark.name,
            split=_SPLITS[row["phrase_type"].strip()],
            image=_image(benchmark, row),
            question=text_of(row, "question"),
            answer=text_of(row, "answer"),
            answer_type=answer_type(row),
            question_type=_question_type(str(row["question_type"])),
            group=str(row["image_name"]),
            image_sha="",
            image_phash="",
        )
        for sample_id, row in zip(names, rows, strict=True)
    ]


def _question_type(raw: str) -> str:
    """Capitals, known typing errors mended: "Other" -> "OTHER", "PRES,POS" -> "PRES, POS"."""
    parts = [part.strip().upper() for part in raw.split(",")]
    return ", ".join(_TYPOS.get(part, part) for part in parts if part)
