"""What tables and figures share: checked metric frames pooled over seeds, order and words."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from jomed.evaluation.methods import METHODS
from jomed.evaluation.oracle import ORACLE_SUFFIX

_KEYS = ("benchmark", "backbone", "method", "subset", "metric")
METRIC_COLUMNS = (*_KEYS, "value", "n", "low", "high")
CELL = ["method", "backbone", "benchmark", "metric"]
# An oracle follows its method.
METHOD_ORDER = tuple(name + suffix for name in METHODS for suffix in ("", ORACLE_SUFFIX))
# The metrics of the paper's tables; accuracy stands for subset accuracy in multi-label tasks.
HEADLINE = ("accuracy", "macro_f1", "closed_em", "open_recall")
# Metrics that are numbers of something, shown as they are; all others are shares.
COUNTS = frozenset(
    {
        "unparsed",
        "n_closed",
        "n_open",
        "open_answer_words",
        "labels_without_positives",
        "auc_undefined_labels",
    }
)

_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "ACC",
        "auc": "AUC",
        "average": "Average",
        "closed_em": "closed EM",
        "image": "image head",
        "inconsistent_share": "inconsistent",
        "macro_f1": "macro-F1",
        "mmed_rag": "MMed-RAG",
        "open_recall": "open recall",
        "text": "text head",
        # Short: the methods' full titles explain themselves in brackets.
        **{name: method.title.split(" (")[0] for name, method in METHODS.items()},
    }
)


class FrameError(ValueError):
    """A frame handed to a table or figure lacks what the item needs."""


def title_of(name: str) -> str:
    """The words shown for a method, metric or head; other names lose their underscores."""
    if name.endswith(ORACLE_SUFFIX):
        return f"{title_of(name.removesuffix(ORACLE_SUFFIX))}, oracle"
    return _TITLES.get(name, name.replace("_", " "))


def require(frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Raise FrameError when `frame` is empty or lacks one of `columns`."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise FrameError(f"{what}: the frame lacks {missing}; it has {list(frame.columns)}")
    if frame.empty:
        raise FrameError(f"{what}: the frame has no row; was the stage before it run?")


def ordered(names: pd.Series, first: Sequence[str] = ()) -> list[str]:
    """Distinct names: those of `first` in that order, then the others in alphabetical order."""
    present = set(names.astype(str))
    return [name for name in first if name in present] + sorted(present - set(first))


def as_accuracy(frame: pd.DataFrame) -> pd.DataFrame:
    """Subset accuracy under the name accuracy: it is the ACC of multi-label benchmarks."""
    return frame.assign(metric=frame["metric"].replace("subset_accuracy", "accuracy"))


def over_seeds(metrics: pd.DataFrame, what: str) -> pd.DataFrame:
    """One row per benchmark, backbone, method, subset and metric.

    metrics: `Summary.seed_metrics` (already over seeds, with the interval of the mean), or
    `Summary.metrics` (per seed), which is pooled here: mean, standard deviation, the envelope of
    the seeds' intervals. Subset accuracy takes the name accuracy. Returns METRIC_COLUMNS, seeds,
    spread (NaN for one seed). A cell that is undefined in one seed is undefined.
    """
    if "mean" in metrics.columns:
        metrics = metrics.rename(columns={"mean": "value"})
    require(metrics, METRIC_COLUMNS, what)
    keys = [*CELL, "subset"]
    named = as_accuracy(metrics)
    seeds = [column for column in ("seed",) if column in named]
    doubled = named.duplicated([*keys, *seeds])
    if doubled.any():
        raise FrameError(f"{what}: two rows for {named[doubled].iloc[0][keys + seeds].to_dict()}")
    if not seeds:
        return named
    return named.groupby(keys, as_index=False).agg(
        value=("value", lambda value: value.mean(skipna=False)),
        spread=("value", lambda value: value.std(ddof=1, skipna=False)),
        seeds=("seed", "size"),
        n=("n", "mean"),
        low=("low", "min"),
        high=("high", "max"),
    )


def with_average(metrics: pd.DataFrame, benchmarks: Sequence[str]) -> pd.DataFrame:
    """`metrics` plus benchmark "average": the plain mean over `benchmarks` (the paper's Average).

    Takes either frame of `over_seeds`. Per backbone, method, subset and metric (and seed, where
    there is one), and only where every one of `benchmarks` has a value. An average carries no
    interval: the benchmarks are separate samples.
    """
    value = "mean" if "mean" in metrics.columns else "value"
    require(metrics, ("benchmark", value), "average")
    keys = [name for name in ("backbone", "method", "subset", "metric", "seed") if name in metrics]
    named = as_accuracy(metrics)
    known = named[named["benchmark"].isin(benchmarks) & named[value].notna()]
    kept = {column: (column, "min") for column in ("seeds",) if column in named}
    means = known.groupby(keys, as_index=False).agg(
        **{value: (value, "mean"), "n": ("n", "sum"), "found": ("benchmark", "nunique")}, **kept
    )
    means = means[means["found"] == len(set(benchmarks))].drop(columns="found")
    return pd.concat([named, means.assign(benchmark="average")], ignore_index=True)
