import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from test_hashes import clouds
from test_medmnist import write
from test_training_split import TEXT
from tiny_sets import benchmark_config, data_config, run_config, save_jpeg, truncate

from jomed.data.corpora.pmc_oa import IMAGE_FOLDER
from jomed.data.hashes import image_sha
from jomed.data.images import open_image
from jomed.data.merge import CorpusCounts, merge_corpora
from jomed.records import Duplicate, Record, Skipped

POLICIES = ("keep", "drop_exact", "drop_near")
FIGURES = [("PMC1_a", 1, "A chest CT."), ("PMC1_b", 1, "A chest CT."), ("PMC2_a", 1, "A knee.")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "pmc_oa"
    for name, seed, _ in FIGURES:
        save_jpeg(home / IMAGE_FOLDER / f"{name}.jpg", seed)
    save_jpeg(home / IMAGE_FOLDER / "PMC3_broken.jpg")
    truncate(home / IMAGE_FOLDER / "PMC3_broken.jpg")
    texts = [(name, text) for name, _, text in FIGURES]
    texts += [("PMC3_broken", "Cut short."), ("PMC4_a", "Not there."), ("PMC1_a", "CT")]
    rows = [json.dumps({"image": f"{name}.jpg", "caption": text}) for name, text in texts]
    (home / "pmc_oa.jsonl").write_text("\n".join(rows), encoding="utf-8")
    roco = tmp_path / "roco-dataset/data/train/radiology"
    save_jpeg(roco / "images/ROCO_1.jpg", 1)
    captions = "ROCO_1\t A chest CT.\nROCO_1\t The same id again.\n"
    (roco / "captions.txt").write_text(captions, encoding="utf-8")
    (roco / "licences.txt").write_text("ROCO_ID,PMC_ID,CC\nROCO_1,PMC1_x.jpg,CC BY\n")
    write(tmp_path / benchmark_config().path)
    return tmp_path


def config(**changes: object) -> Any:
    chosen = {"corpora": ("roco", "pmc_oa", "training_split"), "record_text": TEXT}
    return run_config(benchmark_config(), data_config(**chosen | changes))


class Merged(NamedTuple):
    records: list[Record]
    skipped: list[Skipped]
    duplicates: list[Duplicate]
    counts: pd.DataFrame


def merge(root: Path, **changes: object) -> Merged:
    chosen = config(**changes)
    counts = CorpusCounts()
    merged = Merged([], [], [], pd.DataFrame())
    lists = {Record: merged.records, Skipped: merged.skipped, Duplicate: merged.duplicates}
    for item in merge_corpora(chosen, root):
        counts.add(item)
        lists[type(item)].append(item)
    return merged._replace(counts=counts.table(chosen.data.corpora))


def test_records_are_unique_hashed_and_in_order(root: Path) -> None:
    report = merge(root)
    assert [record.record_id for record in report.records[:4]] == [
        *("roco:ROCO_1", "pmc_oa:PMC1_a", "pmc_oa:PMC1_b", "pmc_oa:PMC2_a")
    ]
    assert len({record.record_id for record in report.records}) == len(report.records) == 10
    for record in report.records:
        assert record.image_sha == image_sha(open_image(record.image, root))
    assert merge(root).records == report.records


def test_duplicates_need_the_same_image_and_text(root: Path) -> None:
    report = merge(root)
    assert report.duplicates == [
        Duplicate(f"pmc_oa:PMC1_{name}", "pmc_oa", "roco:ROCO_1", "exact", dropped=False)
        for name in "ab"
    ]
    dropped = merge(root, duplicates="drop_exact")
    assert all(copy.dropped for copy in dropped.duplicates)
    assert len(dropped.duplicates) == 2
    kept = [
        record for record in report.records if record.record_id[-6:] not in ("PMC1_a", "PMC1_b")
    ]
    assert dropped.records == kept


def test_counts_account_for_every_item(root: Path) -> None:
    report = merge(root, duplicates="drop_exact")
    counts = report.counts.set_index("source")
    assert list(counts.index) == ["roco", "pmc_oa", "training_split"]
    assert counts.loc["roco"].to_dict() == {
        **{"loaded": 2, "skipped": 2, "repeated": 1},  # two splits are missing
        **{"unreadable": 0, "exact": 0, "near": 0, "records": 1},
    }
    assert counts.loc["pmc_oa"].to_dict() == {
        **{"loaded": 4, "skipped": 2, "repeated": 0},
        **{"unreadable": 1, "exact": 2, "near": 0, "records": 1},
    }
    assert counts.loc["training_split", "records"] == 6
    parts = ["repeated", "unreadable", "exact", "near", "records"]
    assert (counts["loaded"] == counts[parts].sum(axis=1)).all()


def test_every_skip_has_its_reason(root: Path) -> None:
    report = merge(root)
    found = [(item.item, item.reason) for item in report.skipped]
    assert found == [
        ("roco:ROCO_1", "repeated record id"),
        ("validation", "missing split"),
        ("test", "missing split"),
        ("pmc_oa:PMC3_broken", "unreadable image"),
        ("PMC4_a", "missing image"),
        ("PMC1_a", "short text"),
    ]


def test_one_corpus_without_duplicates(root: Path) -> None:
    report = merge(root, corpora=("training_split",))
    assert len(report.records) == 6
    assert report.duplicates == []


def test_a_resized_copy_is_a_near_duplicate(root: Path) -> None:
    roco = root / "roco-dataset/data/train/radiology"
    clouds(1).save(roco / "images/ROCO_1.jpg", quality=95)
    clouds(1).resize((180, 180)).save(root / "pmc_oa" / IMAGE_FOLDER / "PMC1_a.jpg", quality=80)
    (copy,) = merge(root, corpora=("roco", "pmc_oa")).duplicates
    assert (copy.record_id, copy.kind, copy.dropped) == ("pmc_oa:PMC1_a", "near", False)
    kept = {policy: len(merge(root, duplicates=policy).records) for policy in POLICIES}
    assert kept["keep"] == kept["drop_exact"] == kept["drop_near"] + 1
