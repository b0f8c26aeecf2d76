import numpy as np
import pandas as pd
import pytest

from jomed.reporting.frames import FrameError, over_seeds, require, title_of, with_average


def cell(frame: pd.DataFrame, **where: str) -> pd.Series:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_over_seeds_is_mean_sample_deviation_and_envelope(metrics: pd.DataFrame) -> None:
    row = cell(over_seeds(metrics, "t"), method="jomed", benchmark="retina", subset="all",
               metric="accuracy")  # fmt: skip
    assert row["value"] == pytest.approx(0.62)
    assert row["spread"] == pytest.approx(0.04 / np.sqrt(2))
    assert (row["seeds"], row["low"], row["high"]) == (2, 0.55, 0.70)


def test_one_seed_has_no_spread_and_subset_accuracy_is_accuracy(metrics: pd.DataFrame) -> None:
    row = cell(over_seeds(metrics, "t"), benchmark="vindr_pcxr")
    assert row["metric"] == "accuracy"
    assert np.isnan(row["spread"])


def test_a_metric_undefined_in_one_seed_is_undefined(metrics: pd.DataFrame) -> None:
    metrics.loc[0, "value"] = float("nan")
    row = cell(over_seeds(metrics, "t"), method="jomed", benchmark="retina", subset="all",
               metric="accuracy")  # fmt: skip
    assert np.isnan(row["value"])


def test_frames_over_seeds_keep_their_intervals() -> None:
    row = {"benchmark": "b", "backbone": "q", "method": "jomed", "subset": "all"}
    row |= {"metric": "accuracy", "seeds": 3, "mean": 0.5, "spread": 0.1, "n": 9.0}
    frame = pd.DataFrame([row | {"low": 0.41, "high": 0.59}])
    pooled = over_seeds(frame, "t").iloc[0]
    assert (pooled["value"], pooled["spread"], pooled["low"], pooled["high"]) == (
        0.5, 0.1, 0.41, 0.59,
    )  # fmt: skip


def test_doubled_rows_are_an_error(metrics: pd.DataFrame) -> None:
    with pytest.raises(FrameError, match=r"two rows.*jomed"):
        over_seeds(pd.concat([metrics, metrics.head(1)]), "table")


def test_average_is_the_plain_mean_and_needs_every_benchmark(metrics: pd.DataFrame) -> None:
    both = with_average(metrics, ["retina", "vindr_pcxr"])
    average = both[both["benchmark"] == "average"]
    assert len(average) == 1  # only jomed, seed 0, has both
    row = average.iloc[0]
    assert (row["method"], row["seed"], row["n"]) == ("jomed", 0, 500)
    assert row["value"] == pytest.approx((0.60 + 0.30) / 2)
    assert np.isnan(row["low"])
    assert "average" not in set(with_average(metrics, ["retina", "breast"])["benchmark"])


def test_average_over_seeds() -> None:
    rows = [("a", 0.4, 3, 10), ("b", 0.8, 2, 30)]
    frame = pd.DataFrame(rows, columns=["benchmark", "mean", "seeds", "n"]).assign(
        backbone="q", method="jomed", subset="all", metric="accuracy", low=0.1, high=0.9, spread=0.0
    )
    row = with_average(frame, ["a", "b"]).iloc[-1]
    assert row["mean"] == pytest.approx(0.6)
    assert (row["seeds"], row["n"], row["benchmark"]) == (2, 40, "average")


def test_require_says_what_is_missing() -> None:
    with pytest.raises(FrameError, match=r"figure x: the frame lacks \['b'\]"):
        require(pd.DataFrame({"a": [1]}), ["a", "b"], "figure x")
    with pytest.raises(FrameError, match="no row"):
        require(pd.DataFrame({"a": []}), ["a"], "figure x")


def test_titles() -> None:
    assert title_of("standard_rag") == "Standard RAG"
    assert title_of("jomed+oracle") == "JOMED, oracle"
    assert title_of("VinDr-PCXR") == "VinDr-PCXR"
    assert title_of("some_metric") == "some metric"
