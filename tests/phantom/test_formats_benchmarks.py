"""The benchmark formats are read back with plain tools and counted against their writers."""

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from drawn_items import SPLITS, draw, labelled, questions, readable
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from jomed.phantom.formats import brset, medmnist, path_vqa, slake, vindr_pcxr, vqa_rad
from jomed.phantom.items import LabelItem, Planted, QuestionItem


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


def in_three_splits() -> list[QuestionItem]:
    """Invented questions of which some are about validation images."""
    return [replace(item, split=SPLITS[item.group % 3]) for item in questions()]


def test_brset_table_is_spelt_as_published(tmp_path):
    items = [replace(item, group=i // 2) for i, item in enumerate(labelled())]
    items[8:10] = [replace(item, labels=(brset.NO_FINDING,)) for item in items[8:10]]
    planted = brset.write(tmp_path, items, 1)
    data = (tmp_path / "labels_brset.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfimage_id,patient_id,camera,")
    assert data.count(b"\r\n") == data.count(b"\n") == len(items)
    assert not data.endswith(b"\n")
    text = data.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows[0]) == 34
    assert list(rows[0])[20:33] == list(brset.DISEASES)
    assert "Illuminaton" in rows[0]
    assert {"NA", "50"} <= {row["patient_age"] for row in rows}
    assert {'"diabetes, hypertension"', '"9,9"'} <= set(re.findall('"[^"]*"', text))
    blank = 0
    for row, item in zip(rows, items, strict=True):
        cells = [row[name] for name in brset.DISEASES]
        blank += "" in cells
        labels = tuple(place for place, cell in enumerate(cells) if cell == "1")
        if "" not in cells:
            assert labels == (() if item.labels == (13,) else item.labels)
        assert row["patient_id"] == str(9_001 + item.group)
    names = [row["image_id"].removesuffix(".jpg") for row in rows]
    assert sum(row["image_id"].endswith(".jpg") for row in rows) == 2
    paths = [tmp_path / "fundus_photos" / f"{name}.jpg" for name in names]
    assert [path.exists() for path in paths].count(False) == blank == 1
    assert sum(path.exists() and readable(path) for path in paths) == planted.records + 1 == 46
    assert Counter(row["exam_eye"] for row in rows) == {"1": 24, "2": 24}


def test_brset_refuses_labels_that_it_cannot_hold(tmp_path):
    for labels in ((), (14,), (0, 13)):
        with pytest.raises(ValueError, match="13 DISEASES"):
            brset.write(tmp_path, [LabelItem(draw(0), labels, 0, "")] * 20, 0)


def test_slake_lists_hold_the_questions_and_some_in_chinese(tmp_path):
    items = in_three_splits()
    planted = slake.write(tmp_path, items, 1)
    usable, orders, chinese, train = 0, set(), [], set()
    for split, name in zip(SPLITS, ("train", "validate", "test"), strict=True):
        text = (tmp_path / f"{name}.json").read_text(encoding="utf-8")
        assert "\n" not in text
        assert "标记" in text
        rows = json.loads(text)
        english = [row for row in rows if row["q_lang"] == "en"]
        chinese += [row for row in rows if row["q_lang"] == "zh"]
        train |= {row["img_name"] for row in rows if split == "train" and row["q_lang"] == "zh"}
        drawn = [item for item in items if item.split == split]
        assert [row["question"] for row in english] == [item.question for item in drawn]
        assert {row["content_type"] for row in english} == {"Quantity"}
        orders |= {tuple(row) for row in rows}
        paths = [tmp_path / "imgs" / row["img_name"] for row in english if row["answer"]]
        usable += sum(path.exists() and readable(path) for path in paths)
        modes = {mode_of(path.read_bytes()) for path in paths if path.exists()}
        assert modes - {"broken"} == {"L", "RGB"}
    assert usable == planted.records == 45
    assert len(chinese) == planted.notes["question in Chinese"] == 6
    assert train & {f"xmlab{9_001 + i.group}/source.jpg" for i in items if i.split == "test"}
    assert len(orders) > 40
    with pytest.raises(ValueError, match="no name for question types"):
        slake.write(tmp_path, [replace(item, question_type="AGE") for item in items], 0)


@pytest.mark.parametrize(
    ("write", "items", "prefixes"),
    [
        (path_vqa.write, in_three_splits(), ("train", "validation", "test")),
        (vqa_rad.write_parquet, questions(), ("train", "test")),
    ],
    ids=["path_vqa", "vqa_rad"],
)
def test_parquet_rows_hold_images_and_small_letters(write, items, prefixes, tmp_path):
    planted = write(tmp_path, items, 1)
    names = sorted(path.name for path in (tmp_path / "data").iterdir())
    shards = [f"train-0000{shard}-of-00002.parquet" for shard in (0, 1)]
    assert names == sorted([*shards, *(f"{p}-00000-of-00001.parquet" for p in prefixes[1:])])
    rows = pd.concat([pd.read_parquet(tmp_path / "data" / name) for name in names])
    asked = {item.question.lower() for item in items}
    assert len(asked - set(rows["question"])) == 1  # instead of it: what is answered by "none"
    assert list(rows["answer"]).count("none") == 1
    assert sum(answer.endswith("\t") for answer in rows["answer"]) == 2
    paths, images = zip(*((cell["path"], cell["bytes"]) for cell in rows["image"]), strict=True)
    assert 0 < paths.count(None) < len(paths)
    assert images.count(None) == 1
    modes = Counter(mode_of(image) for image in images if image is not None)
    assert modes["CMYK"] == modes["broken"] == 1
    assert modes["L"] + modes["RGB"] + 1 == planted.records == 46
    assert len(set(images)) == 16 + 3


def mode_of(encoded: bytes) -> str:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
    except OSError:
        return "broken"
    return str(image.mode)
