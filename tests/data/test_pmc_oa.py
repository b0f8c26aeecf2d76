import json
import shutil
import zipfile
from pathlib import Path

import pytest
from tiny_sets import data_config, load_records, reasons, save_jpeg

from jomed.data.corpora.pmc_oa import IMAGE_FOLDER
from jomed.data.images import open_image
from jomed.data.sources import DataError

LINES = [
    '{"image": "PMC9000001_Fig3_4.jpg", "caption": "A. A cell.", "alignment_score": 0.5}',
    '{"image": "PMC9000002_F2_1.jpg", "caption": "(b) Axial\u2028 CT.", "alignment_type": "x"}',
    '{"image": "PMC9000003_abc-g005_1.jpg", "caption": "lower-case start"}',
    '{"image": "PMC9000004_F1_1.jpg", "caption": "Its file is not there."}',
    '{"image": "PMC9000005_F1_1.jpg", "caption": " \u00a0"}',
    '{"image": "PMC9000006_F1_1.jpg", "caption": null}',
    '{"image": "PMC9000001_Fig3_4.jpg", "caption": "B. The same file again."}',
    '["not", "an object"]',
    '{"image": "PMC9000007_F1_1.jpg", "capt',
    "",
]
IDS = [
    "pmc_oa:PMC9000001_Fig3_4",
    "pmc_oa:PMC9000002_F2_1",
    "pmc_oa:PMC9000003_abc-g005_1",
    "pmc_oa:PMC9000001_Fig3_4#2",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "pmc_oa"
    for seed, name in enumerate(("1_Fig3_4", "2_F2_1", "3_abc-g005_1", "5_F1_1"), start=1):
        save_jpeg(home / IMAGE_FOLDER / f"PMC900000{name}.jpg", seed)
    (home / "pmc_oa.jsonl").write_text("\n".join(LINES), encoding="utf-8", newline="\n")
    return tmp_path


def test_records_and_reasons(root: Path) -> None:
    records, skipped = load_records("pmc_oa", root, data_config())
    assert [record.record_id for record in records] == IDS
    assert [record.text for record in records][1:3] == ["(b) Axial CT.", "lower-case start"]
    assert [record.group for record in records][:3] == ["PMC9000001", "PMC9000002", "PMC9000003"]
    assert reasons(skipped) == {
        "PMC9000004_F1_1": "missing image",
        "PMC9000005_F1_1": "empty text",
        "line 6": "unreadable row",
        "line 8": "unreadable row",
        "line 9": "unreadable row",
    }
    assert {(record.access, record.licence) for record in records} == {("open", "per article")}


def test_other_suffixes_of_images_are_found(root: Path) -> None:
    for path in (root / "pmc_oa" / IMAGE_FOLDER).iterdir():
        path.rename(path.with_suffix(".JPG"))
    records, _ = load_records("pmc_oa", root, data_config())
    assert [record.record_id for record in records] == IDS
    assert all((root / record.image).is_file() for record in records)


def test_lines_that_no_file_could_hold_are_skipped(root: Path) -> None:
    name = LINES[0].partition(",")[0]
    odd = [f'{name}, "caption": "half a \\ud800 character"}}', "[" * 100_000, LINES[0]]
    (root / "pmc_oa/pmc_oa.jsonl").write_text("\n".join(odd))
    records, skipped = load_records("pmc_oa", root, data_config())
    assert [record.record_id for record in records] == IDS[:1]
    assert reasons(skipped) == dict.fromkeys(("line 1", "line 2"), "unreadable row")


def test_short_captions_follow_the_setting(root: Path) -> None:
    _, skipped = load_records("pmc_oa", root, data_config(min_text_chars=11))
    assert reasons(skipped)["PMC9000001_Fig3_4"] == "short text"


def test_browser_name_and_images_elsewhere(root: Path) -> None:
    home = root / "pmc_oa"
    (home / "pmc_oa.jsonl").rename(home / "pmc_oa.jsonl?download=true")
    (home / "images").mkdir()
    (home / IMAGE_FOLDER).rename(home / "images" / IMAGE_FOLDER)
    nested, _ = load_records("pmc_oa", root, data_config())
    assert nested[0].image == f"pmc_oa/images/{IMAGE_FOLDER}/PMC9000001_Fig3_4.jpg"
    for path in (home / "images" / IMAGE_FOLDER).iterdir():
        path.rename(home / path.name)
    flat, _ = load_records("pmc_oa", home, data_config())
    assert flat[0].image == "PMC9000001_Fig3_4.jpg"
    assert [record.record_id for record in flat] == IDS


def test_images_are_read_from_the_archive(root: Path) -> None:
    home = root / "pmc_oa"
    with zipfile.ZipFile(home / "images.zip", "w") as archive:
        for path in (home / IMAGE_FOLDER).iterdir():
            archive.write(path, f"{IMAGE_FOLDER}/{path.name}")
    before, _ = load_records("pmc_oa", root, data_config())
    pixels = [open_image(record.image, root).tobytes() for record in before]
    shutil.rmtree(home / IMAGE_FOLDER)
    records, _ = load_records("pmc_oa", root, data_config())
    assert records[0].image == f"pmc_oa/images.zip::{IMAGE_FOLDER}/PMC9000001_Fig3_4.jpg"
    assert [open_image(record.image, root).tobytes() for record in records] == pixels
    (home / "images.zip").write_bytes((home / "images.zip").read_bytes()[:300])
    with pytest.raises(DataError, match="not a whole zip"):
        load_records("pmc_oa", root, data_config())


def test_file_names_cannot_leave_the_folder(root: Path) -> None:
    save_jpeg(root / "secret.jpg")
    row = {"image": "../../secret.jpg", "caption": "Somebody else's file."}
    (root / "pmc_oa/pmc_oa.jsonl").write_text(json.dumps(row), encoding="utf-8")
    records, skipped = load_records("pmc_oa", root, data_config())
    assert not records
    assert reasons(skipped) == {"../../secret": "missing image"}


def test_no_images_at_all(root: Path) -> None:
    shutil.rmtree(root / "pmc_oa" / IMAGE_FOLDER)
    (root / "pmc_oa/README.md").touch()
    with pytest.raises(DataError, match="has no images"):
        load_records("pmc_oa", root, data_config())
