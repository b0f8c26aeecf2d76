import pandas as pd

from jomed.catalogue import BenchmarkConfig
from jomed.config import read_corpus
from jomed.data.leakage import count_leakage, find_leakage
from jomed.records import SKIPPED_SCHEMA
from jomed.reporting.cards import corpus_card, dataset_card, run_card

BENCHMARK = BenchmarkConfig(
    name="own",
    title="Own set",
    loader="medmnist",
    task="single_label",
    path="own.npz",
    md5=None,
    url="https://example.org",
    licence="CC BY 4.0",
    access="dua",
    obtain="Ask.",
    expected=None,
    question="what?",
    answers=("0", "1"),
    label_names=("healthy", "ill"),
    paper_column="Own",
)
SAMPLES = pd.DataFrame(
    {
        "sample_id": ["a", "b", "c", "d"],
        "split": ["train", "train", "test", "test"],
        "answer_type": "label",
        "group": ["p1", "p1", "p1", ""],
        "image_sha": ["1", "2", "3", "4"],
        "image_phash": "",
    }
)
NOTHING = SKIPPED_SCHEMA.empty_table().to_pandas()
NO_RECORDS = pd.DataFrame(
    {"record_id": [], "source": [], "group": [], "image_sha": [], "image_phash": []}, dtype=str
)


def test_dataset_card_counts_splits_groups_skips_and_leaks() -> None:
    skipped = pd.DataFrame(
        {"source": "own", "item": ["img0", "img1"], "reason": "unreadable image", "detail": ""}
    )
    leaks = count_leakage(find_leakage(SAMPLES, NO_RECORDS), SAMPLES)
    card = dataset_card(BENCHMARK, SAMPLES, skipped, leaks)
    assert "## Own set" in card
    assert "- **Access**: data use agreement: signed by every user" in card
    assert "- **Classes**: healthy, ill" in card
    assert "| train | 2 | 1 | label 2 |" in card
    assert "| val | 0 | 0 |  |" in card
    assert "| test | 2 | 1 | label 2 |" in card
    assert "| own | unreadable image | 2 |" in card
    assert "| group | test in train | 1 | 2 | 50.0 % |" in card
    assert "image" not in card.split("Leakage:")[1]


def test_a_guarded_card_hides_small_counts_and_ids() -> None:
    leaks = count_leakage(find_leakage(SAMPLES, NO_RECORDS), SAMPLES)
    skipped = pd.DataFrame(
        {"source": "own", "item": ["img0"], "reason": "unreadable image", "detail": ""}
    )
    card = dataset_card(BENCHMARK, SAMPLES, skipped, leaks, guarded=True)
    assert "| train | <10 | <10 | label <10 |" in card
    assert "img0" not in card
    assert "| group | test in train | <10 | <10 |  |" in card


def test_the_parts_of_a_shown_number_do_not_give_one_of_them_away() -> None:
    skipped = pd.DataFrame(
        {
            "source": "own",
            "reason": ["missing image"] * 30 + ["repeated row"] * 4,
            "item": [str(place) for place in range(34)],
        }
    )
    leaks = count_leakage(find_leakage(SAMPLES, NO_RECORDS), SAMPLES)
    card = dataset_card(BENCHMARK, SAMPLES, skipped, leaks, guarded=True)
    assert "Skipped: 34" in card
    assert "| own | missing image | – |" in card
    assert "| own | repeated row | <10 |" in card


def test_dataset_card_without_skips_and_leaks() -> None:
    clean = SAMPLES.assign(group="")
    leaks = count_leakage(find_leakage(clean, NO_RECORDS), clean)
    card = dataset_card(BENCHMARK, clean, NOTHING, leaks)
    assert "Nothing was skipped." in card
    assert "No image, near copy or group is shared" in card


def test_corpus_card_names_what_must_stay() -> None:
    records = pd.DataFrame(
        {
            "source": ["roco", "mimic_cxr"],
            "licence": ["CC BY", "PhysioNet"],
            "access": ["open", "credentialed"],
            "group": ["PMC1", "p1"],
            "text": ["A chest CT.", "Clear lungs."],
        }
    )
    skipped = pd.DataFrame({"source": ["mimic_cxr"], "reason": ["other view"], "item": ["d1"]})
    counts = pd.DataFrame({"source": ["roco", "mimic_cxr"], "loaded": [1, 11], "records": [1, 1]})
    card = corpus_card(read_corpus("mimic_cxr"), records, skipped, counts, guarded=True)
    assert "## MIMIC-CXR" in card
    assert "| PhysioNet | <10 |" in card
    assert "| 11 | <10 |" in card
    assert "made from credentialed data" in card
    assert "must not leave this host" in card
    assert "| mimic_cxr | other view | <10 |" in card
    assert "d1" not in card.split("skipped because")[1]
    card = corpus_card(read_corpus("roco"), records, skipped, counts)
    assert "- **Expected rows**: 81807" in card
    assert "| CC BY | 1 |" in card
    assert "Nothing was skipped." in card
    assert "All data that went in are open." in card


def test_a_corpus_that_lost_all_its_records_keeps_its_access() -> None:
    records = pd.DataFrame(columns=["source", "licence", "access", "group", "text"])
    counts = pd.DataFrame({"source": ["mimic_cxr"], "loaded": [0], "records": [0]})
    card = corpus_card(read_corpus("mimic_cxr"), records, NOTHING, counts, guarded=True)
    assert "made from credentialed data" in card
    assert "- **Words per text**: no text" in card


def test_run_card() -> None:
    manifest = {
        "name": "reader own",
        "written": "2030-01-01",
        "content": "c0ffee",
        "provenance": {"config": "0123"},
        "files": {"adapter.safetensors": {"bytes": 12, "sha256": "ab" * 32}},
    }
    card = run_card(manifest, {"open"})
    assert "## reader own" in card
    assert "- **Config**: 0123" in card
    assert "| adapter.safetensors | 12 | abababababab |" in card
    assert "All data that went in are open." in card
    assert "made from dua data" in run_card(manifest, ["open", "dua"])
