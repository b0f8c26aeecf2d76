"""Synthetic SLAKE: three JSON lists of questions and one folder per image."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jomed.phantom.formats import SPLITS, check_splits, plant, save_jpeg, some, tally, truncate_jpeg
from jomed.phantom.items import Planted, QuestionItem

FILES = {"train": "train.json", "val": "validate.json", "test": "test.json"}
IMAGE_FOLDER = "imgs"
CONTENT_TYPES = {
    "ABN": "Abnormality",
    "PRES": "Abnormality",
    "PLANE": "Plane",
    "ORGAN": "Organ",
    "COUNT": "Quantity",
}
"""Question types of the items, as in VQA-RAD, and what SLAKE calls them."""

_MISSING, _CORRUPT, _EMPTY = "missing image", "corrupt image", "empty answer"
_BROKEN = (_MISSING, _CORRUPT, _EMPTY)
_CHINESE, _EVERY_CHINESE = "question in Chinese", 8
_FIRST_ID = 9_001
_LOCATIONS = ("Lung", "Chest_lung", "Chest_heart")
_MODALITIES = ("X-Ray", "CT", "MRI")

Row = dict[str, object]


def write(root: Path, items: Sequence[QuestionItem], seed: int) -> Planted:
    """Write `items` below `root`, the folder of the benchmark configuration.

    Items of one `group` share imgs/xmlabN/source.jpg. One question names an image that is not
    there, one a truncated file, one has an empty answer. The keys of a row have no order. Beside
    every eighth item a question in Chinese, which is no item, is added to the three files in turn,
    so that some in train show test images. Raises ValueError for an unknown split or question type.
    """
    check_splits((item.split for item in items), SPLITS, "SLAKE")
    unknown = sorted({item.question_type for item in items} - CONTENT_TYPES.keys())
    if unknown:
        raise ValueError(f"SLAKE has no name for question types {unknown}; see CONTENT_TYPES")
    rng = np.random.default_rng(seed)
    odd = plant(rng, len(items), dict.fromkeys(_BROKEN, 1))
    for group, image in {item.group: item.image for item in items}.items():
        _save_image(root, group, image)
    unused = max(item.group for item in items) + 1
    broken_group = {_MISSING: unused, _CORRUPT: unused + 1}
    counts: Counter[str] = Counter()
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for place, item in enumerate(items):
        kind = odd.get(place, "")
        group = broken_group.get(kind, item.group)
        if kind == _CORRUPT:
            truncate_jpeg(_save_image(root, group, item.image))
        answer = "" if kind == _EMPTY else item.answer
        row = _row(place, group, item, rng) | {"answer": answer}
        rows[item.split].append(_shuffled(row, rng))
        counts[kind] += 1
        if place % _EVERY_CHINESE == 0:
            translated = _row(len(items) + place, item.group, item, rng) | _chinese()
            rows[SPLITS[counts[_CHINESE] % len(SPLITS)]].append(_shuffled(translated, rng))
            counts[_CHINESE] += 1
    for split, name in FILES.items():
        (root / name).write_text(json.dumps(rows[split], ensure_ascii=False), encoding="utf-8")
    return tally(len(items), counts, _BROKEN)


def _image_name(group: int) -> str:
    return f"xmlab{_FIRST_ID + group}/source.jpg"


def _save_image(root: Path, group: int, image: np.ndarray) -> Path:
    path = root / IMAGE_FOLDER / _image_name(group)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_jpeg(path, image)
    return path


def _row(place: int, group: int, item: QuestionItem, rng: np.random.Generator) -> Row:
    return {
        "img_id": _FIRST_ID + group,
        "img_name": _image_name(group),
        "question": item.question,
        "answer": item.answer,
        "q_lang": "en",
        "location": some(rng, _LOCATIONS),
        "modality": some(rng, _MODALITIES),
        "answer_type": item.answer_type,
        "base_type": "vqa",
        "content_type": CONTENT_TYPES[item.question_type],
        "triple": ["vhead", "_", "_"],
        "qid": 90_001 + place,
    }


def _chinese() -> Row:
    """What differs where an invented question is asked in Chinese: is there a mark; there is."""
    return {
        "question": "图中有标记吗?",
        "answer": "有",
        "q_lang": "zh",
        "answer_type": "CLOSED",
        "content_type": "Abnormality",
    }


def _shuffled(row: Row, rng: np.random.Generator) -> Row:
    keys = list(row)
    return {keys[place]: row[keys[place]] for place in rng.permutation(len(keys)).tolist()}
