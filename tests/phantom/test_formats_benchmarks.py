"""The benchmark formats are read back with plain tools and counted against their writers."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from drawn_items import SPLITS, draw, labelled, questions, readable
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from jomed.phantom.formats import medmnist, vindr_pcxr, vqa_rad
from jomed.phantom.items import LabelItem, Planted


@pytest.mark.parametrize("step", [0, 1])
def test_medmnist_holds_the_arrays_in_their_order(step, tmp_path):
    items = [LabelItem(draw(2 * i + step), (i % 3,), i, SPLITS[i % 3]) for i in range(9)]
    path = tmp_path / "data/invented.npz"
    assert medmnist.write(path, items, 0) == Planted(9)
    first = path.read_bytes()
    medmnist.write(path, items, 1)
    assert path.read_bytes() == first
    with np.load(path, allow_pickle=False) as members:
        assert len(members.files) == 6
        for place, split in enumerate(SPLITS):
            images, labels = members[f"{split}_images"], members[f"{split}_labels"]
            assert images.dtype == labels.dtype == np.uint8
            np.testing.assert_array_equal(images, [item.image for item in items[place::3]])
            np.testing.assert_array_equal(labels, np.full((3, 1), place))


def test_medmnist_refuses_what_the_format_cannot_hold(tmp_path):
    gray, colour = (LabelItem(draw(i), (0,), 0, "train") for i in range(2))
    with pytest.raises(ValueError, match="one shape"):
        medmnist.write(tmp_path / "a.npz", [gray, colour], 0)
    with pytest.raises(ValueError, match="one label"):
        medmnist.write(tmp_path / "a.npz", [LabelItem(draw(0), (0, 1), 0, "train")], 0)
    with pytest.raises(ValueError, match=r"\.npz"):
        medmnist.write(tmp_path, [gray], 0)


def decode(path: Path) -> np.ndarray:
    """What a correct DICOM reader shows: window, inversion, then scaling to 0..255."""
    dataset = pydicom.dcmread(path)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    values = np.asarray(values, dtype=np.float64)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = values.max() + values.min() - values
    return (values - values.min()) / np.ptp(values) * 255


def test_vindr_files_decode_to_the_drawn_images(tmp_path):
    items = labelled()
    planted = vindr_pcxr.write(tmp_path, items, 1)
    rest = {split: iter([i for i in items if i.split == split]) for split in ("train", "test")}
    failed, kinds = 0, set()
    for split, left in rest.items():
        table = pd.read_csv(tmp_path / f"image_labels_{split}.csv")
        boxes = pd.read_csv(tmp_path / f"annotations_{split}.csv")
        assert list(table) == ["image_id", "rad_ID", *vindr_pcxr.LABELS]
        assert list(boxes["image_id"]) == list(table["image_id"])
        for row, item in zip(table.itertuples(index=False), left, strict=True):
            assert re.fullmatch("[0-9a-f]{32}", row.image_id)
            assert tuple(np.flatnonzero(row[2:])) == item.labels
            path = tmp_path / split / f"{row.image_id}.dicom"
            try:
                shown = decode(path)
            except (OSError, EOFError, ValueError, AttributeError):
                failed += 1
                continue
            gray = np.asarray(Image.fromarray(item.image).convert("L"), dtype=float)
            assert np.abs(shown - gray).mean() <= 2
            header = pydicom.dcmread(path, stop_before_pixels=True)
            syntax = header.file_meta.get("TransferSyntaxUID", "")
            kinds |= {header.PhotometricInterpretation, syntax, "WindowWidth" in header}
            kinds |= {"PatientAge" in header and "age"}
    assert failed == 48 - planted.records == 2
    assert kinds >= {"MONOCHROME1", "MONOCHROME2", "", pydicom.uid.RLELossless, True, False, "age"}


def test_vindr_refuses_a_validation_split_and_unknown_labels(tmp_path):
    with pytest.raises(ValueError, match="no split val"):
        vindr_pcxr.write(tmp_path, [LabelItem(draw(0), (0,), 0, "val")] * 20, 0)
    for labels in ((), (15,)):
        with pytest.raises(ValueError, match="15 LABELS"):
            vindr_pcxr.write(tmp_path, [LabelItem(draw(0), labels, 0, "train")] * 20, 0)


def test_vqa_rad_keeps_questions_and_their_oddities(tmp_path):
    items = questions()
    planted = vqa_rad.write(tmp_path, items, 1)
    rows = json.loads((tmp_path / "VQA_RAD Dataset Public.json").read_text(encoding="utf-8"))
    assert [row["question"] for row in rows] == [item.question for item in items]
    assert [str(row["answer"]).strip() for row in rows] == [item.answer for item in items]
    for row, item in zip(rows, items, strict=True):
        assert row["phrase_type"].startswith("test_") == (item.split == "test")
    folder = tmp_path / "VQA_RAD Image Folder"
    paths = [folder / row["image_name"] for row in rows]
    assert sum(not path.exists() for path in paths) == 1
    assert sum(path.exists() and readable(path) for path in paths) == planted.records == 46
    phrases = {row["phrase_type"] for row in rows}
    assert phrases == {"freeform", "para", "test_freeform", "test_para"}
    assert sum(isinstance(row["answer"], int) for row in rows) == 5
    assert sum(row["answer_type"] == "OPEN " for row in rows) == 2
    assert sum(str(row["answer"]).endswith("\t") for row in rows) == 3
    assert sum(isinstance(row["qid"], str) for row in rows) == 1
