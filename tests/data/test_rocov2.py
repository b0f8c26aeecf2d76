from pathlib import Path

import pytest
from tiny_sets import data_config, load_records, reasons, save_jpeg

from jomed.data.sources import DataError

TRAIN = (
    '\ufeffID,Caption\nROCOv2_2023_train_990001,"Chest X-ray, invented right effusion (arrow)."\n'
    'ROCOv2_2023_train_990002,"Two lines,\nthe second ""quoted""."\n'
    "ROCOv2_2023_train_990003,No image here.\nROCOv2_2023_train_990004,CT\n"
    "ROCOv2_2023_train_990005\n"
)
VALID = "Caption ,id\r\nInvented µ-CT.,ROCOv2_2023_valid_990001\r\n"
TEST = "ID,Caption\nROCOv2_2023_test_990001,\nROCOv2_2023_test_990002,Invented knee.\n"
RIGHTS = (
    "ID,PMCID,Link,Attribution\n"
    "ROCOv2_2023_train_990001,PMC9000001,https://x,CC BY [Invented et al. (2020)]\n"
    "ROCOv2_2023_test_990002,PMC9000002,https://x,CC BY-NC\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "rocov2"
    home.mkdir()
    for split, text in {"train": TRAIN, "valid": VALID, "test": TEST}.items():
        (home / f"{split}_captions.csv").write_text(text, encoding="utf-8", newline="")
    for name in ("1", "2", "4"):
        save_jpeg(home / f"train/ROCOv2_2023_train_99000{name}.jpg", int(name))
    save_jpeg(home / "valid_images/valid/ROCOv2_2023_valid_990001.jpg", 5)
    save_jpeg(home / "test_images/ROCOv2_2023_test_990002.jpg", 6)
    (home / "license_information.csv").write_text(RIGHTS, encoding="utf-8")
    return tmp_path


def test_captions_and_every_way_to_unpack(root: Path) -> None:
    records, _ = load_records("rocov2", root, data_config())
    assert [record.text for record in records] == [
        "Chest X-ray, invented right effusion (arrow).",
        'Two lines, the second "quoted".',
        "Invented µ-CT.",
        "Invented knee.",
    ]
    assert [record.image for record in records] == [
        "rocov2/train/ROCOv2_2023_train_990001.jpg",
        "rocov2/train/ROCOv2_2023_train_990002.jpg",
        "rocov2/valid_images/valid/ROCOv2_2023_valid_990001.jpg",
        "rocov2/test_images/ROCOv2_2023_test_990002.jpg",
    ]
    assert records[0].record_id == "rocov2:ROCOv2_2023_train_990001"
    nested = root / "rocov2/train_images"
    nested.mkdir()
    (root / "rocov2/train").rename(nested / "train")
    again, _ = load_records("rocov2", root, data_config())
    assert again[0].image == "rocov2/train_images/train/ROCOv2_2023_train_990001.jpg"


def test_licence_and_article(root: Path) -> None:
    records, _ = load_records("rocov2", root, data_config())
    assert [(record.group, record.licence) for record in records] == [
        ("PMC9000001", "CC BY"),
        ("ROCOv2_2023_train_990002", "unknown"),
        ("ROCOv2_2023_valid_990001", "unknown"),
        ("PMC9000002", "CC BY-NC"),
    ]


@pytest.mark.parametrize("rights", [None, "a,b\n1,2\n", "ID,Source\nROCOv2_2023_train_990001,x\n"])
def test_a_licence_that_is_not_understood_is_unknown(root: Path, rights: str | None) -> None:
    path = root / "rocov2/license_information.csv"
    path.unlink()
    if rights is not None:
        path.write_text(rights)
    records, _ = load_records("rocov2", root, data_config())
    assert {record.licence for record in records} == {"unknown"}
    assert records[0].group == "ROCOv2_2023_train_990001"


def test_everything_left_out_has_a_reason(root: Path) -> None:
    _, skipped = load_records("rocov2", root, data_config())
    assert reasons(skipped) == {
        "ROCOv2_2023_train_990003": "missing image",
        "ROCOv2_2023_train_990004": "short text",
        "line 7": "unreadable row",
        "ROCOv2_2023_test_990001": "empty text",
    }
    details = [item.detail for item in skipped]
    assert details[0] == "train_captions.csv, line 5: no ROCOv2_2023_train_990003.jpg"
    assert details[2] == "train_captions.csv, line 7: 1 cells below a header of 2"


def test_missing_split_and_missing_set(root: Path, tmp_path: Path) -> None:
    (root / "rocov2/valid_captions.csv").unlink()
    records, skipped = load_records("rocov2", root, data_config())
    assert len(records) == 3
    assert reasons(skipped)["valid"] == "missing split"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"ROCOv2 is not below.*zenodo"):
        load_records("rocov2", tmp_path / "empty", data_config())


def test_another_table_of_that_name(root: Path) -> None:
    (root / "rocov2/test_captions.csv").write_text("image,text\na,b\n")
    with pytest.raises(
        DataError, match=r"test_captions\.csv, line 1 has no columns ID and Caption"
    ):
        load_records("rocov2", root, data_config())
