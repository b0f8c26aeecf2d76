import numpy as np
import pandas as pd
import pytest
from prediction_frames import predictions_frame, samples_frame

from jomed.evaluation.inconsistency import (
    inconsistency,
    inconsistent_samples,
    inconsistent_shares,
)

SAMPLES = samples_frame({"s1": "0", "s2": "1", "s3": "0"})
KINDS = dict.fromkeys(SAMPLES["sample_id"], "label")
RAG = predictions_frame(
    "standard_rag", SAMPLES, {"s1": ("001", "0"), "s2": ("11", "1"), "s3": ("10", "0")}
)
CLOSED = predictions_frame("closed_book", SAMPLES, {s: ("0", "0") for s in ("s1", "s2", "s3")})


def test_flags_by_hand() -> None:
    flags = inconsistency(pd.concat([RAG, CLOSED]), KINDS)
    own = flags[flags["method"] == "standard_rag"]
    assert own["sample_id"].tolist() == ["s1", "s2", "s3"]
    assert own["candidates"].tolist() == [3, 2, 2]
    assert own["inconsistent"].tolist() == [True, False, True]
    assert inconsistent_samples(flags, "standard_rag") == {"s1", "s3"}
    assert inconsistent_samples(flags, "closed_book") == frozenset()


def test_the_fused_answer_does_not_make_a_sample_inconsistent() -> None:
    rows = predictions_frame("m", SAMPLES, {"s1": ("00", "1")})
    assert not inconsistency(rows, KINDS)["inconsistent"].any()


def test_shares_by_hand() -> None:
    flags = inconsistency(pd.concat([RAG, CLOSED]), KINDS)
    shares = inconsistent_shares(flags).set_index("method")
    assert shares.loc["standard_rag", "share"] == pytest.approx(2 / 3)
    assert shares.loc["standard_rag", "n"] == 3
    assert np.isnan(shares.loc["closed_book", "share"])
    assert shares.loc["closed_book", "n"] == 0


@pytest.mark.parametrize(
    ("kind", "answers", "differ"),
    [
        ("closed", ("Yes.", "yes"), False),
        ("labels", ("7, 3", "3,7"), False),
        ("labels", ("7, 3", "3"), True),
        ("label", ("", "."), False),
        ("label", ("", "0"), True),
        ("open", ("the left lung", "Left lung."), False),
    ],
)
def test_answers_are_compared_by_what_they_say(
    kind: str, answers: tuple[str, ...], differ: bool
) -> None:
    samples = samples_frame({"s": "0"}, kind)
    flags = inconsistency(predictions_frame("m", samples, {"s": (answers, "0")}), {"s": kind})
    assert flags["inconsistent"].tolist() == [differ]


def test_unknown_methods_and_samples_are_refused() -> None:
    flags = inconsistency(RAG, KINDS)
    with pytest.raises(ValueError, match="no predictions of method 'jomed'"):
        inconsistent_samples(flags, "jomed")
    with pytest.raises(ValueError, match="without answer type: 's3'"):
        inconsistency(RAG, {"s1": "label", "s2": "label"})
