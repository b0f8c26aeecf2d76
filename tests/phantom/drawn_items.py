"""Invented items for the tests of the format writers, and a way to see whether a file opens."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from jomed.phantom.items import LabelItem, QuestionItem, RecordItem

SPLITS = ("train", "val", "test")


def draw(place: int, size: int = 28) -> np.ndarray:
    """A smooth image, gray for even places and RGB for odd ones, that no other place has."""
    ramp = np.add.outer(np.arange(size) * 3, np.arange(size) * (1 + place % 5)) + place
    gray = (ramp % 256 if place % 3 else 255 - ramp % 256).astype(np.uint8)
    return gray if place % 2 == 0 else np.stack([gray, 255 - gray, gray // 2], axis=-1)


def records(count: int = 48) -> list[RecordItem]:
    """Two per patient or article; half of these are in train, the others in val and test."""
    splits = [SPLITS[max(0, i // 2 % 4 - 1)] for i in range(count)]
    text = "Upright view of invented lung number {}. The field around it is of no concern."
    return [RecordItem(draw(i), text.format(i), i // 2, splits[i]) for i in range(count)]


def labelled(count: int = 48) -> list[LabelItem]:
    return [
        LabelItem(draw(i), (i % 5,) if i % 7 else (1, 4), i, "test" if i % 3 == 0 else "train")
        for i in range(count)
    ]


def questions(count: int = 48) -> list[QuestionItem]:
    return [
        QuestionItem(
            draw(i // 3),
            f"How many rings, {i}?",
            str(i % 4),
            "OPEN",
            "COUNT",
            i // 3,
            SPLITS[-(i % 2)],
        )
        for i in range(count)
    ]


def readable(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, UnidentifiedImageError):
        return False
    return True
