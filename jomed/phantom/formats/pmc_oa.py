"""Synthetic PMC-OA: one line of JSON per subfigure and one folder of JPEG files."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np

from jomed.phantom.formats import plant, save_jpeg, some, tally, truncate_jpeg
from jomed.phantom.items import Planted, RecordItem

FOLDER = "pmc_oa"
CAPTIONS_FILE = "pmc_oa.jsonl"
IMAGE_FOLDER = "caption_T060_filtered_top4_sep_v0_subfigures"
ARCHIVE = "images.zip"
DOWNLOADED = "?download=true"
"""What a download by its address leaves at the end of a file's name."""

_EMPTY, _MISSING, _CORRUPT = "empty caption", "missing image", "corrupt image"
_NO_ALIGNMENT, _PANEL = "row without alignment keys", "caption with a panel mark"
_BROKEN = (_EMPTY, _MISSING, _CORRUPT)
_ODDITIES = {**dict.fromkeys(_BROKEN, 1), _PANEL: 2}
_EVERY_NO_ALIGNMENT = 5
_PANELS = ("A. ", "(b) ")
_FIGURES = ("Fig{0}", "F{0}", "inv-0030085-g{0:03d}", "f{0}-inv")


def write(root: Path, items: Sequence[RecordItem], seed: int, packed: bool = False) -> Planted:
    """Write `items` below root/pmc_oa; their `split` plays no part, the set has one file.

    `group` is the article number of the file names. One caption is empty, one row names a file that
    is not there, one image is truncated; every fifth row has no alignment keys, two
    captions start with a panel mark, one image has no row, and the file ends in a blank line.
    `packed` leaves the set as it is downloaded: images in their archive, names with DOWNLOADED.
    """
    rng = np.random.default_rng(seed)
    odd = plant(rng, len(items), _ODDITIES)
    folder = root / FOLDER / IMAGE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    lines = []
    for place, item in enumerate(items):
        kind = odd.get(place, "")
        name = _image_name(place, item.group, rng)
        if kind != _MISSING:
            save_jpeg(folder / name, item.image)
        if kind == _CORRUPT:
            truncate_jpeg(folder / name)
        caption = {_EMPTY: "", _PANEL: some(rng, _PANELS) + item.text}.get(kind, item.text)
        row: dict[str, str | float] = {"image": name, "caption": caption}
        if place % _EVERY_NO_ALIGNMENT == 0:
            counts[_NO_ALIGNMENT] += 1
        else:
            row |= {"alignment_type": "INV", "alignment_score": round(float(rng.random()), 3)}
        counts[kind] += 1
        lines.append(json.dumps(row, ensure_ascii=False))
    save_jpeg(folder / _image_name(len(items), items[0].group, rng), items[0].image)
    text = "\n".join(lines) + "\n\n"
    (root / FOLDER / CAPTIONS_FILE).write_text(text, encoding="utf-8")
    if packed:
        _pack(root / FOLDER)
    counts.update(["image without a row", "trailing blank line"])
    return tally(len(items), counts, _BROKEN)


def _pack(home: Path) -> None:
    with ZipFile(home / f"{ARCHIVE}{DOWNLOADED}", "w") as archive:
        for path in sorted((home / IMAGE_FOLDER).iterdir()):
            # a member without the time of its file: the same items give the same bytes
            archive.writestr(ZipInfo(f"{IMAGE_FOLDER}/{path.name}"), path.read_bytes())
    shutil.rmtree(home / IMAGE_FOLDER)
    (home / CAPTIONS_FILE).rename(home / f"{CAPTIONS_FILE}{DOWNLOADED}")


def _image_name(place: int, group: int, rng: np.random.Generator) -> str:
    """File name in the form PMC<article>_<figure>_<number>.jpg, unique by its number."""
    figure = some(rng, _FIGURES).format(int(rng.integers(1, 9)))
    return f"PMC9{group:06d}_{figure}_{place + 1}.jpg"
