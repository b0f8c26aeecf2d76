"""SLAKE: English questions about radiographs and slices, closed and open."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from jomed.catalogue import BenchmarkConfig
from jomed.data.archives import list_members
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
from jomed.data.sources import DataError, MissingData
from jomed.records import Sample, Skipped
from jomed.settings import DataConfig

FILES = {"train": "train.json", "val": "validate.json", "test": "test.json"}
IMAGES = "imgs"
ARCHIVE = "imgs.zip"
PREFIXES = {"train": "train", "val": "validation", "test": "test"}
_KEYS = ("qid", "img_name", "question", "answer", "q_lang", "answer_type", "content_type")


def load(
    root: Path, benchmark: BenchmarkConfig, _settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """Read the three published splits from the original JSON or, without it, from Parquet files.

    Images are taken from a folder or, without unpacking it, from the archive. Questions in Chinese
    are skipped. The question type is the published content type, the group the
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
    rows: list[tuple[str, str, dict[str, Any]]] = []
    skipped: list[Skipped] = []
    members = None if (home / IMAGES).is_dir() else _packed(home / ARCHIVE)
    for split, name in FILES.items():
        for place, row in enumerate(read_rows(home / name, benchmark)):
            reason, detail = _problem(row)
            image = None if reason else _image(home, members, str(row["img_name"]))
            if not reason and image is None:
                reason, detail = "missing image", str(row["img_name"])
            if image is None:
                item = item_name(row, f"{name} row {place}")
                skipped.append(Skipped(benchmark.name, item, reason, detail))
            else:
                rows.append((split, f"{benchmark.path}/{image}", row))
    if members is not None and not members:
        raise MissingData(f"{home} has no {IMAGES} and no {ARCHIVE}; get it from {benchmark.url}.")
    return _samples(rows, benchmark), skipped


def _packed(archive: Path) -> set[str]:
    """Names of the files in the archive; none where there is no archive."""
    try:
        return {member.name for member in list_members(archive)} if archive.is_file() else set()
    except BadZipFile as error:
        raise DataError(f"{archive} is not a whole zip file; download it again.") from error


def _image(home: Path, members: set[str] | None, name: str) -> str | None:
    """Address of an image in the folder, or in the archive where there is none; None if absent."""
    path = f"{IMAGES}/{name}"
    if members is None:
        return path if (home / path).is_file() else None
    return f"{ARCHIVE}::{path}" if path in members else None


def _problem(row: Any) -> tuple[str, str]:
    if isinstance(row, dict) and row.get("q_lang") not in (None, "en"):
        return "other language", repr(row["q_lang"])
    return question_problem(row, _KEYS)


def _samples(
    rows: list[tuple[str, str, dict[str, Any]]], benchmark: BenchmarkConfig
) -> list[Sample]:
    names = numbered(f"{benchmark.name}:{row['qid']}" for *_, row in rows)
    return [
        Sample(
            sample_id=sample_id,
            benchmark=benchmark.name,
            split=split,
            image=image,
            question=text_of(row, "question"),
            answer=text_of(row, "answer"),
            answer_type=answer_type(row),
            question_type=str(row["content_type"]).strip(),
            group=str(row["img_name"]),
            image_sha="",
            image_phash="",
        )
        for sample_id, (split, image, row) in zip(names, rows, strict=True)
    ]
