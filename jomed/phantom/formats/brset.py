"""Synthetic BRSET: one label table and a folder of JPEG files."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jomed.phantom.formats import plant, save_jpeg, some, tally, truncate_jpeg
from jomed.phantom.items import LabelItem, Planted

TABLE = "labels_brset.csv"
IMAGE_FOLDER = "fundus_photos"
DISEASES = (
    "diabetic_retinopathy",
    "macular_edema",
    "scar",
    "nevus",
    "amd",
    "vascular_occlusion",
    "hypertensive_retinopathy",
    "drusens",
    "hemorrhage",
    "retinal_detachment",
    "myopic_fundus",
    "increased_cup_disc",
    "other",
)
"""Columns of the labels, in the order and spelling of the data set."""

NO_FINDING = len(DISEASES)
"""The label of an image without any disease, which has no column."""

_MISSING, _CORRUPT, _BLANK = "missing image", "corrupt image", "blank label"
_BROKEN = (_MISSING, _CORRUPT, _BLANK)
_SUFFIXED = "image id with .jpg"
_ODDITIES = {**dict.fromkeys(_BROKEN, 1), _SUFFIXED: 2}
_NO_DISEASE = "image without a disease"
_FIRST_IMAGE, _FIRST_PATIENT = 90_001, 9_001
_CAMERAS = ("Canon CR", "NIKON NF5050")
_AGES = ("50", "NA", "8", "71")
_COMORBIDITIES = ("diabetes, hypertension", "0", "", "invented disease, diabetes")
_YEARS = ("9,9", "", "NA", "10", "1O")
_DISCS = ("1", "2", "1", "bv")


def write(root: Path, items: Sequence[LabelItem], seed: int) -> Planted:
    """Write `items` below `root`, the folder of the benchmark configuration.

    `labels` are places in DISEASES or NO_FINDING alone, `group` is the patient; the set has no
    splits, so that of an item plays no part. The table starts with a byte order mark, has Windows
    line ends and none at its end, ages "NA", lists in quotes and decimal commas. One image is
    missing, one cut short, one row has a blank label. Raises ValueError for other labels.
    """
    rng = np.random.default_rng(seed)
    odd = plant(rng, len(items), _ODDITIES)
    folder = root / IMAGE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    eyes: Counter[int] = Counter()
    rows: list[dict[str, str]] = []
    for place, item in enumerate(items):
        kind, image_id = odd.get(place, ""), f"img{_FIRST_IMAGE + place:05d}"
        eyes[item.group] += 1
        labels = _labels(item.labels)
        if kind == _BLANK:
            labels[DISEASES[0]] = ""
        if kind != _MISSING:
            save_jpeg(folder / f"{image_id}.jpg", item.image)
        if kind == _CORRUPT:
            truncate_jpeg(folder / f"{image_id}.jpg")
        name = f"{image_id}.jpg" if kind == _SUFFIXED else image_id
        rows.append(_row(name, item, eyes[item.group], labels, rng))
        counts.update([kind, *([_NO_DISEASE] if item.labels == (NO_FINDING,) else [])])
    (root / TABLE).write_bytes(_table(rows))
    return tally(len(items), counts, _BROKEN)


def _labels(labels: tuple[int, ...]) -> dict[str, str]:
    if labels != (NO_FINDING,) and (not labels or not set(labels) <= set(range(NO_FINDING))):
        raise ValueError(
            f"labels {labels}: give places in the {NO_FINDING} DISEASES, or {NO_FINDING} alone"
        )
    return {name: "1" if place in labels else "0" for place, name in enumerate(DISEASES)}


def _row(
    image_id: str, item: LabelItem, eye: int, labels: dict[str, str], rng: np.random.Generator
) -> dict[str, str]:
    """One row in the column order of the data set; all but ids, eye and labels is drawn."""
    grade = labels[DISEASES[0]] or "0"
    return {
        "image_id": image_id,
        "patient_id": str(_FIRST_PATIENT + item.group),
        "camera": some(rng, _CAMERAS),
        "patient_age": some(rng, _AGES),
        "comorbidities": some(rng, _COMORBIDITIES),
        "diabetes_time_y": some(rng, _YEARS),
        "insuline": some(rng, ("yes", "no", "")),
        "patient_sex": str(1 + item.group % 2),
        "exam_eye": str(eye),
        "diabetes": some(rng, ("yes", "no")),
        "nationality": "Brazil",
        "optic_disc": some(rng, _DISCS),
        "vessels": some(rng, ("1", "2")),
        "macula": some(rng, ("1", "2")),
        "DR_SDRG": grade,
        "DR_ICDR": grade,
        "focus": "1",
        "Illuminaton": some(rng, ("1", "2")),
        "image_field": "1",
        "artifacts": some(rng, ("1", "2")),
        **labels,
        "quality": some(rng, ("Adequate", "Inadequate")),
    }


def _table(rows: Sequence[dict[str, str]]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().removesuffix("\r\n").encode("utf-8-sig")
