"""Synthetic VQA-RAD: one JSON list of questions and a folder of JPEG files, or Parquet files."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jomed.phantom.formats import check_splits, plant, save_jpeg, some, tally, truncate_jpeg
from jomed.phantom.formats.parquet import write_questions
from jomed.phantom.items import Planted, QuestionItem

QUESTIONS_FILE = "VQA_RAD Dataset Public.json"
IMAGE_FOLDER = "VQA_RAD Image Folder"

_MISSING, _CORRUPT = "missing image", "corrupt image"
_TAB, _SPACE, _TEXT_QID = "answer with a tab", "answer type with a space", "question id as text"
_ODDITIES = {_MISSING: 1, _CORRUPT: 1, _TAB: 3, _SPACE: 2, _TEXT_QID: 1}
_INT_ANSWER = "answer as a number"
_INT_ANSWERS = 5
_FIRST_IMAGE = 90_000
_PHRASES = {"train": ("freeform", "para"), "test": ("test_freeform", "test_para")}
_ORGANS = ("HEAD", "CHEST", "ABD")


def write(root: Path, items: Sequence[QuestionItem], seed: int) -> Planted:
    """Write `items` below `root`, the folder of the benchmark configuration.

    Items of one `group` share the file synpicN.jpg. Two questions lose their image: one names a
    file that is not there, one a truncated file. A few answers are numbers or end in a tab, two
    answer types end in a space, one question id is text. Raises ValueError for an unknown split.
    """
    check_splits((item.split for item in items), tuple(_PHRASES), "VQA-RAD")
    rng = np.random.default_rng(seed)
    odd = plant(rng, len(items), _ODDITIES)
    folder = root / IMAGE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for group, image in {item.group: item.image for item in items}.items():
        save_jpeg(folder / _image_name(group), image)
    unused = max(item.group for item in items) + 1
    broken_group = {_MISSING: unused, _CORRUPT: unused + 1}
    counts: Counter[str] = Counter()
    rows = []
    for place, item in enumerate(items):
        row = _row(place, item, rng)
        kind = odd.get(place, "")
        if kind in broken_group:
            row["image_name"] = _image_name(broken_group[kind])
        if kind == _CORRUPT:
            save_jpeg(folder / _image_name(broken_group[kind]), item.image)
            truncate_jpeg(folder / _image_name(broken_group[kind]))
        counts[kind] += 1
        counts[_INT_ANSWER] += _make_odd(row, kind, counts[_INT_ANSWER] < _INT_ANSWERS)
        rows.append(row)
    text = json.dumps(rows, ensure_ascii=False, indent=1)
    (root / QUESTIONS_FILE).write_text(text, encoding="utf-8")
    return tally(len(items), counts, (_MISSING, _CORRUPT))


def write_parquet(root: Path, items: Sequence[QuestionItem], seed: int) -> Planted:
    """Write `items` as the Parquet release, which has no types; see `write_questions`."""
    return write_questions(root, items, {split: split for split in _PHRASES}, seed)


def _image_name(group: int) -> str:
    return f"synpic{_FIRST_IMAGE + group}.jpg"


def _row(place: int, item: QuestionItem, rng: np.random.Generator) -> dict[str, str | int]:
    freeform, para = _PHRASES[item.split]
    return {
        "qid": 90_001 + place,
        "phrase_type": para if place % 3 == 2 else freeform,
        "qid_linked_id": f"00000000-0000-0000-0000-{place:012d}",
        "image_case_url": (
            "https://medpix.nlm.nih.gov/case?id=00000000-0000-0000-0000-"
            f"{_FIRST_IMAGE + item.group:012d}"
        ),
        "image_name": _image_name(item.group),
        "image_organ": some(rng, _ORGANS),
        "evaluation": "not evaluated",
        "question": item.question,
        "question_rephrase": "NULL",
        "question_relation": "NULL",
        "question_frame": "NULL",
        "question_type": item.question_type,
        "answer": item.answer,
        "answer_type": item.answer_type,
    }


def _make_odd(row: dict[str, str | int], kind: str, may_be_number: bool) -> bool:
    """Spoil one row as `kind` says; True when its answer became a number."""
    if kind == _TAB:
        row["answer"] = f"{row['answer']}\t"
    elif kind == _SPACE:
        row["answer_type"] = f"{row['answer_type']} "
    elif kind == _TEXT_QID:
        row["qid"] = str(row["qid"])
    elif may_be_number and not kind and str(row["answer"]).isdecimal():
        row["answer"] = int(row["answer"])
        return True
    return False
