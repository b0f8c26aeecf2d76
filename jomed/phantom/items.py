"""What the synthetic world draws and the format writers put on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class RecordItem:
    """One index record: an image and the text that belongs to it.

    `image` is uint8, (H, W) gray or (H, W, 3) RGB. `group` is the patient or article number, which
    all records of one patient or article share. `split` is train, val or test; each format spells
    it in its own way.
    """

    image: np.ndarray
    text: str
    group: int
    split: str


@dataclass(frozen=True)
class LabelItem:
    """One image of a classification benchmark.

    `image` is uint8, (H, W) or (H, W, 3). `labels` are the indices of the positive classes: exactly
    one for a single-label set. `group` is the patient. `split` is train, val or test, as far as the
    data set has it, and "" where it has none.
    """

    image: np.ndarray
    labels: tuple[int, ...]
    group: int
    split: str


@dataclass(frozen=True)
class QuestionItem:
    """One question about an image of a visual question answering benchmark.

    `image` is uint8, (H, W) or (H, W, 3); `group` is the image number: questions about the same
    image share both. `answer_type` is CLOSED or OPEN, `split` is train or test.
    """

    image: np.ndarray
    question: str
    answer: str
    answer_type: str
    question_type: str
    group: int
    split: str


@dataclass(frozen=True)
class Planted:
    """What a writer put on disk, so that a test can hold a loader to it.

    `records` counts the rows that a correct loader returns, `broken` the drawn items that it must
    skip, by reason, and `notes` everything odd but readable. items drawn = records + broken.
    """

    records: int
    broken: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def drawn(self) -> int:
        """Number of items that were handed to the writer."""
        return self.records + sum(self.broken.values())
