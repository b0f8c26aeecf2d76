import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_medmnist import write
from test_training_split import TEXT
from tiny_sets import benchmark_config, data_config, save_jpeg, truncate

from jomed.data.corpora.pmc_oa import IMAGE_FOLDER
from jomed.data.images import image_sha, open_image
from jomed.data.merge import load_corpora

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


def config(**changes: object) -> SimpleNamespace:
    data = data_config(
        **{"corpora": ("roco", "pmc_oa", "training_split"), "record_text": TEXT} | changes
    )
    runtime = SimpleNamespace(threads=2)
    return SimpleNamespace(data=data, benchmark=benchmark_config(), runtime=runtime)


def test_records_are_unique_hashed_and_in_order(root: Path) -> None:
    report = load_corpora(config(), root)
    assert [record.record_id for record in report.records[:4]] == [
        *("roco:ROCO_1", "pmc_oa:PMC1_a", "pmc_oa:PMC1_b", "pmc_oa:PMC2_a")
    ]
    assert len({record.record_id for record in report.records}) == len(report.records) == 10
    for record in report.records:
        assert record.image_sha == image_sha(open_image(record.image, root))
    assert load_corpora(config(), root).records == report.records


def test_duplicates_need_the_same_image_and_text(root: Path) -> None:
    report = load_corpora(config(), root)
    assert report.duplicates.to_dict("records") == [
        {"record_id": "pmc_oa:PMC1_a", "source": "pmc_oa", "duplicate_of": "roco:ROCO_1"},
        {"record_id": "pmc_oa:PMC1_b", "source": "pmc_oa", "duplicate_of": "roco:ROCO_1"},
    ]
    dropped = load_corpora(config(duplicates="drop_exact"), root)
    assert dropped.duplicates.equals(report.duplicates)
    kept = [
        record for record in report.records if record.record_id[-6:] not in ("PMC1_a", "PMC1_b")
    ]
    assert dropped.records == kept


def test_counts_account_for_every_item(root: Path) -> None:
    report = load_corpora(config(duplicates="drop_exact"), root)
    counts = report.counts.set_index("source")
    assert list(counts.index) == ["roco", "pmc_oa", "training_split"]
    assert counts.loc["roco"].to_dict() == {
        **{"loaded": 2, "skipped": 2, "repeated": 1},  # two splits are missing
        **{"unreadable": 0, "duplicates": 0, "records": 1},
    }
    assert counts.loc["pmc_oa"].to_dict() == {
        **{"loaded": 4, "skipped": 2, "repeated": 0},
        **{"unreadable": 1, "duplicates": 2, "records": 1},
    }
    assert counts.loc["training_split", "records"] == 6
    rest = counts["loaded"] - counts["repeated"] - counts["unreadable"] - counts["duplicates"]
    assert (rest == counts["records"]).all()


def test_every_skip_has_its_reason(root: Path) -> None:
    report = load_corpora(config(), root)
    found = [(item.item, item.reason) for item in report.skipped]
    assert found == [
        ("validation", "missing split"),
        ("test", "missing split"),
        ("PMC4_a.jpg", "missing image"),
        ("PMC1_a.jpg", "short text"),
        ("roco:ROCO_1", "repeated record id"),
        ("pmc_oa:PMC3_broken", "unreadable image"),
    ]


def test_one_corpus_without_duplicates(root: Path) -> None:
    report = load_corpora(config(corpora=("training_split",)), root)
    assert len(report.records) == 6
    assert report.duplicates.empty
    assert list(report.duplicates) == ["record_id", "source", "duplicate_of"]
