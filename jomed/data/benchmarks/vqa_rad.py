"""VQA-RAD: questions about radiological images, closed and open."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jomed.catalogue import BenchmarkConfig
from jomed.data.benchmarks.common import hold_out
from jomed.data.sources import DataError, MissingData, clean_text
from jomed.records import Sample, Skipped
from jomed.settings import DataConfig

QUESTIONS = "VQA_RAD Dataset Public.json"
IMAGES = "VQA_RAD Image Folder"
_SPLITS = {"freeform": "train", "para": "train", "test_freeform": "test", "test_para": "test"}
_ANSWER_TYPES = ("closed", "open")
_KEYS = ("qid", "phrase_type", "image_name", "question", "question_type", "answer", "answer_type")
_TYPOS = {"ATRIB": "ATTRIB", "PRSE": "PRES"}


def load(
    root: Path, benchmark: BenchmarkConfig, settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """Read the original JSON; `phrase_type` decides train or test, as published.

    `settings.val_share` of the training images become the validation split, so that no image is in
    both; test images occur among the training images by the set's design. The group is the image.
    Whether a question is closed is what the data say, also where the answer is not yes or no.
    Raises DataError when the JSON is missing or is not the list of questions.
    """
    rows: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    for place, row in enumerate(_read(root / benchmark.path / QUESTIONS, benchmark)):
        reason, detail = _problem(row)
        if not reason and not (root / _image(benchmark, row)).is_file():
            reason, detail = "missing image", row["image_name"]
        if reason:
            item = row.get("qid") if isinstance(row, dict) else None
            skipped.append(Skipped(benchmark.name, str(item or f"row {place}"), reason, detail))
        else:
            rows.append(row)
    train = [row["image_name"] for row in rows if _SPLITS[row["phrase_type"].strip()] == "train"]
    held_out = hold_out(train, settings.val_share, benchmark.name)
    return _samples(rows, held_out, benchmark), skipped


def _read(path: Path, benchmark: BenchmarkConfig) -> Sequence[Any]:
    if not path.is_file():
        raise MissingData(f"{path} is missing; get {benchmark.title} from {benchmark.url}.")
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); get it again: {benchmark.url}.") from error
    if not isinstance(rows, list):
        raise DataError(f"{path} holds a {type(rows).__name__}, not the list of questions.")
    return rows


def _problem(row: Any) -> tuple[str, str]:
    """Reason and detail why a row cannot become a sample; both "" if it can."""
    if not isinstance(row, dict):
        return "unreadable row", "not a JSON object"
    absent = [key for key in _KEYS if not isinstance(row.get(key), str | int)]
    if absent:
        return "unreadable row", f"no {', '.join(absent)}"
    if str(row["phrase_type"]).strip() not in _SPLITS:
        return "unknown split", f"phrase_type {row['phrase_type']!r}"
    if str(row["answer_type"]).strip().lower() not in _ANSWER_TYPES:
        return "unknown answer type", repr(row["answer_type"])
    if not clean_text(str(row["answer"])) or not clean_text(str(row["question"])):
        return "empty text", "no question or no answer"
    return "", ""


def _image(benchmark: BenchmarkConfig, row: dict[str, Any]) -> str:
    return f"{benchmark.path}/{IMAGES}/{row['image_name']}"


def _samples(
    rows: Sequence[dict[str, Any]], held_out: set[str], benchmark: BenchmarkConfig
) -> list[Sample]:
    samples: list[Sample] = []
    seen: Counter[str] = Counter()
    for row in rows:
        qid, image = str(row["qid"]), row["image_name"]
        seen[qid] += 1
        split = _SPLITS[row["phrase_type"].strip()]
        samples.append(
            Sample(
                sample_id=f"{benchmark.name}:{qid}" + (f"#{seen[qid]}" if seen[qid] > 1 else ""),
                benchmark=benchmark.name,
                split="val" if split == "train" and image in held_out else split,
                image=_image(benchmark, row),
                question=clean_text(str(row["question"])),
                answer=clean_text(str(row["answer"])),
                answer_type=row["answer_type"].strip().lower(),
                question_type=_question_type(str(row["question_type"])),
                group=image,
                image_sha="",
                image_phash="",
            )
        )
    return samples


def _question_type(raw: str) -> str:
    """Capitals, known typing errors mended: "Other" -> "OTHER", "PRES,POS" -> "PRES, POS"."""
    parts = [part.strip().upper() for part in raw.split(",")]
    return ", ".join(_TYPOS.get(part, part) for part in parts if part)
