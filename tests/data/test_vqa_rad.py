import json
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import (
    benchmark_config,
    data_config,
    jpeg,
    load_samples,
    reasons,
    save_jpeg,
    save_parquet,
    truncate,
)

from jomed.data.benchmarks.vqa_rad import IMAGES, QUESTIONS
from jomed.data.sources import DataError
from jomed.records import Sample

BENCHMARK = benchmark_config(
    name="vqa_rad",
    loader="vqa_rad",
    task="vqa",
    path="vqa-rad",
    question=None,
    answers=(),
    label_names=(),
)


def row(qid: int | str, image: int | str, **changes: Any) -> dict[str, Any]:
    return {
        "qid": qid,
        "phrase_type": "freeform",
        "image_name": f"synpic{image}.jpg",
        "image_organ": "HEAD",
        "question": "Is there a lesion?",
        "question_rephrase": "NULL",
        "question_type": "PRES",
        "answer": "Yes",
        "answer_type": "CLOSED",
    } | changes


ROWS = [
    row(1, 1),
    row(2, 1, phrase_type="para", question="Any  lesion\there? "),
    row(3, 2, answer=3, answer_type="OPEN", question_type="COUNT"),
    row("4", 2, answer="MRI\t", answer_type="CLOSED ", question_type="MODALITY, PRSE"),
    row(5, 3, answer="None", answer_type="OPEN", question_type="Other"),
    row(6, 4, question_type="ATRIB"),
    row(7, 1, phrase_type="test_freeform"),
    row(8, 5, phrase_type="test_para", answer="left"),
    row(1, 5, phrase_type="test_para", answer="no"),
    row(9, 99),
    row(10, "broken"),
    row(11, 1, phrase_type="other"),
    row(12, 1, answer_type="HALF"),
    row(13, 1, answer=None),
    row(14, 1, answer=" \t"),
    "not a row",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "vqa-rad"
    for seed, number in enumerate((1, 2, 3, 4, 5, "broken")):
        save_jpeg(home / IMAGES / f"synpic{number}.jpg", seed, "L" if number == 3 else "RGB")
    truncate(home / IMAGES / "synpicbroken.jpg")
    (home / QUESTIONS).write_text(json.dumps(ROWS), encoding="utf-8")
    return tmp_path


def by_id(samples: list[Sample]) -> dict[str, Sample]:
    found = {sample.sample_id: sample for sample in samples}
    assert len(found) == len(samples)
    return found


def test_split_is_the_phrase_type_and_validation_whole_images(root: Path) -> None:
    samples, _ = load_samples(root, BENCHMARK, data_config(val_share=0.4))
    found = by_id(samples)
    assert list(found)[-3:] == ["vqa_rad:7", "vqa_rad:8", "vqa_rad:1#2"]
    assert [sample.split for sample in samples].count("test") == 3
    images = {
        split: {sample.group for sample in samples if sample.split == split}
        for split in ("train", "val")
    }
    assert images["train"]
    assert images["val"]
    assert not images["train"] & images["val"]
    assert load_samples(root, BENCHMARK, data_config(val_share=0.4))[0] == samples


def test_answers_questions_and_types_are_cleaned(root: Path) -> None:
    found = by_id(load_samples(root, BENCHMARK, data_config())[0])
    answers = {key: (sample.answer, sample.answer_type) for key, sample in found.items()}
    assert answers["vqa_rad:3"] == ("3", "open")
    assert answers["vqa_rad:4"] == ("MRI", "closed")
    assert answers["vqa_rad:5"] == ("None", "open")
    assert answers["vqa_rad:8"] == ("left", "closed")
    assert found["vqa_rad:2"].question == "Any lesion here?"
    types = {key: sample.question_type for key, sample in found.items()}
    assert types["vqa_rad:4"] == "MODALITY, PRES"
    assert types["vqa_rad:5"] == "OTHER"
    assert types["vqa_rad:6"] == "ATTRIB"


def test_questions_of_one_image_share_group_and_hash(root: Path) -> None:
    found = by_id(load_samples(root, BENCHMARK, data_config())[0])
    one, two, other = (found[f"vqa_rad:{qid}"] for qid in (1, 7, 3))
    assert one.group == two.group == "synpic1.jpg"
    assert one.image_sha == two.image_sha != other.image_sha
    assert one.image == f"vqa-rad/{IMAGES}/synpic1.jpg"


def test_everything_left_out_has_a_reason(root: Path) -> None:
    samples, skipped = load_samples(root, BENCHMARK, data_config())
    assert reasons(skipped) == {
        "9": "missing image",
        "vqa_rad:10": "unreadable image",
        "11": "unknown split",
        "12": "unknown answer type",
        "13": "unreadable row",
        "14": "empty text",
        "row 15": "unreadable row",
    }
    assert len(samples) + len(skipped) == len(ROWS)


def test_missing_and_broken_json(root: Path) -> None:
    path = root / "vqa-rad" / QUESTIONS
    path.write_text("[{", encoding="utf-8")
    with pytest.raises(DataError, match="is not JSON"):
        load_samples(root, BENCHMARK, data_config())
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="holds a dict"):
        load_samples(root, BENCHMARK, data_config())
    path.unlink()
    with pytest.raises(DataError, match=r"is missing.*example\.org"):
        load_samples(root, BENCHMARK, data_config())


PARQUET = [
    ("is there a lesion?", "yes"),
    ("any lesion here?", "yes"),
    ("how many?", "3"),
    ("ct or mri?", "mri\t"),
]
TYPED = [row(1, 1), row(2, 1, question="CT or  MRI?", answer="MRI\t", answer_type="CLOSED ")]


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    data = tmp_path / "vqa-rad/data"
    rows = [(jpeg(place // 2), *texts) for place, texts in enumerate(PARQUET)]
    save_parquet(data / "train-00000-of-00001-eb8844602202be60.parquet", [*rows, *rows])
    save_parquet(data / "test-00000-of-00001.parquet", rows[:1])
    return tmp_path


def test_parquet_without_the_original_says_that_types_are_guessed(parquet: Path) -> None:
    with pytest.warns(UserWarning, match=r"9 of 9 count as closed if.*VQA_RAD Dataset Public"):
        samples, skipped = load_samples(parquet, BENCHMARK, data_config())
    assert skipped == []
    types = {sample.question: sample.answer_type for sample in samples}
    assert types == {
        "is there a lesion?": "closed",
        "any lesion here?": "closed",
        "how many?": "open",
        "ct or mri?": "open",
    }
    assert {sample.answer for sample in samples} == {"yes", "3", "mri"}
    groups = {
        split: {sample.group for sample in samples if sample.split == split}
        for split in ("train", "val", "test")
    }
    assert [len(groups[split]) for split in ("train", "val", "test")] == [1, 1, 1]
    assert not groups["train"] & groups["val"]


def test_the_original_json_gives_parquet_rows_their_types(parquet: Path) -> None:
    path = parquet / "vqa-rad" / QUESTIONS
    path.write_text(json.dumps([*TYPED, "not a row"]), encoding="utf-8")
    with pytest.warns(UserWarning, match="4 of 9 count as closed if"):
        samples, _ = load_samples(parquet, BENCHMARK, data_config())
    types = {sample.question: sample.answer_type for sample in samples}
    assert types["ct or mri?"] == "closed"
    assert types["how many?"] == "open"
    asked = [
        row(place, 1, question=question.upper(), answer=answer, answer_type="OPEN")
        for place, (question, answer) in enumerate(PARQUET)
    ]
    path.write_text(json.dumps(asked), encoding="utf-8")
    assert {s.answer_type for s in load_samples(parquet, BENCHMARK, data_config())[0]} == {"open"}


def test_the_whole_original_goes_before_parquet_files(root: Path) -> None:
    before = load_samples(root, BENCHMARK, data_config())
    save_parquet(root / "vqa-rad/data/train-00000-of-00001.parquet", [(jpeg(), "q", "a")])
    assert load_samples(root, BENCHMARK, data_config()) == before
