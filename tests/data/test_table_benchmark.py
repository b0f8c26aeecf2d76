"""A benchmark of one's own: labels, splits, questions, and the validation split."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import benchmark_config, data_config, load_samples, reasons, save_jpeg

from jomed.catalogue import BenchmarkConfig, TableColumns
from jomed.data.benchmarks import table
from jomed.records import Sample, Skipped

COLUMNS = {"image": "image", "answer": "answer", "split": "split"}
LABELS = {"answers": ("0", "1", "2"), "label_names": ("none", "mild", "normal, benign")}
SEVERAL: dict[str, Any] = {**LABELS, "task": "multi_label"}
VQA: dict[str, Any] = {"task": "vqa", "question": None, "answers": (), "label_names": ()}


def own(columns: dict[str, str] | None = None, **changes: Any) -> BenchmarkConfig:
    named = TableColumns(**COLUMNS, **(columns or {}))
    values = {"name": "own", "loader": "table", "path": "own/t.jsonl", "columns": named, **LABELS}
    return benchmark_config(**(values | changes))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(10):
        save_jpeg(tmp_path / f"own/{seed}.jpg", seed)
    return tmp_path


def load(
    root: Path, rows: list[dict[str, Any]], benchmark: BenchmarkConfig, share: float = 0.5
) -> tuple[list[Sample], list[Skipped]]:
    """`rows` need neither image nor split: image N for row N, and train."""
    whole = [
        {"image": f"{place % 10}.jpg", "split": "train", **row} for place, row in enumerate(rows)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in whole)
    (root / "own/t.jsonl").write_text(lines, encoding="utf-8")
    return table.load(root, benchmark, data_config(val_share=share))


def test_labels_by_answer_or_name(root: Path) -> None:
    rows = [{"answer": answer} for answer in ("1", 2, "mild", "normal, benign", "0 ")]
    samples, skipped = load(root, rows, own())
    assert skipped == []
    assert [sample.answer for sample in samples] == ["1", "2", "1", "2", "0"]
    assert {(sample.answer_type, sample.question) for sample in samples} == {
        ("label", "What grade?")
    }
    assert samples[0].sample_id == "own:1"
    assert samples[0].image == samples[0].group == "own/0.jpg"


def test_an_answer_comes_before_a_name(root: Path) -> None:
    crossed = own(answers=("1", "0"), label_names=("0", "1"))
    samples, _ = load(root, [{"answer": "1"}, {"answer": "0"}], crossed)
    assert [sample.answer for sample in samples] == ["1", "0"]


def test_several_labels(root: Path) -> None:
    answers = ["2;0", "mild, none", "1", "normal, benign", "normal, benign; mild;", "1;mild", 2]
    samples, skipped = load(root, [{"answer": answer} for answer in answers], own(**SEVERAL))
    assert skipped == []
    found = [sample.answer for sample in samples]
    assert found == ["0, 2", "0, 1", "1", "2", "1, 2", "1", "2"]
    assert {sample.answer_type for sample in samples} == {"labels"}


def test_several_labels_with_answers_that_are_no_numbers(root: Path) -> None:
    named = own(**{**SEVERAL, "answers": ("A", "B", "C")})
    samples, _ = load(root, [{"answer": "C;0"}, {"answer": "mild,A"}], named)
    assert [sample.answer for sample in samples] == ["0, 2", "0, 1"]


def test_splits_in_every_spelling(root: Path) -> None:
    spellings = ["train", "Train", "VAL", "valid", "validation", "dev", "test", "TEST"]
    rows = [{"answer": "1", "split": spelling} for spelling in spellings]
    samples, skipped = load(root, rows, own())
    assert skipped == []
    assert [sample.split for sample in samples] == ["train"] * 2 + ["val"] * 4 + ["test"] * 2


def test_every_row_that_is_left_out_says_why_and_where(root: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"answer": "1", "id": "a"},
        {"answer": "mlid", "id": "b"},
        {"answer": "1", "id": "c", "split": "tset"},
        {"answer": "1", "id": "a"},
        {"answer": "", "id": "d"},
        {"answer": ["1"], "id": "e"},
        {"answer": "1", "id": "f", "image": "../../x.jpg"},
        {"answer": "1", "id": "g", "split": "test"},
    ]
    samples, skipped = load(root, rows, own({"id": "id"}))
    assert [sample.sample_id for sample in samples] == ["own:a", "own:g"]
    details = {(item.item, item.reason): item.detail for item in skipped}
    assert details == {
        ("b", "unknown label"): "t.jsonl, line 2: 'mlid'; did you mean 'mild'?",
        ("c", "unknown split"): "t.jsonl, line 3: 'tset'; did you mean 'test'?",
        ("a", "repeated row"): "t.jsonl, line 4: its id is that of an earlier row",
        ("d", "no label"): "t.jsonl, line 5: the answer is empty",
        ("6", "unreadable row"): "t.jsonl, line 6: no text or number in 'answer'",
        ("f", "image outside the data root"): "t.jsonl, line 7: ../../x.jpg",
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("", "no label"), (" ; ", "no label"), ("1;4", "unknown label"), ("1 2", "unknown label")],
)
def test_several_labels_that_cannot_be_read(root: Path, answer: str, reason: str) -> None:
    _, skipped = load(root, [{"answer": answer}], own(**SEVERAL))
    assert reasons(skipped) == {"1": reason}


def test_whole_groups_are_held_out_where_nothing_is_for_validation(root: Path) -> None:
    rows = [{"answer": "1", "who": place // 2} for place in range(8)]
    rows += [{"answer": "1", "who": 9, "split": "test"}]
    benchmark = own({"group": "who"})
    samples, _ = load(root, rows, benchmark, share=0.25)
    splits: dict[str, set[str]] = {}
    for sample in samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert all(len(names) == 1 for names in splits.values())
    assert sorted(name for names in splits.values() for name in names) == ["test"] + [
        "train"
    ] * 3 + ["val"]
    rows[0]["split"] = "val"
    samples, _ = load(root, rows, benchmark, share=0.25)
    assert [sample.split for sample in samples].count("val") == 1


def test_questions_of_each_row(root: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "Is it  large?", "answer": "Yes", "kind": "CLOSED"},
        {"question": "What is it?", "answer": " a  cyst ", "kind": "open"},
        {"question": "What is it?", "answer": "", "kind": "open"},
        {"question": "", "answer": "a cyst", "kind": "open"},
        {"question": "What is it?", "answer": "a cyst", "kind": "half"},
    ]
    columns = {"question": "question", "answer_type": "kind"}
    samples, skipped = load(root, rows, own(columns, **VQA))
    found = [(sample.question, sample.answer, sample.answer_type) for sample in samples]
    assert found == [("Is it large?", "Yes", "closed"), ("What is it?", "a cyst", "open")]
    assert reasons(skipped) == {
        **{"3": "empty text", "4": "empty text"},
        "5": "unknown answer type",
    }


def test_closed_questions_are_guessed_with_a_warning(root: Path) -> None:
    rows = [{"question": "Q?", "answer": answer} for answer in ("yes", "No", "yes, both", "a cyst")]
    with pytest.warns(UserWarning, match="own has no column for the answer type") as caught:
        samples, _ = load(root, rows, own({"question": "question"}, **VQA))
    assert len(caught) == 1
    assert [sample.answer_type for sample in samples] == ["closed", "closed", "open", "open"]


def test_images_are_opened_and_named(root: Path) -> None:
    (root / "own/1.jpg").write_bytes(b"no image")
    load(root, [{"answer": "1"}, {"answer": "1"}, {"answer": "1", "split": "test"}], own())
    samples, skipped = load_samples(root, own(), data_config())
    assert len(samples) == 2
    assert all(sample.image_sha for sample in samples)
    assert reasons(skipped) == {"own:2": "unreadable image"}
