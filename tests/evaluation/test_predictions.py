import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from jomed.evaluation.fusion import HeadList
from jomed.evaluation.methods import METHODS, no_record
from jomed.evaluation.predictions import ScoredSample, label_scores, predict
from jomed.records import PREDICTION_SCHEMA, write_rows

FOUND = {"text": HeadList(("c", "a"), (0.5, 0.5)), "image": HeadList(("a", "b"), (0.8, 0.8))}
LIKELIHOODS = {"a": np.log([0.1, 0.9]), "b": np.log([0.8, 0.2]), "c": np.log([0.8, 0.2])}


def _sample(likelihoods: Mapping[str, np.ndarray] = LIKELIHOODS) -> ScoredSample:
    return ScoredSample("s1", "label", "0", ("0", "1"), FOUND, likelihoods)


def test_one_row_per_candidate_and_one_fused_row() -> None:
    (prediction,) = predict(METHODS["jomed"], [_sample()], tau_f=1.0)
    a, b, c, fused = prediction.rows
    assert [row.record_id for row in prediction.rows] == ["a", "b", "c", ""]
    assert [row.head for row in prediction.rows] == ["image+text", "image", "text", "fused"]
    assert [row.weight for row in prediction.rows] == pytest.approx([0.5, 0.25, 0.25, 1.0])
    assert [row.answer for row in (a, b, c)] == ["1", "0", "0"]
    assert [row.correct for row in (a, b, c)] == [False, True, True]
    assert (a.rank, c.rank, fused.rank) == (1, 1, 0)
    assert c.retriever_score == 0.5
    assert math.isnan(fused.retriever_score)
    np.testing.assert_allclose(prediction.probabilities, [0.45, 0.55])
    assert (fused.answer, fused.correct, fused.method) == ("1", False, "jomed")


def test_rows_fit_the_prediction_schema(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (prediction,) = predict(METHODS["jomed"], [_sample()], tau_f=1.0)
    assert write_rows(tmp_path / "rows.parquet", prediction.rows, PREDICTION_SCHEMA) == 4


def test_closed_book_has_one_candidate_without_record() -> None:
    sample = replace(_sample({"": np.log([0.7, 0.3])}), found=no_record())
    (prediction,) = predict(METHODS["closed_book"], [sample], tau_f=1.0)
    only, fused = prediction.rows
    assert (only.head, only.record_id, only.weight) == ("none", "", 1.0)
    assert math.isnan(only.retriever_score)
    assert fused.answer == only.answer == "0"
    np.testing.assert_allclose(prediction.probabilities, [0.7, 0.3])


def test_open_candidates_answer_with_their_own_generation() -> None:
    sample = ScoredSample(
        sample_id="q",
        answer_type="open",
        gold="left lung",
        answers=("left lung", "heart"),
        found=FOUND,
        log_likelihoods=LIKELIHOODS,
        generations={"a": "Left lung.", "b": "heart", "c": ""},
    )
    (prediction,) = predict(METHODS["standard_rag"], [sample], tau_f=1.0)
    assert [row.answer for row in prediction.rows] == ["Left lung.", "heart", "", "heart"]
    assert [row.correct for row in prediction.rows] == [True, False, False, False]


def test_label_scores_of_class_labels() -> None:
    predictions = predict(METHODS["jomed"], [_sample()], tau_f=1.0)
    frame = label_scores(predictions, ["1", "0", "2"])
    np.testing.assert_allclose(frame.loc["s1"], [0.55, 0.45, 0.0])
    assert list(frame.columns) == ["1", "0", "2"]


def test_label_scores_of_label_sets_are_marginals() -> None:
    sample = ScoredSample(
        "s", "labels", "0", ("0", "0, 2", "1"), no_record(), {"": np.log([0.5, 0.3, 0.2])}
    )
    frame = label_scores(predict(METHODS["closed_book"], [sample], 1.0), ["x", "y", "z"])
    np.testing.assert_allclose(frame.loc["s"], [0.8, 0.2, 0.3])


def test_samples_that_do_not_fit_are_refused() -> None:
    jomed = METHODS["jomed"]
    with pytest.raises(ValueError, match=r"method 'jomed' needs \['image', 'text'\]"):
        predict(jomed, [replace(_sample(), found=no_record())], 1.0)
    with pytest.raises(ValueError, match=r"no log-likelihoods under \['c'\]"):
        predict(jomed, [_sample({"a": np.zeros(2), "b": np.zeros(2)})], 1.0)
    with pytest.raises(ValueError, match="2 answers but scores"):
        predict(jomed, [_sample(dict.fromkeys("abc", np.zeros(3)))], 1.0)
    opened = replace(_sample(), answer_type="open")
    with pytest.raises(ValueError, match="no generation under"):
        predict(jomed, [opened], 1.0)
    closed = predict(jomed, [replace(_sample(), answer_type="closed")], 1.0)
    with pytest.raises(ValueError, match="'closed' has no label scores"):
        label_scores(closed, ["0", "1"])
