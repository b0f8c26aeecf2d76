import shutil
from pathlib import Path

import pytest
from tiny_sets import data_config, load_records, reasons, save_jpeg, truncate

from jomed.data.sources import DataError

LICENCES = "ROCO_ID,PMC_ID,CC\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    data = tmp_path / "roco-dataset" / "data"
    captions = {
        "train": (
            "ROCO_90001\t Axial CT of the chest.\n"
            'ROCO_90002\t  "Quoted" start, one quote " open.\u00a0\n'
            "ROCO_90003\t Tab\tinside and a line\u2028separator.\n"
        ),
        "validation": "ROCO_90004\t Short\nROCO_90005\nROCO_90006\t CMYK figure.\n",
        "test": "ROCO_90007\t No image at all.\nROCO_90008\t Broken figure.\n\nROCO_90009\t CT.\n",
    }
    licences = {
        "train": "ROCO_90001,PMC9000001_abc-g01.jpg,CC BY\n"
        "ROCO_90002,PMC9000001_a_b-g02.jpg,NO-CC CODE\nROCO_90003,PMC9000003_x.jpg,CC0\n",
        "validation": "ROCO_90004,PMC9_a.jpg,CC BY\nROCO_90005,PMC9_b.jpg,CC BY\n"
        "ROCO_90006,PMC9000006_e.jpg,CC BY\n",
        "test": "ROCO_90007,PMC9_c.jpg,CC BY\nROCO_90008,PMC9_d.jpg,CC BY\n"
        "ROCO_90009,PMC9_f.jpg,CC BY\n",
    }
    for split, text in captions.items():
        folder = data / split / "radiology"
        (folder / "images").mkdir(parents=True)
        (folder / "captions.txt").write_text(text, encoding="utf-8", newline="\n")
        (folder / "licences.txt").write_text(LICENCES + licences[split], encoding="utf-8")
        (folder / "keywords.txt").write_text("ROCO_90001\t\n", encoding="utf-8")
    save_jpeg(data / "train/radiology/images/ROCO_90001.jpg", 1)
    save_jpeg(data / "train/radiology/images/PMC9000001_a_b-g02.jpg", 2)
    save_jpeg(data / "train/radiology/images/ROCO_90003.jpg", 3)
    save_jpeg(data / "train/radiology/images/PMC9000003_x.jpg", 4)
    save_jpeg(data / "validation/radiology/images/ROCO_90006.jpg", 6, "CMYK")
    save_jpeg(data / "test/radiology/images/ROCO_90008.jpg", 8)
    truncate(data / "test/radiology/images/ROCO_90008.jpg")
    save_jpeg(data / "test/non-radiology/images/ROCO_90010.jpg", 10)
    other = data / "test/non-radiology/captions.txt"
    other.write_text("ROCO_90010\t Flow chart of a study.\n", encoding="utf-8")
    return tmp_path


def test_rows_in_file_order_with_both_image_names(root: Path) -> None:
    records, _ = load_records("roco", root, data_config(min_text_chars=6))
    assert [record.record_id for record in records] == [
        "roco:ROCO_90001",
        "roco:ROCO_90002",
        "roco:ROCO_90003",
        "roco:ROCO_90006",
        "roco:ROCO_90008",
    ]
    images = [record.image for record in records]
    assert images[:3] == [
        "roco-dataset/data/train/radiology/images/ROCO_90001.jpg",
        "roco-dataset/data/train/radiology/images/PMC9000001_a_b-g02.jpg",
        "roco-dataset/data/train/radiology/images/ROCO_90003.jpg",
    ]
    assert all((root / image).is_file() for image in images)


def test_captions_survive_quotes_tabs_and_spaces(root: Path) -> None:
    records, _ = load_records("roco", root, data_config())
    texts = {record.record_id: record.text for record in records}
    assert texts["roco:ROCO_90001"] == "Axial CT of the chest."
    assert texts["roco:ROCO_90002"] == '"Quoted" start, one quote " open.'
    assert texts["roco:ROCO_90003"] == "Tab inside and a line separator."


def test_group_is_the_article_and_the_licence_travels(root: Path) -> None:
    records, _ = load_records("roco", root, data_config())
    found = {record.record_id[-5:]: (record.group, record.licence) for record in records}
    assert found["90001"] == ("PMC9000001", "CC BY")
    assert found["90002"] == ("PMC9000001", "NO-CC CODE")
    assert found["90006"] == ("PMC9000006", "CC BY")
    assert {record.access for record in records} == {"open"}


def test_everything_left_out_has_a_reason(root: Path) -> None:
    _, skipped = load_records("roco", root, data_config(min_text_chars=6))
    assert reasons(skipped) == {
        "ROCO_90004": "short text",
        "ROCO_90005": "empty text",
        "ROCO_90007": "missing image",
        "ROCO_90009": "short text",
    }


def test_byte_order_marks_and_spaces_cost_no_row(root: Path) -> None:
    expected = load_records("roco", root, data_config())
    folder = root / "roco-dataset/data/train/radiology"
    captions, licences = folder / "captions.txt", folder / "licences.txt"
    captions.write_bytes(b"\xef\xbb\xbf" + captions.read_bytes())
    licences.write_text(licences.read_text().replace(",", " , "))
    assert load_records("roco", root, data_config()) == expected


@pytest.mark.parametrize(
    ("end", "lost"),
    [
        ("ROCO_90003,PMC9000003_x.jpg,", {"90003"}),
        ("ROCO_90003,PMC90", {"90003"}),
        ("\nROCO_90003", {"90003"}),
        ("ROCO_90002,PMC9000001_a_b-g02.jpg", {"90002", "90003"}),
    ],
)
def test_rows_without_a_licence_are_counted(root: Path, end: str, lost: set[str]) -> None:
    before, skipped_before = load_records("roco", root, data_config())
    path = root / "roco-dataset/data/train/radiology/licences.txt"
    whole = path.read_text()
    path.write_text(whole[: whole.index(end) + len(end)])
    records, skipped = load_records("roco", root, data_config())
    assert records == [record for record in before if record.record_id[-5:] not in lost]
    assert reasons(skipped) == reasons(skipped_before) | {
        f"ROCO_{place}": "missing licence" for place in lost
    }
    details = [item.detail for item in skipped if item.reason == "missing licence"]
    assert all("line" in detail and "licences.txt" in detail for detail in details)


@pytest.mark.parametrize("suffix", ["JPG", "jpeg", "JPEG"])
def test_other_suffixes_of_images_are_found(root: Path, suffix: str) -> None:
    expected, _ = load_records("roco", root, data_config())
    for path in root.rglob("train/radiology/images/*.jpg"):
        path.rename(path.with_suffix(f".{suffix}"))
    records, _ = load_records("roco", root, data_config())
    assert [one.record_id for one in records] == [one.record_id for one in expected]
    assert records[0].image.endswith(f"ROCO_90001.{suffix}")
    assert records[1].image.endswith(f"g02.{suffix}")
    assert all((root / one.image).is_file() for one in records)


def test_missing_split_is_reported(root: Path) -> None:
    shutil.rmtree(root / "roco-dataset/data/validation")
    records, skipped = load_records("roco", root, data_config())
    assert len(records) == 4
    assert reasons(skipped)["validation"] == "missing split"


def test_missing_set_and_missing_licences(root: Path, tmp_path: Path) -> None:
    (root / "roco-dataset/data/test/radiology/licences.txt").unlink()
    with pytest.raises(DataError, match=r"licences\.txt is missing"):
        load_records("roco", root, data_config())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="razorx89/roco-dataset"):
        load_records("roco", tmp_path / "empty", data_config())
