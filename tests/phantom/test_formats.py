"""Each format is read back with plain tools, apart from the writers, and counted against them."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_items import draw, labelled, questions, readable, records
from PIL import Image

from jomed.phantom.formats import (
    brset,
    mimic_cxr,
    path_vqa,
    plant,
    pmc_oa,
    roco,
    rocov2,
    slake,
    tally,
    vindr_pcxr,
    vqa_rad,
)
from jomed.phantom.items import Planted, RecordItem


def mode_of(path: Path) -> str:
    with Image.open(path) as image:
        return str(image.mode)


def bytes_below(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


WRITERS = {
    "roco": (roco.write, records),
    "rocov2": (rocov2.write, records),
    "pmc_oa": (pmc_oa.write, records),
    "mimic_cxr": (mimic_cxr.write, records),
    "vindr_pcxr": (vindr_pcxr.write, labelled),
    "brset": (brset.write, labelled),
    "vqa_rad": (vqa_rad.write, questions),
    "vqa_rad parquet": (vqa_rad.write_parquet, questions),
    "slake": (slake.write, questions),
    "path_vqa": (path_vqa.write, questions),
}


@pytest.mark.parametrize("name", WRITERS)
def test_bytes_follow_the_seed_and_every_item_is_accounted_for(name, tmp_path):
    write, items = WRITERS[name]
    planted = write(tmp_path / "a", items(), 3)
    assert planted == write(tmp_path / "b", items(), 3)
    write(tmp_path / "c", items(), 4)
    assert bytes_below(tmp_path / "a") == bytes_below(tmp_path / "b")
    assert bytes_below(tmp_path / "a") != bytes_below(tmp_path / "c")
    assert planted.drawn == 48
    assert all(count >= 1 for count in planted.broken.values())


@pytest.mark.parametrize("name", WRITERS)
def test_a_set_too_small_for_the_oddities_is_refused(name, tmp_path):
    write, items = WRITERS[name]
    with pytest.raises(ValueError, match="draw at least"):
        write(tmp_path, items(4), 0)


def test_plant_gives_every_oddity_its_own_items():
    odd = plant(np.random.default_rng(0), 10, {"a": 2, "b": 3})
    assert sorted(odd.values()) == ["a", "a", "b", "b", "b"]
    assert set(odd) <= set(range(10))


def test_tally_subtracts_broken_items_only():
    planted = tally(10, {"": 7, "lost": 2, "odd": 1}, ["lost"])
    assert planted == Planted(8, {"lost": 2}, {"odd": 1})


def test_rocov2_tables_agree(tmp_path):
    items = records()
    planted = rocov2.write(tmp_path, items, 1)
    home = tmp_path / "rocov2"
    frames = {path.stem: pd.read_csv(path) for path in home.glob("*.csv")}
    joined, single = 0, 0
    for split in ("train", "valid", "test"):
        ids = frames[f"{split}_captions"]["ID"].tolist()
        assert (home / f"{split}_captions.csv").read_bytes()[:1] == (
            b"\xef" if split == "train" else b"I"
        )
        for kind in ("concepts", "concepts_manual"):
            assert frames[f"{split}_{kind}"]["ID"].tolist() == ids
        cuis = frames[f"{split}_concepts"]["CUIs"].str.split(";")
        assert set(cuis.explode()) <= set(frames["cui_mapping"]["CUI"])
        joined, single = joined + len(ids), single + int((cuis.str.len() == 1).sum())
    assert joined == len(items) == len(frames["license_information"])
    assert single == planted.notes["a single concept"]
    usable = sum(readable(path) for path in home.rglob("*.jpg"))
    assert usable == planted.records


def roco_rows(folder: Path, name: str) -> list[list[str]]:
    text = (folder / name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.split("\n")[:-1]]


def test_roco_files_agree_and_hold_the_drawn_captions(tmp_path):
    items = records()
    planted = roco.write(tmp_path, items, 1)
    seen, usable, modes = [], 0, []
    for split in ("train", "validation", "test"):
        folder = tmp_path / "roco-dataset/data" / split / "radiology"
        captions = roco_rows(folder, "captions.txt")
        ids = [row[0] for row in captions]
        for name in ("keywords", "cuis", "semtypes", "dlinks"):
            assert [row[0] for row in roco_rows(folder, f"{name}.txt")] == ids
        with (folder / "licences.txt").open(encoding="utf-8", newline="") as file:
            licences = list(csv.DictReader(file))
        assert [row["ROCO_ID"] for row in licences] == ids
        for (row, caption), licence in zip(captions, licences, strict=True):
            item = items[int(row.removeprefix("ROCO_")) - 90_001]
            assert caption.startswith(" ")
            assert " ".join(caption.split()).removeprefix('"') == item.text.strip()
            assert licence["PMC_ID"].startswith(f"PMC9{item.group:06d}_")
            named = [folder / "images" / f"{row}.jpg", folder / "images" / licence["PMC_ID"]]
            found = [path for path in named if path.exists() and readable(path)]
            usable += len(found)
            modes += [mode_of(path) for path in found]
        seen += ids
    assert len(set(seen)) == 48
    assert usable == planted.records == 46
    assert modes.count("CMYK") == 1
    assert planted.notes["image named by PMC id"] >= 5
    plain = (tmp_path / "roco-dataset/data").rglob("captions.txt")
    assert sum("\u00a0\n" in p.read_text(encoding="utf-8") for p in plain) >= 1


def test_pmc_oa_rows_name_their_images(tmp_path):
    items = records()
    planted = pmc_oa.write(tmp_path, items, 1)
    text = (tmp_path / "pmc_oa/pmc_oa.jsonl").read_text(encoding="utf-8")
    assert text.endswith("}\n\n")
    rows = [json.loads(line) for line in text.split("\n") if line]
    folder = tmp_path / "pmc_oa" / pmc_oa.IMAGE_FOLDER
    exist = [(folder / row["image"]).exists() for row in rows]
    good = [
        there and readable(folder / row["image"]) for there, row in zip(exist, rows, strict=True)
    ]
    assert exist.count(False) == 1
    assert good.count(False) == 2
    captions = [row["caption"] for row in rows]
    assert captions.count("") == 1
    assert sum(item.text in caption for item, caption in zip(items, captions, strict=True)) == 47
    assert planted.records == 45
    without = sum("alignment_type" not in row for row in rows)
    assert without == planted.notes["row without alignment keys"] == 10


def test_mimic_tables_images_and_reports_fit_together(tmp_path):
    items = records()
    planted = mimic_cxr.write(tmp_path, items, 1)
    root = tmp_path / mimic_cxr.IMAGE_FOLDER
    read = {"dtype": str, "keep_default_na": False}
    split = pd.read_csv(root / "mimic-cxr-2.0.0-split.csv.gz", **read)
    meta = pd.read_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", **read)
    labels = pd.read_csv(root / "mimic-cxr-2.0.0-chexpert.csv.gz", **read)
    assert list(split) == ["dicom_id", "study_id", "subject_id", "split"]
    assert split.groupby("subject_id")["split"].nunique().max() == 1
    assert set(split["split"]) == {"train", "validate", "test"}
    joined = split.merge(meta, validate="1:1")
    assert len(joined) == 48 + planted.notes["lateral image beside a frontal one"] == 56
    assert joined["study_id"].nunique() == 48 == len(labels) + 1
    assert labels.iloc[:, 2:].stack().value_counts()["-1.0"] == planted.notes["uncertain label"]
    frontal = joined[joined["ViewPosition"].isin(["PA", "AP"]) & (joined["split"] == "train")]
    texts = [item.text.strip() for item in items]
    usable = 0
    for row in frontal.itertuples():
        folder = f"files/p{row.subject_id[:2]}/p{row.subject_id}/s{row.study_id}"
        image = root / folder / f"{row.dicom_id}.jpg"
        report = tmp_path / mimic_cxr.REPORT_FOLDER / f"{folder}.txt"
        if image.exists() and readable(image) and report.exists():
            usable += 1
            assert mode_of(image) == "L"
            written = " ".join(report.read_text(encoding="utf-8").split())
            assert texts[int(row.study_id) - 59_990_000] in written
            assert all(
                len(line) <= 80 and line[:1] == " " for line in report.read_text().splitlines()
            )
    assert usable == planted.records + 1 == 20  # one of them has a report without findings
    assert planted.broken["image outside the training split"] == 24
    assert sum(count for name, count in planted.notes.items() if name.startswith("report")) == 19


def test_mimic_patients_stay_in_one_split(tmp_path):
    items = [RecordItem(draw(0), "Invented.", 1, split) for split in ("train", "test")]
    with pytest.raises(ValueError, match="patient 1 is in train and test"):
        mimic_cxr.write(tmp_path, items * 10, 0)
