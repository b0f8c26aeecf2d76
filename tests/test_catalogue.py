"""Which columns a table may name, and that no other loader has any."""

from typing import Any

import pytest

from jomed.catalogue import BenchmarkConfig, CorpusConfig
from jomed.params import ConfigError, read_params, validate

CORPUS = {"loader": "table", "path": "own/t.csv", "columns": {"image": "file", "text": "report"}}
TASK = {
    "loader": "table",
    "path": "own/t.csv",
    "columns": {"image": "file", "answer": "label", "split": "split"},
}


def corpus(**changes: Any) -> CorpusConfig:
    return validate(
        CorpusConfig, {**read_params("corpora", "roco")[1], "name": "own", **changes}, "f"
    )


def benchmark(template: str, **changes: Any) -> BenchmarkConfig:
    values = read_params("benchmarks", template)[1]
    return validate(BenchmarkConfig, {**values, "name": "own", **changes}, "f")


def with_columns(values: dict[str, Any], **changes: str | None) -> dict[str, Any]:
    return {**values, "columns": {**values["columns"], **changes}}


def test_tables_that_say_what_is_needed() -> None:
    assert corpus(**with_columns(CORPUS, id="a", group="b", licence="c")).columns
    assert benchmark("retina", **with_columns(TASK, id="a", group="b", question="c")).columns
    assert benchmark("vqa_rad", **with_columns(TASK, question="a", answer_type="b")).columns
    assert benchmark("vqa_rad", **TASK, question="What is this?").columns


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": CORPUS["columns"]}, "loader 'roco' has columns of its own"),
        ({**CORPUS, "columns": None}, "needs path and columns"),
        ({**CORPUS, "path": None}, "needs path and columns"),
        (with_columns(CORPUS, text=None), "which column is the text"),
        (with_columns(CORPUS, split="x"), r"columns\.split is not used here"),
        (with_columns(CORPUS, txt="x"), r"unknown key 'columns\.txt'; did you mean 'text'"),
    ],
)
def test_a_corpus_that_is_no_table_or_half_of_one(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        corpus(**changes)


@pytest.mark.parametrize(
    ("template", "changes", "message"),
    [
        ("retina", {"columns": TASK["columns"]}, "loader 'medmnist' has columns of its own"),
        ("retina", {**TASK, "columns": None}, "needs path and columns"),
        ("retina", with_columns(TASK, answer=None), "which column is the answer"),
        ("retina", with_columns(TASK, split=None), "which column is the split"),
        ("retina", with_columns(TASK, answer_type="x"), r"columns\.answer_type is not used here"),
        ("retina", with_columns(TASK, licence="x"), r"columns\.licence is not used here"),
        ("vqa_rad", TASK, "which column is the question"),
    ],
)
def test_a_benchmark_that_is_no_table_or_half_of_one(
    template: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        benchmark(template, **changes)
