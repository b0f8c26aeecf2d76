"""Synthetic ROCOv2: per split three CSV files and a folder of JPEG files, and a licence file."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from jomed.phantom.formats import SPLITS, check_splits, plant, save_jpeg, some, tally, truncate_jpeg
from jomed.phantom.formats.roco import LICENCES, concept, keywords
from jomed.phantom.items import Planted, RecordItem

FOLDER = "rocov2"
_NAMES = {"train": "train", "val": "valid", "test": "test"}
_UNPACKED = {"train": "train", "val": "valid_images/valid", "test": "test_images"}
"""Image folders as three ways to unpack an archive leave them."""
_FIRST_ID = 990_001

_MISSING, _CORRUPT = "missing image", "corrupt image"
_QUOTED, _ONE_CONCEPT = "caption with a comma and a new line", "a single concept"
_BROKEN = (_MISSING, _CORRUPT)
_ODDITIES = {**dict.fromkeys(_BROKEN, 1), _QUOTED: 2, _ONE_CONCEPT: 2}
_PREFIX = "Invented figure,\n"


def write(root: Path, items: Sequence[RecordItem], seed: int) -> Planted:
    """Write `items` below root/rocov2; `group` is the article number of the licence file.

    One image is missing, one is cut short. Two captions start with a line of their own that holds a
    comma; all are quoted as CSV needs it, and the first file has a byte order mark. Every split is
    unpacked in another way. Concepts are joined by ";", and two rows have but one.
    """
    check_splits((item.split for item in items), SPLITS, "ROCOv2")
    rng = np.random.default_rng(seed)
    odd = plant(rng, len(items), _ODDITIES)
    counts: Counter[str] = Counter()
    captions: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    concepts: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    names: dict[str, str] = {}
    rights = []
    for split in SPLITS:
        (root / FOLDER / _UNPACKED[split]).mkdir(parents=True, exist_ok=True)
    for place, item in enumerate(items):
        kind = odd.get(place, "")
        name = f"ROCOv2_2023_{_NAMES[item.split]}_{_FIRST_ID + place}"
        path = root / FOLDER / _UNPACKED[item.split] / f"{name}.jpg"
        if kind != _MISSING:
            save_jpeg(path, item.image)
        if kind == _CORRUPT:
            truncate_jpeg(path)
        captions[item.split].append([name, (_PREFIX if kind == _QUOTED else "") + item.text])
        words = keywords(item.text)
        names |= {concept(word): word for word in words}
        cuis = [concept(word) for word in words[: 1 if kind == _ONE_CONCEPT else None]]
        concepts[item.split].append([name, ";".join(cuis)])
        licence = f"{some(rng, LICENCES)} [Invented et al. (2020)]"
        article = f"PMC9{item.group:06d}"
        rights.append([name, article, f"https://example.org/{article}/{place}", licence])
        counts[kind] += 1
    _save_tables(root / FOLDER, captions, concepts)
    _save(root / FOLDER / "cui_mapping.csv", ["CUI", "Canonical name"], names.items())
    columns = ["ID", "PMCID", "Link", "Attribution"]
    _save(root / FOLDER / "license_information.csv", columns, rights)
    return tally(len(items), counts, _BROKEN)


def _save_tables(
    folder: Path, captions: dict[str, list[list[str]]], concepts: dict[str, list[list[str]]]
) -> None:
    for split, name in _NAMES.items():
        encoding = "utf-8-sig" if split == SPLITS[0] else "utf-8"
        _save(folder / f"{name}_captions.csv", ["ID", "Caption"], captions[split], encoding)
        for kind in ("concepts", "concepts_manual"):
            _save(folder / f"{name}_{kind}.csv", ["ID", "CUIs"], concepts[split])


def _save(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[str]], encoding: str = "utf-8"
) -> None:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
