"""What the notebooks show of finished runs: results, tables, agreement, index checks."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from tiny_run import OVERRIDES, Run, whole_run

from jomed.artifacts import MissingArtifact
from jomed.config import load_config
from jomed.evaluation.summary import Summary
from jomed.stages.agreement import agreement_frame
from jomed.stages.finished import summarise_runs
from jomed.stages.index import Finder
from jomed.stages.index_check import search_trials, self_retrieval
from jomed.stages.pictures import neighbour_tiles, record_tiles, sample_tiles
from jomed.stages.results import (
    MatrixResults,
    collect_runs,
    example_sample,
    parse_failures,
    prediction_rows,
    pretraining_curves,
    stage_status,
    training_curves,
    training_outcomes,
    validation_hits,
)
from jomed.stages.tables import (
    CLASSIFICATION,
    VQA,
    comparable_paper,
    difference_rows,
    matrix_table,
    method_titles,
    oracle_rows,
    subset_rows,
)


@pytest.fixture(scope="session")
def results(run: Run) -> MatrixResults:
    """The matrix of the tiny profile, of which one run is finished."""
    found = collect_runs(run.config)
    chosen = [i for i, config in enumerate(found.configs) if config.run_name == run.config.run_name]
    runs = [found.runs[i] for i in chosen]
    return dataclasses.replace(found, configs=tuple(found.configs[i] for i in chosen), runs=runs)


@pytest.fixture(scope="session")
def summary(run: Run, results: MatrixResults) -> Summary:
    return summarise_runs(run.config, results.runs)


def test_finished_and_missing_runs_are_told_apart(results: MatrixResults) -> None:
    status = results.status.set_index(["benchmark", "backbone"])["status"]
    assert len(status) == len(results.planned)
    assert status["RetinaMNIST", "tiny Qwen2-VL"] == "finished"
    assert status["VinDr-PCXR", "tiny Pixtral"] == "not run"
    assert results.provenance().titles["vindr_pcxr"] == "VinDr-PCXR"


def test_a_matrix_without_a_finished_run_names_the_notebook(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="06_evaluate"):
        collect_runs(load_config("tiny", overrides=OVERRIDES, runs_dir=tmp_path))


def test_status_of_the_stages(run: Run, tmp_path: Path) -> None:
    assert set(stage_status(run.config)["status"]) == {"finished"}
    fresh = load_config("tiny", runs_dir=tmp_path)
    assert set(stage_status(fresh)["status"]) == {"missing"}


def test_the_paper_stands_beside_published_models_on_real_data_only(run: Run) -> None:
    assert comparable_paper([run.config]) is None
    paper = comparable_paper([load_config("paper", "retina", "qwen2_vl_7b", "biomedclip")])
    assert paper is not None
    own = paper[(paper["method"] == "jomed") & (paper["metric"] == "accuracy")]
    assert own.set_index("benchmark")["paper"].to_dict() == {"retina": 65.0}
    smaller = comparable_paper([load_config("paper", "retina", "qwen2_vl_2b", "biomedclip")])
    assert smaller is not None
    assert "jomed" not in set(smaller["method"])


def test_a_table_shows_missing_runs_and_no_table_where_there_is_no_benchmark(
    results: MatrixResults, summary: Summary, tmp_path: Path
) -> None:
    provenance = dataclasses.replace(results.provenance(), root=tmp_path)
    text = matrix_table(results, summary, ["jomed"], CLASSIFICATION, "t", provenance)
    assert text.splitlines()[0].count("ACC") == 2
    assert "not run" in text
    assert "paper" not in text
    retina = tuple(run for run in results.planned if run.benchmark.name == "retina")
    without = dataclasses.replace(results, planned=retina)
    assert matrix_table(without, summary, ["jomed"], VQA, "u", provenance).startswith("No bench")
    assert not (tmp_path / "tables" / "tiny" / "u.csv").exists()


def test_rows_of_a_summary(summary: Summary) -> None:
    assert set(difference_rows(summary, ["jomed"])["method"]) == {"jomed"}
    assert set(difference_rows(summary, ["jomed"])["metric"]) == {"accuracy", "macro_f1"}
    there = summary.seed_differences
    there = there[(there["subset"] == "inconsistent") & (there["method"] == "jomed")]
    shown = difference_rows(summary, ["jomed"], "inconsistent")
    assert set(shown["difference"]) <= set(there["difference"])
    assert len(shown) == 2
    oracle = oracle_rows(summary)
    assert (oracle["gap"] >= 0).all()
    assert "closed_book" not in set(oracle["method"])
    assert subset_rows(summary, "inconsistent")["n"].dtype == int


def test_every_method_has_a_title(run: Run) -> None:
    assert list(method_titles(run.config)["method"]) == list(run.config.evaluation.methods)


def test_rows_of_one_sample_name_sources_and_not_records(run: Run) -> None:
    rows = prediction_rows(run.evaluated, example_sample(run.evaluated), ["jomed"])
    assert set(rows["source"]) <= {"roco", "pmc_oa", "mimic_cxr", ""}
    assert rows.iloc[-1]["head"] == "fused"
    assert rows.loc[rows["head"] != "fused", "weight"].sum() == pytest.approx(1)


def test_the_example_is_a_sample_on_which_candidates_disagree(run: Run) -> None:
    predictions = run.evaluated.predictions.copy()
    ids = run.evaluated.samples["sample_id"].tolist()
    own = predictions["method"].eq("standard_rag") & predictions["head"].ne("fused")
    predictions.loc[own, "answer"] = "0"
    predictions.loc[predictions.index[own & predictions["sample_id"].eq(ids[4])][0], "answer"] = "1"
    changed = dataclasses.replace(run.evaluated, predictions=predictions)
    assert example_sample(changed) == ids[4]


def test_unreadable_answers_are_counted_per_method(run: Run) -> None:
    predictions = run.evaluated.predictions.copy()
    fused = predictions["method"].eq("jomed") & predictions["head"].eq("fused")
    predictions.loc[predictions.index[fused][:2], "answer"] = " "
    counted = parse_failures(dataclasses.replace(run.evaluated, predictions=predictions))
    assert counted.set_index("method")["unparsed"].to_dict()["jomed"] == 2
    assert counted["unparsed"].sum() == 2


def test_training_is_shown_from_its_logs(run: Run) -> None:
    hits = validation_hits([run.config])
    assert hits["stage"].tolist() == ["before", "after"] * 2
    best = training_outcomes(run.config).set_index("head")["best"]
    after = hits[hits["stage"] == "after"].set_index("head")["log_likelihood"]
    assert after.to_dict() == pytest.approx(best.to_dict())
    assert hits["samples_with_hit"].between(0, 1).all()
    assert set(training_curves(run.config)["head"]) == {"text", "image"}
    steps = run.config.encoder.tiny
    assert steps is not None
    assert len(pretraining_curves(run.config, "encoder")["pre-training loss"]) == steps.steps
    assert (
        pretraining_curves(
            load_config("paper", encoder="biomedclip", backbone="pixtral_12b"), "encoder"
        )
        == {}
    )


def test_agreement_before_and_after(run: Run, asked: Run) -> None:
    frame = agreement_frame([run.config, asked.config])
    assert len(frame) == 8
    assert frame["value"].between(0, 1).all()
    assert ((frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"])).all()
    sizes = frame.groupby("benchmark")["n"].first()
    tested = asked.evaluated.samples
    findings = tested["answer_type"].eq("open") & tested["question_type"].eq("ABN")
    assert sizes.to_dict() == {"retina": 12, "vqa_rad": int(findings.sum())}


def test_an_index_finds_its_own_vectors(run: Run) -> None:
    found = self_retrieval(Finder(run.config, run.samples.samples.head(1)).index)
    assert found["found_first"].tolist() == [1.0, 1.0]
    trials = search_trials(run.config)
    assert trials.groupby("setting")["recall"].min()["exact"] == 1.0
    assert trials["recall"].between(0, 1).all()


def test_tiles_of_records_samples_and_neighbours(run: Run) -> None:
    records = record_tiles(run.config, run.corpora.records, per_source=2)
    assert [tile.row for tile in records] == ["roco"] * 2 + ["pmc_oa"] * 2 + ["mimic_cxr"] * 2
    samples = sample_tiles(run.config, run.samples.samples, per_split=3)
    assert pd.Series([tile.row for tile in samples]).value_counts().to_dict() == {
        "train": 3, "val": 3, "test": 3,
    }  # fmt: skip
    finder = Finder(run.config, run.samples.samples.tail(1))
    tiles = neighbour_tiles(run.config, finder, finder.queries.ids[0], count=2)
    assert [tile.title.split(",")[0].split(":")[0] for tile in tiles] == [
        "query", "text head", "text head", "query", "image head", "image head",
    ]  # fmt: skip


def test_lists_of_labels_are_evaluated_and_measured_too(run: Run) -> None:
    config = load_config("tiny", "vindr_pcxr", overrides=OVERRIDES, runs_dir=run.config.runs_dir)
    evaluated = whole_run(config).evaluated
    assert list(evaluated.label_scores["jomed"].columns) == list(config.benchmark.label_names)
    metrics = summarise_runs(config, [evaluated]).metrics
    assert {"subset_accuracy", "macro_f1"} <= set(metrics["metric"])
