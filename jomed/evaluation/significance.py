"""Uncertainty of metrics and of differences between methods on the same samples.

The bootstrap draws clusters (patients, images, or single samples) with replacement and applies
the same draws to every method and every seed, so that all differences are paired. A metric is
resampled through its additive parts (see `metrics.Measure`), as one matrix product per block of
draws: 10,000 draws of 2,000 samples take about a second.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, chi2

from jomed.evaluation.metrics import FloatArray, Measure, combine

_BLOCK_CELLS = 2_000_000  # draws x clusters held at once: 16 MB of float64
_EXACT_BELOW = 25  # discordant pairs below which McNemar's chi-square is too coarse


@dataclass(frozen=True, slots=True)
class Resampling:
    """How often, from which seed, and for which two-sided confidence level to resample."""

    draws: int = 10_000
    seed: int = 0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.draws < 1 or not 0.0 < self.confidence < 1.0:
            raise ValueError(f"need draws >= 1 and 0 < confidence < 1, not {self}")


class Interval(NamedTuple):
    """A two-sided percentile interval."""

    low: float
    high: float


class McNemar(NamedTuple):
    """Discordant counts (only the first right, only the second right), p-value and its kind."""

    only_first: int
    only_second: int
    p_value: float
    exact: bool


def cluster_codes(groups: Sequence[str], sample_ids: Sequence[str]) -> NDArray[np.int64]:
    """Cluster number of each sample: its group, or the sample itself where no group is known."""
    keys: list[Hashable] = [
        ("group", group) if group else ("sample", sample)
        for group, sample in zip(groups, sample_ids, strict=True)
    ]
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def bootstrap(
    measures: Sequence[Measure], clusters: ArrayLike, resampling: Resampling
) -> FloatArray:
    """Replicates (measures, draws) of several measures under the same cluster draws.

    Every measure's parts must cover the same N samples in the same order as ``clusters`` (N,),
    with zero rows for samples outside its subset; a measure without parts is a ValueError.
    A replicate in which a subset was not drawn at all is NaN.
    """
    codes = np.asarray(clusters, dtype=np.int64)
    if not codes.size:
        raise ValueError("there are no samples to resample")
    n_clusters = int(codes.max()) + 1
    sums = [_cluster_sums(measure, codes, n_clusters) for measure in measures]
    widths = np.cumsum([total.shape[1] for total in sums])
    stacked = np.concatenate(sums, axis=1) if sums else np.zeros((n_clusters, 0))
    rng = np.random.default_rng(resampling.seed)
    out = np.empty((len(measures), resampling.draws))
    step = max(1, _BLOCK_CELLS // n_clusters)
    for start in range(0, resampling.draws, step):
        stop = min(start + step, resampling.draws)
        drawn = _draw_counts(rng, stop - start, n_clusters) @ stacked
        for row, columns in enumerate(np.split(drawn, widths[:-1], axis=1) if sums else ()):
            pairs = columns.reshape(stop - start, -1, 2)
            out[row, start:stop] = combine(pairs, measures[row].empty)
    return out


def _cluster_sums(measure: Measure, codes: NDArray[np.int64], n_clusters: int) -> FloatArray:
    if measure.parts is None or len(measure.parts) != codes.size:
        held = "none" if measure.parts is None else str(len(measure.parts))
        raise ValueError(f"a measure must have parts for all {codes.size} samples, has {held}")
    flat = measure.parts.reshape(codes.size, -1)
    sums = np.zeros((n_clusters, flat.shape[1]))
    np.add.at(sums, codes, flat)
    return sums


def _draw_counts(rng: np.random.Generator, draws: int, n_clusters: int) -> FloatArray:
    """How often each cluster was drawn: (draws, n_clusters), every row sums to n_clusters."""
    picks = rng.integers(n_clusters, size=(draws, n_clusters), dtype=np.int32).astype(np.int64)
    picks += np.arange(draws)[:, None] * n_clusters
    counts = np.bincount(picks.ravel(), minlength=draws * n_clusters)
    return counts.reshape(draws, n_clusters).astype(np.float64)


def percentile_interval(replicates: ArrayLike, confidence: float) -> Interval:
    """Percentile interval of the defined replicates; NaN if there is none."""
    values = np.asarray(replicates, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not values.size:
        return Interval(float("nan"), float("nan"))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def bootstrap_p_value(differences: ArrayLike) -> float:
    """Two-sided p-value of "no difference" from replicates of a difference.

    Twice the smaller share of draws on or beyond zero, one added to count and draws, so that the
    p-value is never 0 and at most 1. NaN if no replicate is defined.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not values.size:
        return float("nan")
    beyond = min(int((values <= 0).sum()), int((values >= 0).sum()))
    return min(1.0, 2.0 * (beyond + 1) / (values.size + 1))


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """McNemar's test of two methods that are right or wrong on the same samples.

    Exact (binomial) below 25 discordant pairs, otherwise chi-square with continuity correction.
    It takes samples as independent: with several samples per patient, trust the bootstrap.
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two arrays of equal length, got {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    discordant = only_a + only_b
    if discordant == 0:
        return McNemar(0, 0, 1.0, True)
    if discordant < _EXACT_BELOW:
        return McNemar(only_a, only_b, float(binomtest(only_a, discordant).pvalue), True)
    statistic = max(0, abs(only_a - only_b) - 1) ** 2 / discordant
    return McNemar(only_a, only_b, float(chi2.sf(statistic, 1)), False)


def holm(p_values: ArrayLike) -> FloatArray:
    """Holm's step-down adjustment of a family of p-values; NaN entries are no members of it."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    members = np.flatnonzero(~np.isnan(p))
    order = members[np.argsort(p[members], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted
