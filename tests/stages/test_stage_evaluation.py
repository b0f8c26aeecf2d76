"""Stage 06: predictions of every method, traceable to samples, records and scores."""

import math
from pathlib import Path

import pandas as pd
import pytest
from tiny_run import OVERRIDES, Run

from jomed.artifacts import MissingArtifact, artifact
from jomed.config import ConfigError, load_config, with_overrides
from jomed.data.leakage import leaked_samples
from jomed.evaluation.estimates import EvaluatedRun
from jomed.phantom.world import REPEATED
from jomed.stages.evaluation import prepare_evaluation
from jomed.stages.finished import measured_labels, read_evaluation, summarise_runs

METHODS = OVERRIDES["evaluation.methods"]


def fused(evaluated: EvaluatedRun) -> pd.DataFrame:
    return evaluated.predictions[evaluated.predictions["head"] == "fused"]


@pytest.mark.parametrize("made", ["run", "asked"])
def test_every_method_predicts_every_test_sample_once(
    made: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(made)
    samples = run.samples.samples
    test = set(samples.loc[samples["split"] == "test", "sample_id"])
    assert set(run.evaluated.samples["sample_id"]) == test
    final = fused(run.evaluated)
    assert final["method"].unique().tolist() == METHODS
    for _, own in final.groupby("method"):
        assert len(own) == len(test)
        assert set(own["sample_id"]) == test


@pytest.mark.parametrize("made", ["run", "asked"])
def test_every_candidate_is_a_record_and_weights_sum_to_one(
    made: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(made)
    rows = run.evaluated.predictions
    candidates = rows[rows["head"] != "fused"]
    retrieved = candidates[candidates["method"] != "closed_book"]
    assert set(retrieved["record_id"]) <= set(run.corpora.records["record_id"])
    assert (candidates.loc[candidates["method"] == "closed_book", "record_id"] == "").all()
    for total in candidates.groupby(["method", "sample_id"])["weight"].sum():
        assert math.isclose(total, 1.0, rel_tol=1e-6)


def test_the_fused_answer_is_the_most_probable_label(run: Run) -> None:
    for method, own in fused(run.evaluated).groupby("method"):
        scores = run.evaluated.label_scores[str(method)].loc[own["sample_id"]]
        assert scores.to_numpy().sum(axis=1) == pytest.approx(1.0, abs=1e-6)
        assert scores.idxmax(axis=1).tolist() == own["answer"].tolist()


def test_correct_is_the_gold_answer(run: Run) -> None:
    gold = run.samples.samples.set_index("sample_id")["answer"]
    rows = run.evaluated.predictions
    assert (rows["correct"] == (rows["answer"] == rows["sample_id"].map(gold))).all()


def test_the_only_candidate_of_closed_book_is_its_prediction(run: Run) -> None:
    rows = run.evaluated.predictions
    own = rows[rows["method"] == "closed_book"].groupby("sample_id")["answer"]
    assert (own.size() == 2).all()
    assert (own.nunique() == 1).all()


def test_questions_have_no_label_scores_and_both_kinds_are_answered(asked: Run) -> None:
    assert measured_labels(asked.config) == ()
    assert asked.evaluated.label_scores == {}
    assert set(asked.evaluated.samples["answer_type"]) == {"closed", "open"}
    kinds = asked.evaluated.samples.set_index("sample_id")["answer_type"]
    final = fused(asked.evaluated)
    closed = final[final["sample_id"].map(kinds) == "closed"]
    samples = asked.samples.samples
    learned = samples[(samples["split"] == "train") & (samples["answer_type"] == "closed")]
    assert set(closed["answer"]) <= set(learned["answer"].str.casefold())


def test_a_finished_evaluation_is_read_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jomed.stages.evaluation.open_examiner", None)
    again = prepare_evaluation(run.config, run.reader.reader)
    pd.testing.assert_frame_equal(again.predictions, run.evaluated.predictions)
    pd.testing.assert_frame_equal(again.samples, run.evaluated.samples)
    for method, scores in again.label_scores.items():
        pd.testing.assert_frame_equal(scores, run.evaluated.label_scores[method])


def test_evaluated_again_from_the_score_table_is_the_same(run: Run, tmp_path: Path) -> None:
    """Deleting the artefact and scoring anew gives the same bytes."""
    made = artifact(run.config, "evaluation")
    before = made.manifest()["content"]
    hidden = made.path.rename(tmp_path / "before")
    try:
        prepare_evaluation(run.config, run.reader.reader)
        assert made.manifest()["content"] == before
    finally:
        if not made.path.exists():
            hidden.rename(made.path)


def test_a_missing_evaluation_names_its_notebook(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=r"06_evaluate\.ipynb"):
        read_evaluation(load_config("tiny", runs_dir=tmp_path))


@pytest.mark.parametrize("made", ["run", "asked"])
def test_metrics_agree_with_the_predictions(made: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(made)
    metrics = summarise_runs(run.config, [run.evaluated]).metrics
    name = {"single_label": "accuracy", "vqa": "closed_em"}[run.evaluated.task]
    final, kinds = fused(run.evaluated), run.evaluated.samples.set_index("sample_id")["answer_type"]
    counted = final[final["sample_id"].map(kinds) != "open"]
    expected = counted.groupby("method")["correct"].mean()
    rows = metrics[(metrics["metric"] == name) & (metrics["subset"] == "all")]
    found = rows.set_index("method")["value"]
    for method in METHODS:
        assert found[method] == pytest.approx(expected[method])


def test_leaked_test_samples_can_be_left_out(run: Run) -> None:
    samples = run.samples.samples
    leaked = leaked_samples(samples, run.corpora.records, "test", ["image"])
    assert len(leaked) == REPEATED
    chosen = with_overrides(run.config, {"evaluation.exclude_leaks": ["image"]})
    kept = set(prepare_evaluation(chosen, run.reader.reader).samples["sample_id"])
    assert kept == set(samples.loc[samples["split"] == "test", "sample_id"]) - leaked


def test_excluding_every_sample_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = set(run.samples.samples["sample_id"])
    monkeypatch.setattr("jomed.stages.evaluation.leaked_samples", lambda *_: everything)
    chosen = with_overrides(run.config, {"evaluation.exclude_leaks": ["near", "group"]})
    with pytest.raises(ConfigError, match=r"leak \(near, group\); take kinds out of evaluation"):
        prepare_evaluation(chosen, run.reader.reader)
