"""Forms in which data sets are published or kept that have no place in the drawn world.

The world holds each set once, and what runs on it has its numbers; what a set may look like beside
that is written here, by the same writers, for whoever tests a loader.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from jomed.config import load_config
from jomed.phantom.formats import medmnist, mimic_cxr, pmc_oa, roco, rocov2, slake, to_gray, vqa_rad
from jomed.phantom.items import LabelItem, Planted, QuestionItem, RecordItem
from jomed.phantom.lexicon import BREAST, CHEST, FUNDUS
from jomed.phantom.world import MIXED, label_items, question_items, record_items
from jomed.settings import WorldConfig

LARGE = 224
"""Image side of the largest file of MedMNIST."""

NUMBERS = 4
"""Answers to counting questions are below this."""

_SPLITS = ("train", "train", "train", "train", "val", "test")

Drawn = TypeVar("Drawn", RecordItem, LabelItem, QuestionItem)


def write_variants(world: WorldConfig, root: Path) -> dict[str, Planted]:
    """Write each variant into a data root of its own; what it holds by its name, SET/VARIANT.

    ROCO, ROCOv2 and MIMIC-CXR with records in all three splits, the last with its tables unpacked
    too; PMC-OA as downloaded; MedMNIST of 224 pixels, in colour and grey; SLAKE with grey images
    beside coloured ones; VQA-RAD with numbers for answers, and as Parquet. The same settings give
    the same files.
    """
    chest, seed = ((CHEST, 1.0),), world.seed
    figures = in_splits(record_items(world, "roco", MIXED))
    studies = in_splits(record_items(world, "mimic_cxr", chest))
    large = world.model_copy(update={"image_size": LARGE})
    asked = {name: question_items(world, name) for name in ("slake", "vqa_rad")}
    eyes = label_items(large, "retina", FUNDUS)
    breasts = gray(label_items(large, "breast", BREAST))

    def home(variant: str, size: int | None = None) -> Path:
        path = PurePosixPath(load_config(benchmark=variant.partition("/")[0]).benchmark.path)
        return root / variant / (path.with_stem(f"{path.stem}_{size}") if size else path)

    return {
        "roco/splits": roco.write(root / "roco/splits", figures, seed),
        "rocov2/splits": rocov2.write(root / "rocov2/splits", figures, seed),
        "mimic_cxr/splits": mimic_cxr.write(root / "mimic_cxr/splits", studies, seed),
        "mimic_cxr/plain": mimic_cxr.write(root / "mimic_cxr/plain", studies, seed, plain=True),
        "pmc_oa/packed": pmc_oa.write(root / "pmc_oa/packed", figures, seed, packed=True),
        "retina/large": medmnist.write(home("retina/large", LARGE), eyes, seed),
        "breast/large": medmnist.write(home("breast/large", LARGE), breasts, seed),
        "slake/gray": slake.write(home("slake/gray"), gray(asked["slake"], every=2), seed),
        "vqa_rad/numbers": vqa_rad.write(home("vqa_rad/numbers"), counted(asked["vqa_rad"]), seed),
        "vqa_rad/parquet": vqa_rad.write_parquet(home("vqa_rad/parquet"), asked["vqa_rad"], seed),
    }


def in_splits(items: Sequence[RecordItem]) -> list[RecordItem]:
    """The items with two of every six patients or articles outside the training split."""
    return [replace(item, split=_SPLITS[item.group % len(_SPLITS)]) for item in items]


def gray(items: Sequence[Drawn], every: int = 1) -> list[Drawn]:
    """The items with the images of every so many groups as (H, W) luminance."""
    return [
        item if item.group % every else replace(item, image=to_gray(item.image)) for item in items
    ]


def counted(items: Sequence[QuestionItem]) -> list[QuestionItem]:
    """The items with a number for the answer of each open question."""
    question = "how many invented marks are there?"
    return [
        replace(item, question=question, answer=str(place % NUMBERS), question_type="COUNT")
        if item.answer_type == "OPEN"
        else item
        for place, item in enumerate(items)
    ]
