"""Synthetic ROCO: per split six text files of captions, keywords and licences, and JPEG files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from jomed.phantom.formats import SPLITS, check_splits, plant, save_jpeg, some, tally, truncate_jpeg
from jomed.phantom.items import Planted, RecordItem

FOLDER = "roco-dataset"
_SPLIT_FOLDERS = {"train": "train", "val": "validation", "test": "test"}
_FIRST_ID = 90_001
LICENCES = ("CC BY", "CC BY-NC-SA", "CC BY-NC", "NO-CC CODE", "CC BY-NC-ND", "CC0")
_SEMANTIC_TYPES = (
    ("T060", "Diagnostic Procedure"),
    ("T023", "Body Part, Organ, or Organ Component"),
    ("T047", "Disease or Syndrome"),
)

_MISSING, _TRUNCATED, _CMYK = "missing image", "truncated JPEG", "CMYK JPEG"
_QUOTE, _NBSP = "caption starting with a quote", "caption ending in a no-break space"
_NO_KEYWORDS = "empty keywords"
_BROKEN = (_MISSING, _TRUNCATED)
_ODDITIES = {**dict.fromkeys(_BROKEN, 1), _CMYK: 1, _QUOTE: 2, _NBSP: 2, _NO_KEYWORDS: 1}
_PMC_NAME, _EVERY_PMC_NAME = "image named by PMC id", 7
_EVERY_TWO_SPACES = 50
_WORDS_AS_KEYWORDS = 3


@dataclass
class _Files:
    """Lines of the six text files of one folder."""

    captions: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    cuis: list[str] = field(default_factory=list)
    semtypes: list[str] = field(default_factory=list)
    dlinks: list[str] = field(default_factory=list)
    licences: list[str] = field(default_factory=lambda: ["ROCO_ID,PMC_ID,CC"])

    def save(self, folder: Path) -> None:
        for name, lines in vars(self).items():
            text = "".join(f"{line}\n" for line in lines)
            (folder / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")


def write(root: Path, items: Sequence[RecordItem], seed: int) -> Planted:
    """Write `items` below root/roco-dataset; `group` is the article number of the licence file.

    One image is missing, one is cut short. Some images carry their PMC name instead of the ROCO
    name, one is CMYK; captions start with spaces, two with an unbalanced quote, two end in a
    no-break space; one row has no keywords. A non-radiology folder holds one row that is no item.
    """
    check_splits((item.split for item in items), SPLITS, "ROCO")
    rng = np.random.default_rng(seed)
    odd = plant(rng, len(items), _ODDITIES)
    counts: Counter[str] = Counter()
    files = {split: _Files() for split in SPLITS}
    for split in SPLITS:
        (_folder(root, split) / "images").mkdir(parents=True, exist_ok=True)
    for place, item in enumerate(items):
        kind = odd.get(place, "")
        pmc_named = not kind and place % _EVERY_PMC_NAME == 0
        pmc_name = _add_row(files[item.split], place, item, kind, rng)
        path = _folder(root, item.split) / "images"
        path /= pmc_name if pmc_named else f"{_roco_id(place)}.jpg"
        if kind != _MISSING:
            save_jpeg(path, item.image, "CMYK" if kind == _CMYK else None)
        if kind == _TRUNCATED:
            truncate_jpeg(path)
        counts.update([kind, *([_PMC_NAME] if pmc_named else [])])
    for split, lines in files.items():
        lines.save(_folder(root, split))
    _write_decoy(root, len(items), items[0], rng)
    counts["non-radiology row"] += 1
    return tally(len(items), counts, _BROKEN)


def _folder(root: Path, split: str, kind: str = "radiology") -> Path:
    return root / FOLDER / "data" / _SPLIT_FOLDERS[split] / kind


def _roco_id(place: int) -> str:
    return f"ROCO_{_FIRST_ID + place:05d}"


def _add_row(
    files: _Files, place: int, item: RecordItem, kind: str, rng: np.random.Generator
) -> str:
    """Add one row to each text file; returns the image's PMC name."""
    row = _roco_id(place)
    article = f"PMC9{item.group:06d}"
    figure = f"inv-0001-{place + 1:04d}-g{int(rng.integers(1, 9)):02d}.jpg"
    words = [] if kind == _NO_KEYWORDS else keywords(item.text)
    types = _SEMANTIC_TYPES[: len(words)]
    quote, end = '"' if kind == _QUOTE else "", "\u00a0" if kind == _NBSP else ""
    space = "  " if place % _EVERY_TWO_SPACES == 0 else " "
    files.captions.append(f"{row}\t{space}{quote}{item.text}{end}")
    files.keywords.append(_listed(row, words))
    files.cuis.append(_listed(row, [concept(word) for word in words]))
    files.semtypes.append(_listed(row, [part for pair in types for part in pair]))
    address = f"ftp://ftp.ncbi.nlm.nih.gov/pub/pmc/oa_package/00/00/{article}.tar.gz"
    files.dlinks.append(f"{row}\twget -r {address} -P /path/to/Dir\t{figure}")
    files.licences.append(f"{row},{article}_{figure},{some(rng, LICENCES)}")
    return f"{article}_{figure}"


def keywords(text: str) -> list[str]:
    """The first few longer words of a text, as its keywords."""
    words = [word.lower() for word in text.split() if len(word) > 3 and word.isalpha()]
    return list(dict.fromkeys(words))[:_WORDS_AS_KEYWORDS]


def concept(word: str) -> str:
    """A concept number (CUI) for a word, outside the range of real ones."""
    return f"C99{sum(word.encode()):05d}"


def _listed(row: str, values: list[str]) -> str:
    """A row with a double tab before its values, or a single one when it has none."""
    return "\t".join([row, "", *values]) if values else f"{row}\t"


def _write_decoy(root: Path, place: int, item: RecordItem, rng: np.random.Generator) -> None:
    """One row of a folder that is not radiology and must not reach an index."""
    folder = _folder(root, "test", "non-radiology")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    files = _Files()
    _add_row(files, place, replace(item, text="Invented flow chart of a study."), "", rng)
    files.save(folder)
    save_jpeg(folder / "images" / f"{_roco_id(place)}.jpg", item.image)
