from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from prediction_frames import predictions_frame, samples_frame

from jomed.evaluation.estimates import EvaluatedRun, estimate
from jomed.evaluation.significance import Resampling, mcnemar
from jomed.evaluation.summary import Summary, summarise, with_holm

GOLD = {"s1": "0", "s2": "0", "s3": "1", "s4": "1"}
SAMPLES = samples_frame(GOLD)
# fused: rag right on s1, s3; jomed right on s1, s2, s3; inconsistent: rag s2, s4; jomed s2
RAG = {"s1": ("00", "0"), "s2": ("01", "1"), "s3": ("11", "1"), "s4": ("01", "0")}
JOMED = {"s1": ("00", "0"), "s2": ("10", "0"), "s3": ("11", "1"), "s4": ("00", "0")}
CLOSED = {"s1": ("0", "0"), "s2": ("0", "0"), "s3": ("0", "0"), "s4": ("x", "x")}
DRAWS = Resampling(draws=2_000, seed=1)


def _run(seed: int = 0, samples: pd.DataFrame = SAMPLES, **methods: dict) -> EvaluatedRun:  # type: ignore[type-arg]
    said = methods or {"standard_rag": RAG, "jomed": JOMED, "closed_book": CLOSED}
    frames = [predictions_frame(name, samples, answers) for name, answers in said.items()]
    return EvaluatedRun(
        benchmark="toy",
        backbone="tiny",
        seed=seed,
        task="single_label",
        labels=("0", "1"),
        predictions=pd.concat(frames),
        samples=samples,
    )


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarise([_run()], "standard_rag", DRAWS)


def _one(frame: pd.DataFrame, **where: object) -> pd.Series:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def _value(summary: Summary, method: str, subset: str, metric: str) -> float:
    row = _one(summary.metrics, method=method, subset=subset, metric=metric)
    return float(row["value"])


def test_metrics_by_hand(summary: Summary) -> None:
    assert _value(summary, "standard_rag", "all", "accuracy") == 0.5
    assert _value(summary, "jomed", "all", "accuracy") == 0.75
    # jomed: class 0 tp 2 fp 1 -> .8; class 1 tp 1 fn 1 -> 2/3
    assert _value(summary, "jomed", "all", "macro_f1") == pytest.approx((0.8 + 2 / 3) / 2)
    assert _value(summary, "closed_book", "all", "unparsed") == 1


def test_subsets_by_hand(summary: Summary) -> None:
    assert _value(summary, "standard_rag", "all", "inconsistent_share") == 0.5
    assert _value(summary, "jomed", "all", "inconsistent_share") == 0.25
    assert _value(summary, "standard_rag", "inconsistent", "accuracy") == 0.0
    assert _value(summary, "jomed", "inconsistent", "accuracy") == 0.5
    assert _value(summary, "closed_book", "inconsistent", "accuracy") == 0.5
    assert _value(summary, "jomed", "own_inconsistent", "accuracy") == 1.0
    row = _one(summary.metrics, method="jomed", subset="own_inconsistent", metric="accuracy")
    assert row["n"] == 1
    closed = summary.metrics[summary.metrics["method"] == "closed_book"]
    assert set(closed["subset"]) == {"all", "inconsistent"}
    assert "inconsistent_share" not in set(closed["metric"])


def test_oracle_is_a_method_of_the_metrics_but_never_compared(summary: Summary) -> None:
    assert _value(summary, "standard_rag+oracle", "all", "accuracy") == 1.0
    assert _value(summary, "jomed+oracle", "all", "accuracy") == 0.75
    assert set(summary.differences["method"]) == {"jomed", "closed_book"}


def test_intervals_surround_the_value_and_counts_have_none(summary: Summary) -> None:
    row = _one(summary.metrics, method="jomed", subset="all", metric="accuracy")
    assert row["low"] <= row["value"] <= row["high"]
    assert row["low"] < row["high"]
    count = _one(summary.metrics, method="jomed", subset="all", metric="unparsed")
    assert np.isnan(count["low"])


def test_differences_by_hand(summary: Summary) -> None:
    row = _one(summary.differences, method="jomed", subset="all", metric="accuracy")
    assert (row["difference"], row["n"], row["clustered"]) == (0.25, 4, False)
    # one discordant sample of four: the replicates are count/4 of that sample, p is large
    assert row["low"] == 0.0
    assert row["high"] == pytest.approx(0.75, abs=0.26)
    assert row["p_mcnemar"] == 1.0
    assert row["p_bootstrap"] == pytest.approx(2 * 0.75**4, abs=0.05)
    f1 = _one(summary.differences, method="jomed", subset="all", metric="macro_f1")
    assert np.isnan(f1["p_mcnemar"])
    assert set(summary.differences["subset"]) == {"all", "inconsistent"}


def test_macro_f1_is_resampled_as_macro_f1() -> None:
    rows = estimate([_run()], "standard_rag", DRAWS).rows
    row = next(r for r in rows if (r.method, r.subset, r.metric) == ("jomed", "all", "macro_f1"))
    assert row.replicates is not None
    # a draw without class 1 predictions and golds has F1 (1 + 0) / 2 at best: zero_division=0
    assert row.replicates.max() == pytest.approx(1.0)
    assert (row.replicates >= 0).all()
    assert np.isclose(row.replicates, row.measure.value).any()


def test_over_seeds_mean_spread_and_pairing() -> None:
    better = JOMED | {"s4": ("11", "1")}
    runs = [_run(seed=s, standard_rag=RAG, jomed=j) for s, j in ((0, JOMED), (1, better))]
    summary = summarise(runs, "standard_rag", DRAWS)
    mean = _one(summary.seed_metrics, method="jomed", subset="all", metric="accuracy")
    assert (mean["seeds"], mean["mean"], mean["n"]) == (2, 0.875, 4)
    assert mean["spread"] == pytest.approx(0.125 * np.sqrt(2))
    gain = _one(summary.seed_differences, method="jomed", subset="all", metric="accuracy")
    assert gain["difference"] == pytest.approx(0.375)
    # drawn samples bring both seeds: a replicate is (2 * count(s2) + count(s4)) / 8
    assert gain["low"] == 0.0
    assert gain["high"] <= 1.0
    assert gain["p_bootstrap"] == pytest.approx(2 * 0.5**4, abs=0.05)
    same = _one(summary.seed_metrics, method="standard_rag", subset="all", metric="accuracy")
    assert (same["mean"], same["spread"]) == (0.5, 0.0)


def test_a_seed_without_inconsistent_samples_leaves_no_mean_and_no_spread() -> None:
    agreed = {"s1": ("00", "0"), "s2": ("11", "1"), "s3": ("11", "1"), "s4": ("00", "0")}
    runs = [_run(seed=s, standard_rag=rag, jomed=JOMED) for s, rag in ((0, RAG), (1, agreed))]
    frame = summarise(runs, "standard_rag", DRAWS).seed_metrics
    row = _one(frame, method="jomed", subset="inconsistent", metric="accuracy")
    assert (row["seeds"], row["n"]) == (2, 1.0)
    assert np.isnan(row["mean"])
    assert np.isnan(row["spread"])
    whole = _one(frame, method="jomed", subset="all", metric="accuracy")
    assert (whole["mean"], whole["spread"]) == (0.75, 0.0)


def test_one_seed_has_no_spread(summary: Summary) -> None:
    assert summary.seed_metrics["spread"].isna().all()


def test_shared_groups_widen_nothing_but_are_drawn_together() -> None:
    grouped = samples_frame(GOLD, groups=["p", "p", "q", "q"])
    summary = summarise([_run(samples=grouped)], "standard_rag", DRAWS)
    row = _one(summary.differences, method="jomed", subset="all", metric="accuracy")
    # patients p (gain 1 of 2) and q (gain 0): replicates 0, .25, .5
    assert row["clustered"]
    assert row["high"] == 0.5
    assert row["p_bootstrap"] == pytest.approx(0.5, abs=0.05)
    assert row["p_holm"] == pytest.approx(min(1.0, 2 * row["p_bootstrap"]))


def test_holm_families_are_one_metric_on_one_subset() -> None:
    frame = pd.DataFrame(
        {
            "seed": 0,
            "method": ["a", "b", "c", "a"],
            "subset": ["all", "all", "all", "inconsistent"],
            "metric": "accuracy",
            "clustered": [False, False, True, False],
            "p_mcnemar": [0.01, 0.04, 0.001, 0.02],
            "p_bootstrap": [0.9, 0.9, 0.5, np.nan],
        }
    )
    adjusted = with_holm(frame)["p_holm"]
    np.testing.assert_allclose(adjusted, [0.03, 0.08, 0.5, 0.02])


def test_mcnemar_column_is_that_of_the_correct_answers() -> None:
    gold = {f"s{i:02}": "0" for i in range(20)}
    samples = samples_frame(gold)
    worse = {s: ("00", "1" if i < 8 else "0") for i, s in enumerate(gold)}
    better = {s: ("00", "1" if i == 19 else "0") for i, s in enumerate(gold)}
    run = _run(samples=samples, standard_rag=worse, jomed=better)
    row = _one(
        summarise([run], "standard_rag", DRAWS).differences,
        method="jomed",
        subset="all",
        metric="accuracy",
    )
    expected = mcnemar([i != 19 for i in range(20)], [i >= 8 for i in range(20)])
    assert row["p_mcnemar"] == pytest.approx(expected.p_value)
    assert row["p_mcnemar"] == pytest.approx(2 * (1 + 9) / 2**9)


def test_auc_comes_from_the_label_scores() -> None:
    zero = {"s4": 0.9, "s3": 0.4, "s2": 0.5, "s1": 0.2}
    scores = pd.DataFrame({"1": {s: 1 - p for s, p in zero.items()}, "0": zero})
    run = replace(_run(), label_scores={"jomed": scores})
    summary = summarise([run], "standard_rag", DRAWS)
    # label 0: positives s1 .2 and s2 .5 against s3 .4 and s4 .9 -> one of four pairs in order
    assert _value(summary, "jomed", "all", "auc") == 0.25
    with_auc = summary.metrics[summary.metrics["metric"] == "auc"]
    assert set(with_auc["method"]) == {"jomed"}


def test_vqa_run() -> None:
    gold = {"q1": "yes", "q2": "left lobe", "q3": "heart"}
    kinds = {"q1": "closed", "q2": "open", "q3": "open"}
    samples = samples_frame(gold, kinds)
    said = {
        "q1": (("no", "Yes."), "no"),
        "q2": (("lobe", "lobe"), "lobe"),
        "q3": (("heart", "heart"), "heart"),
    }
    run = replace(_run(samples=samples, standard_rag=said), task="vqa", labels=())
    summary = summarise([run], "standard_rag", DRAWS)
    assert _value(summary, "standard_rag", "all", "closed_em") == 0.0
    assert _value(summary, "standard_rag+oracle", "all", "closed_em") == 1.0
    assert _value(summary, "standard_rag", "all", "open_recall") == 0.75
    assert _value(summary, "standard_rag", "all", "n_open") == 2
    assert np.isnan(_value(summary, "standard_rag", "inconsistent", "open_recall"))
    assert summary.differences.empty


def test_multi_label_run() -> None:
    gold = {"s1": "0", "s2": "1, 2", "s3": "2", "s4": "0"}
    samples = samples_frame(gold, "labels")
    said = {s: ((a, a), a) for s, a in zip(gold, ("0", "1", "0, 2", ""), strict=True)}
    run = replace(
        _run(samples=samples, standard_rag=said), task="multi_label", labels=tuple("abcd")
    )
    summary = summarise([run], "standard_rag", DRAWS)
    value = _value(summary, "standard_rag", "all", "macro_f1")
    assert value == pytest.approx(0.5417, abs=5e-5)
    assert _value(summary, "standard_rag", "all", "macro_f1_cap") == 0.75


def test_incomplete_or_mismatched_runs_are_refused() -> None:
    partial = {s: RAG[s] for s in ("s1", "s2", "s3")}
    with pytest.raises(ValueError, match="toy, seed 0, jomed: 3 fused predictions"):
        summarise([_run(standard_rag=RAG, jomed=partial)], "standard_rag", DRAWS)
    with pytest.raises(ValueError, match="no predictions of method 'standard_rag'"):
        summarise([_run(jomed=JOMED)], "standard_rag", DRAWS)
    with pytest.raises(ValueError, match="a seed comes twice"):
        summarise([_run(), _run()], "standard_rag", DRAWS)
    other = samples_frame(GOLD | {"s4": "0"})
    with pytest.raises(ValueError, match="differ in their test samples"):
        summarise([_run(), _run(seed=1, samples=other)], "standard_rag", DRAWS)
    with pytest.raises(ValueError, match="unknown task"):
        summarise([replace(_run(), task="report")], "standard_rag", DRAWS)
