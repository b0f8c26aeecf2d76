import time
from itertools import product

import numpy as np
import pytest

from jomed.evaluation.metrics import mean_measure, single_label
from jomed.evaluation.significance import (
    Resampling,
    bootstrap,
    bootstrap_p_value,
    cluster_codes,
    holm,
    mcnemar,
    percentile_interval,
)


def test_cluster_codes_join_groups_and_keep_lone_samples_apart() -> None:
    codes = cluster_codes(["p1", "", "p1", "p2", ""], ["a", "b", "c", "d", "e"])
    assert codes.tolist() == [0, 1, 0, 2, 3]
    assert cluster_codes(["b", ""], ["a", "b"]).tolist() == [0, 1]  # group "b" is not sample "b"


def test_bootstrap_matches_the_exact_distribution_of_three_samples() -> None:
    measure = mean_measure([0.0, 0.0, 1.0])
    draws = bootstrap([measure], [0, 1, 2], Resampling(draws=40_000, seed=3))[0]
    exact = [np.mean(values) for values in product([0.0, 0.0, 1.0], repeat=3)]
    for value in (0.0, 1 / 3, 2 / 3, 1.0):
        share = np.isclose(draws, value).mean()
        assert share == pytest.approx(np.isclose(exact, value).mean(), abs=0.01)


def test_clusters_are_drawn_whole() -> None:
    measure = mean_measure([1.0, 1.0, 0.0, 0.0])
    draws = bootstrap([measure], [0, 0, 1, 1], Resampling(draws=2_000, seed=0))[0]
    assert set(np.unique(draws)) == {0.0, 0.5, 1.0}


def test_clusters_of_unequal_size_weigh_by_their_samples() -> None:
    draws = bootstrap(
        [mean_measure([1.0, 1.0, 1.0, 0.0])], [0, 0, 0, 1], Resampling(draws=500, seed=0)
    )[0]
    assert set(np.unique(draws)) == {0.0, 0.75, 1.0}


def test_all_measures_see_the_same_draws() -> None:
    values = np.random.default_rng(0).random(50)
    first, second = bootstrap(
        [mean_measure(values), mean_measure(values + 0.25)], np.arange(50), Resampling(draws=100)
    )
    np.testing.assert_allclose(second - first, 0.25)


def test_bootstrap_is_seeded_and_independent_of_block_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure = mean_measure(np.random.default_rng(0).random(20))
    whole = bootstrap([measure], np.arange(20), Resampling(draws=50, seed=7))
    other = bootstrap([measure], np.arange(20), Resampling(draws=50, seed=8))
    monkeypatch.setattr("jomed.evaluation.significance._BLOCK_CELLS", 60)
    blocks = bootstrap([measure], np.arange(20), Resampling(draws=50, seed=7))
    np.testing.assert_array_equal(whole, blocks)
    assert not np.array_equal(whole, other)


def test_undrawn_subset_is_nan_and_left_out_of_the_interval() -> None:
    measure = mean_measure([0.5, 0.0], np.array([True, False]))
    draws = bootstrap([measure], [0, 1], Resampling(draws=1_000, seed=0))[0]
    assert np.isnan(draws).mean() == pytest.approx(0.25, abs=0.05)
    assert percentile_interval(draws, 0.95) == (0.5, 0.5)


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(5), 0
    for trial in range(200):
        right = rng.random(100) < 0.7
        replicates = bootstrap(
            [mean_measure(right)], np.arange(100), Resampling(draws=300, seed=trial)
        )
        low, high = percentile_interval(replicates[0], 0.9)
        hits += low <= 0.7 <= high
    assert 0.83 <= hits / 200 <= 0.96


def test_ten_thousand_draws_of_two_thousand_samples_are_fast() -> None:
    rng = np.random.default_rng(0)
    gold, said = ([str(v) for v in rng.integers(0, 7, 2_000)] for _ in range(2))
    measures = single_label(gold, said, list("0123456")).measures
    start = time.process_time()
    bootstrap([measures["accuracy"], measures["macro_f1"]], np.arange(2_000), Resampling())
    assert time.process_time() - start < 5.0  # about a second on an idle core


def test_percentile_interval_by_hand() -> None:
    interval = percentile_interval(np.arange(101.0), 0.9)
    assert (interval.low, interval.high) == pytest.approx((5.0, 95.0))
    assert np.isnan(percentile_interval([np.nan], 0.9).low)


def test_bootstrap_p_value_by_hand() -> None:
    assert bootstrap_p_value([1.0] * 99) == pytest.approx(2 * 1 / 100)
    assert bootstrap_p_value([1.0] * 96 + [0.0, -1.0, -2.0]) == pytest.approx(2 * 4 / 100)
    assert bootstrap_p_value([0.0] * 10) == 1.0
    assert np.isnan(bootstrap_p_value([np.nan]))


def test_mcnemar_exact_by_hand() -> None:
    first = [True] * 5 + [False] + [True] * 10
    second = [False] * 5 + [True] + [True] * 10
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second, result.exact) == (5, 1, True)
    assert result.p_value == pytest.approx(2 * (1 + 6) / 2**6)
    assert mcnemar([True, False], [True, False]).p_value == 1.0


def test_mcnemar_chi_square_by_hand() -> None:
    first = [True] * 30 + [False] * 10
    result = mcnemar(first, [not value for value in first])
    # (|30 - 10| - 1)^2 / 40 = 9.025 with one degree of freedom
    assert not result.exact
    assert result.p_value == pytest.approx(0.002663, abs=1e-6)


def test_holm_by_hand() -> None:
    adjusted = holm([0.01, 0.04, 0.03, 0.005, np.nan])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02, np.nan])
    np.testing.assert_allclose(holm([0.9, 0.6]), [1.0, 1.0])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="parts for all 3 samples, has 2"):
        bootstrap([mean_measure([1.0, 0.0])], [0, 1, 2], Resampling(draws=10))
    with pytest.raises(ValueError, match="no samples"):
        bootstrap([], [], Resampling(draws=10))
    with pytest.raises(ValueError, match="equal length"):
        mcnemar([True], [True, False])
    with pytest.raises(ValueError, match="confidence"):
        Resampling(confidence=1.0)
