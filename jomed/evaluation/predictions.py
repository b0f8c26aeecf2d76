"""Prediction rows of a method: one per candidate and one fused row per sample (Eq. 3)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from jomed.evaluation.fusion import (
    Candidate,
    FloatArray,
    Fusion,
    HeadList,
    fuse,
    merge_candidates,
)
from jomed.evaluation.inconsistency import FUSED
from jomed.evaluation.methods import Method
from jomed.evaluation.text import canonical_answer, is_correct
from jomed.records import Prediction


@dataclass(frozen=True, slots=True)
class ScoredSample:
    """One sample with all that the reader said about it under one method.

    ``found``: candidate list per head (see `Method.lists`). ``answers``: the answer set C.
    ``log_likelihoods``: log p(c | z, x, q) over C, by record id. ``generations``: the greedy
    answer under each record, for open questions only, where C is the pool of them.
    """

    sample_id: str
    answer_type: str
    gold: str
    answers: tuple[str, ...]
    found: Mapping[str, HeadList]
    log_likelihoods: Mapping[str, ArrayLike]
    generations: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SamplePrediction:
    """Prediction rows of one sample (candidates, then the fused row) and p(c | x, q) over C."""

    sample_id: str
    answer_type: str
    rows: list[Prediction]
    answers: tuple[str, ...]
    probabilities: FloatArray


def predict(
    method: Method,
    samples: Iterable[ScoredSample],
    tau_f: float,
    fusion: Fusion = "probability",
) -> list[SamplePrediction]:
    """Predictions of a method: one row per candidate and one fused row per sample (Eq. 3).

    A candidate's answer is its most likely answer in C, or its own generation for open questions;
    the fused answer is the most likely one of C after fusion, the first one on ties.
    Candidate lists, answers and scores that do not fit each other are a ValueError.
    """
    return [_predict_sample(method, sample, tau_f, fusion) for sample in samples]


def _predict_sample(
    method: Method, sample: ScoredSample, tau_f: float, fusion: Fusion
) -> SamplePrediction:
    if set(sample.found) != set(method.lists):
        raise ValueError(
            f"sample {sample.sample_id!r} brings candidate lists {sorted(sample.found)}, "
            f"method {method.name!r} needs {sorted(method.lists)}"
        )
    found = {name: sample.found[name] for name in method.lists}
    candidates = merge_candidates(found, tau_f, fusion)
    table = _likelihood_table(sample, candidates)
    weights = [candidate.weight for candidate in candidates]
    fused = fuse(table, weights, fusion)
    chosen = sample.answers[int(fused.argmax())]
    rows = [
        _row(method, sample, candidate, answer)
        for candidate, answer in zip(
            candidates, _candidate_answers(sample, candidates, table), strict=True
        )
    ]
    rows.append(_row(method, sample, Candidate("", FUSED, 0, 0.0, 1.0), chosen))
    return SamplePrediction(sample.sample_id, sample.answer_type, rows, sample.answers, fused)


def _likelihood_table(sample: ScoredSample, candidates: Sequence[Candidate]) -> FloatArray:
    missing = [c.record_id for c in candidates if c.record_id not in sample.log_likelihoods]
    if missing:
        raise ValueError(f"sample {sample.sample_id!r} has no log-likelihoods under {missing}")
    table = [np.asarray(sample.log_likelihoods[c.record_id]) for c in candidates]
    if any(row.shape != (len(sample.answers),) for row in table):
        shapes = [row.shape for row in table]
        raise ValueError(
            f"sample {sample.sample_id!r} has {len(sample.answers)} answers but scores {shapes}"
        )
    return np.stack(table).astype(np.float64)


def _candidate_answers(
    sample: ScoredSample, candidates: Sequence[Candidate], table: FloatArray
) -> list[str]:
    if sample.answer_type != "open":
        return [sample.answers[index] for index in table.argmax(axis=1).tolist()]
    said, ids = sample.generations or {}, [candidate.record_id for candidate in candidates]
    if missing := [record_id for record_id in ids if record_id not in said]:
        raise ValueError(f"open question {sample.sample_id!r} has no generation under {missing}")
    return [said[record_id] for record_id in ids]


def _row(method: Method, sample: ScoredSample, candidate: Candidate, answer: str) -> Prediction:
    retrieved = bool(method.heads) and candidate.head != FUSED
    score = candidate.retriever_score if retrieved else float("nan")
    return Prediction(
        sample_id=sample.sample_id,
        method=method.name,
        head=candidate.head,
        rank=candidate.rank,
        record_id=candidate.record_id,
        retriever_score=score,
        weight=candidate.weight,
        answer=answer,
        correct=is_correct(sample.answer_type, answer, sample.gold),
    )


def label_scores(predictions: Iterable[SamplePrediction], labels: Sequence[str]) -> pd.DataFrame:
    """Probability of each label, for AUC: index sample_id, one column per label.

    Class labels: their fused probability, 0 for a label outside C. Label sets: the sum over the
    answers that contain the label. Samples of other answer types are a ValueError.
    """
    rows = {p.sample_id: _label_probabilities(p, len(labels), labels) for p in predictions}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(labels))


def _label_probabilities(
    prediction: SamplePrediction, n_labels: int, labels: Sequence[str]
) -> FloatArray:
    kind = prediction.answer_type
    if kind not in ("label", "labels"):
        raise ValueError(f"sample {prediction.sample_id!r} of type {kind!r} has no label scores")
    said = [canonical_answer(kind, answer) for answer in prediction.answers]
    keys = range(n_labels) if kind == "labels" else [canonical_answer(kind, x) for x in labels]
    contains = [
        [key in answer if isinstance(answer, frozenset) else key == answer for answer in said]
        for key in keys
    ]
    return np.asarray(np.array(contains, dtype=np.float64) @ prediction.probabilities)
