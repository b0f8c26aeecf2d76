"""Synthetic VinDr-PCXR: DICOM radiographs of children with label and box tables."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RLELossless,
)

from jomed.phantom.formats import check_splits, plant, some, tally, to_gray
from jomed.phantom.items import LabelItem, Planted

SPLITS = ("train", "test")
LABELS = (
    "No finding",
    "Bronchitis",
    "Brocho-pneumonia",
    "Other disease",
    "Bronchiolitis",
    "Situs inversus",
    "Pneumonia",
    "Pleuro-pneumonia",
    "Diagphramatic hernia",
    "Tuberculosis",
    "Congenital emphysema",
    "CPAM",
    "Hyaline membrane disease",
    "Mediastinal tumor",
    "Lung tumor",
)
"""Columns of the label tables, in the order and spelling of the data set."""

BOXES = ("class_name", "x_min", "y_min", "x_max", "y_max")
LOCAL_FINDINGS = ("Bronchial thickening", "Other opacity", "Consolidation", "Cardiomegaly")

_MISSING, _TRUNCATED = "missing image", "truncated DICOM"
_NO_SYNTAX = "file without TransferSyntaxUID"
_ODDITIES = {_MISSING: 1, _TRUNCATED: 1, _NO_SYNTAX: 1}
_NO_AGE = "missing PatientAge"
_PLAIN, _INVERTED, _WINDOWED, _RLE = "MONOCHROME2", "MONOCHROME1", "12-bit with window", "RLE"
_ENCODINGS = (_PLAIN, _INVERTED, _WINDOWED, _PLAIN, _RLE, _PLAIN, _INVERTED, _PLAIN)
_EVERY_NO_AGE = 5
_AGES = ("003Y", "005M", "012D", "009Y")
_WINDOW_TOP, _INTERCEPT = 16 * 255, -1024


def write(root: Path, items: Sequence[LabelItem], seed: int) -> Planted:
    """Write `items` below `root`, the folder of the benchmark configuration.

    `labels` are places in LABELS. RGB images are written as luminance. Two corner pixels are set to
    0 and 255 so that scaling by the extreme values gives the drawn image back. One image of the
    label table has no file and one file is cut short; photometric interpretation, bit depth,
    compression and absent elements vary among the readable ones. Raises ValueError for a validation
    split, which the set does not have, and for a label outside LABELS.
    """
    check_splits((item.split for item in items), SPLITS, "VinDr-PCXR")
    rng = np.random.default_rng(seed)
    odd = plant(rng, len(items), _ODDITIES)
    for split in SPLITS:
        (root / split).mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    label_rows: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    box_rows: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    for place, item in enumerate(items):
        image_id = f"{'f' * 8}{rng.bytes(12).hex()}"
        key = [image_id, f"R{rng.integers(1, 4)}"]
        kind = odd.get(place, "")
        path = root / item.split / f"{image_id}.dicom"
        counts.update(_save(path, item.image, place, kind, rng))
        label_rows[item.split].append(key + _one_hot(item.labels))
        box_rows[item.split].append(key + _box(item, rng))
    for split in SPLITS:
        _table(root / f"image_labels_{split}.csv", LABELS, label_rows[split])
        _table(root / f"annotations_{split}.csv", BOXES, box_rows[split])
    return tally(len(items), counts, (_MISSING, _TRUNCATED))


def _one_hot(labels: tuple[int, ...]) -> list[str]:
    if not labels or any(label not in range(len(LABELS)) for label in labels):
        raise ValueError(f"labels {labels}: give at least one place in the {len(LABELS)} LABELS")
    return ["1.0" if place in labels else "0.0" for place in range(len(LABELS))]


def _box(item: LabelItem, rng: np.random.Generator) -> list[str]:
    """One row of the box table; the box is invented, no column for it exists in the items."""
    if item.labels == (0,):
        return [LABELS[0], "", "", "", ""]
    height, width = item.image.shape[:2]
    left, top = rng.uniform(0.1, 0.4, size=2) * (width, height)
    right, bottom = rng.uniform(0.6, 0.9, size=2) * (width, height)
    return [some(rng, LOCAL_FINDINGS), *(f"{edge:.2f}" for edge in (left, top, right, bottom))]


def _table(path: Path, columns: Sequence[str], rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image_id", "rad_ID", *columns])
        writer.writerows(rows)


def _save(
    path: Path, image: np.ndarray, place: int, kind: str, rng: np.random.Generator
) -> list[str]:
    """Write one file as `place` and `kind` say and name everything odd about it."""
    if kind == _MISSING:
        return [kind]
    encoding = _PLAIN if kind else _ENCODINGS[place % len(_ENCODINGS)]
    age = None if place % _EVERY_NO_AGE == 0 else some(rng, _AGES)
    dataset = _dataset(path, image, encoding, age)
    if kind == _NO_SYNTAX:
        del dataset.file_meta.TransferSyntaxUID
        dataset.save_as(path, implicit_vr=False, little_endian=True)
    else:
        dataset.save_as(path, enforce_file_format=True)
    if kind == _TRUNCATED:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        return [kind]
    return [name for name in (encoding, kind, "" if age else _NO_AGE) if name]


def _dataset(path: Path, image: np.ndarray, encoding: str, age: str | None) -> FileDataset:
    """A monochrome radiograph with 12 stored bits that decodes to the luminance of `image`."""
    shown = to_gray(image).astype(np.uint16)
    shown[0, 0], shown[0, -1] = 0, 255
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = UID(f"2.25.{int(path.stem, 16)}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    if age is not None:
        dataset.PatientAge = age
    inverted = encoding == _INVERTED
    dataset.PhotometricInterpretation = _INVERTED if inverted else _PLAIN
    dataset.SamplesPerPixel = 1
    dataset.Rows, dataset.Columns = shown.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    stored = 16 * (255 - shown if inverted else shown)
    if encoding == _WINDOWED:
        stored[0, -1] = 4095  # brighter than the window, shown as white
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, _INTERCEPT
        dataset.WindowWidth = _WINDOW_TOP + 1
        dataset.WindowCenter = (_WINDOW_TOP + 1) / 2 + _INTERCEPT
    dataset.PixelData = stored.astype("<u2").tobytes()
    if encoding == _RLE:
        dataset.compress(RLELossless, generate_instance_uid=False)
    return dataset
