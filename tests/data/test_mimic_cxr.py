import zipfile
from pathlib import Path

import pandas as pd
import pytest
from tiny_sets import data_config, load_records, reasons, save_jpeg

from jomed.data.sources import DataError, MissingData

IMAGES = "mimic-cxr-jpg-2.1.0.physionet.org"
REPORTS = "mimic-cxr-2.1.0.physionet.org"
# dicom, subject, study, view, split
ROWS = [
    ("d1", "10999999", "59999991", "PA", "train"),
    ("d2", "10999999", "59999991", "LATERAL", "train"),
    ("d3", "10999999", "59999991", "AP", "train"),
    ("d4", "10999999", "59999992", "", "train"),
    ("d5", "10999999", "59999993", "AP", "train"),  # no report
    ("d6", "10999999", "59999994", "AP", "train"),  # report without sections
    ("d7", "11999999", "59999995", "PA", "validate"),
    ("d8", "11999999", "59999996", "PA", "train"),  # impression only
    ("d9", "11999999", "59999996", "PA", "train"),  # image file missing
    ("d0", "11999999", "59999996", "PA", None),  # not in the split table
]
TEXTS = {
    "59999991": "FINAL REPORT\n FINDINGS: \n \n Clear lungs.\n \n IMPRESSION: \n \n Nothing.\n",
    "59999992": "FINAL REPORT\n FINDINGS: \n \n Unused.\n",
    "59999994": "FINAL REPORT\n HISTORY: Cough.\n \n Clear.\n",
    "59999995": "FINAL REPORT\n FINDINGS: \n \n Validation.\n",
    "59999996": "FINAL REPORT\n IMPRESSION: \n \n Effusion of the\n left side.\n",
}


def tables(root: Path, suffix: str) -> None:
    frame = pd.DataFrame(
        ROWS, columns=["dicom_id", "subject_id", "study_id", "ViewPosition", "split"]
    )
    metadata = frame.drop(columns="split").assign(StudyTime="93015.5")
    split = frame[["dicom_id", "study_id", "subject_id", "split"]].dropna()
    name = str(root / IMAGES / "mimic-cxr-2.0.0-{}.csv") + suffix
    metadata.to_csv(name.format("metadata"), index=False)
    split.to_csv(name.format("split"), index=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, (dicom, subject, study, *_) in enumerate(ROWS):
        if dicom != "d9":
            name = f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"
            save_jpeg(tmp_path / IMAGES / name, seed, "L")
    for study, text in TEXTS.items():
        subject = next(row[1] for row in ROWS if row[2] == study)
        path = tmp_path / REPORTS / f"files/p{subject[:2]}/p{subject}/s{study}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    tables(tmp_path, ".gz")
    return tmp_path


def test_frontal_training_images_with_their_text(root: Path) -> None:
    records, _ = load_records("mimic_cxr", root, data_config())
    assert [(record.record_id, record.text, record.group) for record in records] == [
        ("mimic_cxr:d1", "Clear lungs.", "p10999999"),
        ("mimic_cxr:d3", "Clear lungs.", "p10999999"),
        ("mimic_cxr:d8", "Effusion of the left side.", "p11999999"),
    ]
    assert records[0].image == f"{IMAGES}/files/p10/p10999999/s59999991/d1.jpg"
    assert {record.access for record in records} == {"credentialed"}
    assert "Credentialed" in records[0].licence


def test_everything_left_out_has_a_reason_and_no_text(root: Path) -> None:
    _, skipped = load_records("mimic_cxr", root, data_config())
    assert reasons(skipped) == {
        "d2": "other view",
        "d4": "other view",
        "d5": "missing report",
        "d6": "report without its section",
        "d7": "other split",
        "d9": "missing image",
        "d0": "other split",
    }
    details = {item.item: item.detail for item in skipped}
    assert details["d2"] == "LATERAL"
    assert details["d4"] == "blank ViewPosition"
    assert details["d0"] == "not in the split table"
    assert not any("Cough" in detail for detail in details.values())


def test_plain_tables_and_packed_reports_give_the_same(root: Path) -> None:
    expected = load_records("mimic_cxr", root, data_config())
    for path in (root / IMAGES).glob("*.gz"):
        path.unlink()
    tables(root, "")
    assert load_records("mimic_cxr", root, data_config()) == expected
    with zipfile.ZipFile(root / IMAGES / "mimic-cxr-reports.zip", "w") as archive:
        for path in (root / REPORTS).rglob("*.txt"):
            archive.write(path, path.relative_to(root / REPORTS))
            path.unlink()
    assert load_records("mimic_cxr", root, data_config()) == expected


def test_views_and_length_follow_the_settings(root: Path) -> None:
    records, skipped = load_records(
        "mimic_cxr", root, data_config(mimic_views=("PA",), min_text_chars=15)
    )
    assert [record.record_id for record in records] == ["mimic_cxr:d8"]
    assert reasons(skipped)["d1"] == "short text"
    assert reasons(skipped)["d3"] == "other view"


def test_newest_release_and_wget_folders(root: Path) -> None:
    wget = root / "physionet.org/files"
    (wget / "mimic-cxr-jpg").mkdir(parents=True)
    (root / IMAGES).rename(wget / "mimic-cxr-jpg/2.1.0")
    (wget / "mimic-cxr").mkdir()
    (root / REPORTS).rename(wget / "mimic-cxr/2.1.0")
    old = wget / "mimic-cxr-jpg/2.0.0"
    old.mkdir()
    for path in (wget / "mimic-cxr-jpg/2.1.0").glob("*.gz"):
        (old / path.name).write_bytes(path.read_bytes())
    records, _ = load_records("mimic_cxr", root, data_config())
    assert len(records) == 3
    assert records[0].image.startswith("physionet.org/files/mimic-cxr-jpg/2.1.0/files/p10/")


def test_what_is_missing_is_named(root: Path) -> None:
    split = root / IMAGES / "mimic-cxr-2.0.0-split.csv.gz"
    split.write_bytes(split.read_bytes()[:40])
    with pytest.raises(DataError, match=r"split\.csv\.gz cannot be read"):
        load_records("mimic_cxr", root, data_config())
    split.unlink()
    with pytest.raises(DataError, match=r"split\.csv\.gz is missing"):
        load_records("mimic_cxr", root, data_config())
    tables(root, ".gz")
    for path in (root / REPORTS).rglob("*.txt"):
        path.unlink()
    with pytest.raises(MissingData, match=r"mimic-cxr-reports\.zip"):
        load_records("mimic_cxr", root, data_config())
    archive = root / REPORTS / "mimic-cxr-reports.zip"
    archive.write_bytes(b"PK broken")
    with pytest.raises(DataError, match="download it again"):
        load_records("mimic_cxr", root, data_config())


def test_a_damaged_report_in_the_archive_is_said(root: Path) -> None:
    archive = root / REPORTS / "mimic-cxr-reports.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted((root / REPORTS).rglob("*.txt")):
            packed.write(path, path.relative_to(root / REPORTS))
            path.unlink()
    spoilt = bytearray(archive.read_bytes())
    spoilt[63:93] = b"\xff" * 30  # the first report, behind its 63 bytes of header
    archive.write_bytes(spoilt)
    with pytest.raises(DataError, match=r"mimic-cxr-reports\.zip.* is broken"):
        load_records("mimic_cxr", root, data_config())
