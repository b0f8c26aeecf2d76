"""The general-purpose split: image-text pairs with reading questions, for pre-training only.

No benchmark sample and no index record is in it. The tiny encoder learns from its pairs, the tiny
readers from its questions about texts.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

FOLDER = "general"


@dataclass(frozen=True, slots=True)
class GeneralPair:
    """An image (address below the data root), its text, and questions about the text.

    `tasks` holds (question, answer) pairs whose answers can be read off `text`, `sights` those
    about the look of the image: body part and acquisition, never the finding.
    """

    image: str
    text: str
    tasks: tuple[tuple[str, str], ...]
    sights: tuple[tuple[str, str], ...]


def write_general(root: Path, images: Sequence[np.ndarray], pairs: Sequence[GeneralPair]) -> None:
    """Write root/general: images.npz (N, S, S, 3) and pairs.jsonl."""
    folder = root / FOLDER
    folder.mkdir(parents=True)
    np.savez(folder / "images.npz", images=np.stack(images))
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(pair)) + "\n" for pair in pairs)


def read_general(root: Path) -> list[GeneralPair]:
    """Read the pairs of root/general in order."""
    with (root / FOLDER / "pairs.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        GeneralPair(
            row["image"],
            row["text"],
            tuple((q, a) for q, a in row["tasks"]),
            tuple((q, a) for q, a in row["sights"]),
        )
        for row in rows
    ]


def general_address(position: int) -> str:
    """The image address of the pair at a position of the general split."""
    return f"{FOLDER}/images.npz::images/{position}"
