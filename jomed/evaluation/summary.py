"""From prediction rows to the tidy frames behind every table: metrics and differences.

All numbers of a benchmark and backbone come from one set of bootstrap draws over its test samples,
so methods, subsets and seeds are compared on the same draws. Over seeds, the samples are drawn
and each drawn sample brings its predictions of all seeds (cluster = sample, or its group).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

import numpy as np
import pandas as pd

from jomed.evaluation.estimates import (
    ALL,
    INCONSISTENT,
    Estimate,
    Estimates,
    EvaluatedRun,
    estimate,
)
from jomed.evaluation.metrics import FloatArray, Measure
from jomed.evaluation.significance import (
    Resampling,
    bootstrap_p_value,
    holm,
    mcnemar,
    percentile_interval,
)

_CELL = ("benchmark", "backbone")
_INTERVAL = ("low", "high")
METRIC_COLUMNS = (*_CELL, "seed", "method", "subset", "metric", "value", "n", *_INTERVAL)
DIFFERENCE_COLUMNS = (
    *(*_CELL, "seed", "method", "reference", "subset", "metric", "difference", *_INTERVAL),
    *("n", "clustered", "p_mcnemar", "p_bootstrap", "p_holm"),
)
SEED_METRIC_COLUMNS = (
    *(*_CELL, "method", "subset", "metric", "seeds", "mean", "spread", "n", *_INTERVAL),
)
SEED_DIFFERENCE_COLUMNS = (
    *(*_CELL, "method", "reference", "subset", "metric", "seeds", "difference", "spread"),
    *(*_INTERVAL, "n", "p_bootstrap", "p_holm"),
)
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Summary:
    """The four frames of an evaluation.

    ``metrics``: one row per run, method, subset and metric, with percentile interval (NaN where a
    number is not resampled: counts, caps and AUC). ``differences``: method minus reference per
    run, on the subsets ``all`` and ``inconsistent``. ``seed_metrics`` and ``seed_differences``:
    the same over seeds; ``spread`` is the standard deviation between seeds (NaN for one seed),
    the interval that of the mean over seeds, ``n`` the mean number of samples.
    """

    metrics: pd.DataFrame
    differences: pd.DataFrame
    seed_metrics: pd.DataFrame
    seed_differences: pd.DataFrame


def summarise(runs: Sequence[EvaluatedRun], reference: str, resampling: Resampling) -> Summary:
    """Metrics of all runs, and differences of all methods from ``reference``.

    Runs may be of any benchmarks, backbones and seeds. ValueError if a run lacks the reference.
    """
    ordered = sorted(runs, key=_cell)
    cells = [
        estimate(list(group), reference, resampling) for _, group in groupby(ordered, key=_cell)
    ]
    level = resampling.confidence

    def frame(rows: Iterable[Iterator[Row]], columns: Sequence[str]) -> pd.DataFrame:
        return pd.DataFrame([row for cell in rows for row in cell], columns=list(columns))

    differences = frame((_differences(c, reference, level) for c in cells), DIFFERENCE_COLUMNS)
    over_seeds = (_seed_differences(cell, reference, level) for cell in cells)
    return Summary(
        metrics=frame((_metrics(cell, level) for cell in cells), METRIC_COLUMNS),
        differences=with_holm(differences),
        seed_metrics=frame((_seed_metrics(cell, level) for cell in cells), SEED_METRIC_COLUMNS),
        seed_differences=with_holm(frame(over_seeds, SEED_DIFFERENCE_COLUMNS)),
    )


def _cell(run: EvaluatedRun) -> tuple[str, str]:
    return run.benchmark, run.backbone


def with_holm(differences: pd.DataFrame) -> pd.DataFrame:
    """The frame with ``p_holm`` computed anew; call it after joining or filtering frames.

    A family is one metric on one subset (and seed, where the frame has seeds) over all
    benchmarks, backbones and methods in the frame: what a reader compares in one table. Members
    are McNemar p-values of right-or-wrong metrics on independent samples, bootstrap p-values
    otherwise.
    """
    out = differences.copy()
    p_values = out["p_bootstrap"].astype(float)
    if "p_mcnemar" in out:
        independent = ~out["clustered"].astype(bool) & out["p_mcnemar"].notna()
        p_values = p_values.mask(independent, out["p_mcnemar"])
    family = [column for column in ("seed", "subset", "metric") if column in out]
    out["p_holm"] = p_values.groupby([out[c] for c in family]).transform(_holm_column)
    return out


def _holm_column(p_values: pd.Series) -> FloatArray:
    return holm(p_values.to_numpy())


def _key(cell: Estimates, row: Estimate) -> Row:
    place: Row = {"benchmark": cell.benchmark, "backbone": cell.backbone}
    return place | {"method": row.method, "subset": row.subset, "metric": row.metric}


def _interval(replicates: FloatArray | None, level: float) -> Row:
    if replicates is None:
        return {"low": float("nan"), "high": float("nan")}
    return dict(percentile_interval(replicates, level)._asdict())


def _metrics(cell: Estimates, level: float) -> Iterator[Row]:
    for row in cell.rows:
        numbers = {"value": row.measure.value, "n": row.measure.n}
        yield _key(cell, row) | {"seed": row.seed} | numbers | _interval(row.replicates, level)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The same metric of a method and of the reference, on the same samples and draws."""

    method: Estimate
    reference: Estimate

    @property
    def difference(self) -> float:
        return self.method.measure.value - self.reference.measure.value

    @property
    def replicates(self) -> FloatArray:
        own, other = self.method.replicates, self.reference.replicates
        if own is None or other is None:
            raise ValueError(f"{self.method.metric} is not resampled")
        return own - other


def _pairs(cell: Estimates, reference: str) -> Iterator[_Pair]:
    """Resampled metrics of all methods but the oracles, beside those of the reference."""
    base = {(r.seed, r.subset, r.metric): r for r in cell.rows if r.method == reference}
    for row in cell.rows:
        other = base.get((row.seed, row.subset, row.metric))
        compared = row.method in cell.methods and row.method != reference
        same_samples = row.subset in (ALL, INCONSISTENT)
        if compared and same_samples and row.replicates is not None and other is not None:
            yield _Pair(row, other)


def _differences(cell: Estimates, reference: str, level: float) -> Iterator[Row]:
    for pair in _pairs(cell, reference):
        tests = {"p_mcnemar": _mcnemar_p(pair), "p_bootstrap": bootstrap_p_value(pair.replicates)}
        yield (
            _key(cell, pair.method)
            | {"seed": pair.method.seed, "reference": reference, "difference": pair.difference}
            | {"n": pair.method.measure.n, "clustered": cell.clustered}
            | _interval(pair.replicates, level)
            | tests
        )


def _mcnemar_p(pair: _Pair) -> float:
    """McNemar's p-value where both methods are right or wrong on the same, at least one, sample."""
    own, other = _right(pair.method.measure), _right(pair.reference.measure)
    if own is None or other is None or own.shape != other.shape or not own.size:
        return float("nan")
    return mcnemar(own, other).p_value


def _right(measure: Measure) -> FloatArray | None:
    if not measure.binary or measure.parts is None:
        return None
    numerators, counted = measure.parts[:, 0, 0], measure.parts[:, 0, 1] > 0
    return np.asarray(numerators[counted])


def _mean_replicates(replicates: Sequence[FloatArray | None]) -> FloatArray | None:
    drawn = [array for array in replicates if array is not None]
    return np.mean(drawn, axis=0) if len(drawn) == len(replicates) else None


def _over_seeds(values: Sequence[float], name: str) -> Row:
    numbers = np.asarray(values, dtype=float)
    spread = numbers.std(ddof=1) if len(numbers) > 1 else np.nan
    return {"seeds": len(numbers), name: float(numbers.mean()), "spread": float(spread)}


def _seed_metrics(cell: Estimates, level: float) -> Iterator[Row]:
    groups: dict[tuple[str, str, str], list[Estimate]] = {}
    for row in cell.rows:
        groups.setdefault((row.method, row.subset, row.metric), []).append(row)
    for rows in groups.values():
        yield (
            _key(cell, rows[0])
            | _over_seeds([row.measure.value for row in rows], "mean")
            | {"n": fmean(row.measure.n for row in rows)}
            | _interval(_mean_replicates([row.replicates for row in rows]), level)
        )


def _seed_differences(cell: Estimates, reference: str, level: float) -> Iterator[Row]:
    groups: dict[tuple[str, str, str], list[_Pair]] = {}
    for pair in _pairs(cell, reference):
        row = pair.method
        groups.setdefault((row.method, row.subset, row.metric), []).append(pair)
    for pairs in groups.values():
        replicates = np.mean([pair.replicates for pair in pairs], axis=0)
        yield (
            _key(cell, pairs[0].method)
            | _over_seeds([pair.difference for pair in pairs], "difference")
            | {"n": fmean(pair.method.measure.n for pair in pairs), "reference": reference}
            | _interval(replicates, level)
            | {"p_bootstrap": bootstrap_p_value(replicates)}
        )
