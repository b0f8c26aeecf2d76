"""The tables over a matrix, as the notebooks write them: what is compared with what."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from jomed.config import RunConfig
from jomed.evaluation.estimates import ALL
from jomed.evaluation.methods import method_named
from jomed.evaluation.oracle import ORACLE_SUFFIX
from jomed.evaluation.summary import Summary
from jomed.reporting import Layout, Provenance, align, reported, write_table
from jomed.reporting.frames import HEADLINE, as_accuracy
from jomed.reporting.listings import written_table
from jomed.reporting.paper import PAPER_BACKBONES
from jomed.stages.results import MatrixResults

_PLACE = ["benchmark", "backbone", "method", "metric"]


@dataclass(frozen=True, slots=True)
class TableKind:
    """A kind of main table: its title, the tasks of its benchmarks, and its metrics."""

    title: str
    tasks: tuple[str, ...]
    metrics: tuple[str, ...]


CLASSIFICATION = TableKind(
    "Classification", ("single_label", "multi_label"), ("accuracy", "macro_f1")
)
VQA = TableKind("Visual question answering", ("vqa",), ("closed_em", "open_recall"))


def matrix_table(
    results: MatrixResults,
    summary: Summary,
    methods: Sequence[str],
    kind: TableKind,
    name: str,
    provenance: Provenance,
    subset: str = ALL,
) -> str:
    """Write one table over the planned runs and return its Markdown.

    Missing runs show as "not run". A matrix without a benchmark of that kind gives a sentence that
    says so, and no file. The paper's values stand in the cells of comparable runs only.
    """
    planned = [run for run in results.planned if run.benchmark.task in kind.tasks]
    if not planned:
        return f"No benchmark of this kind ({kind.title.lower()}) is in the matrix."
    backbones = list(dict.fromkeys(run.backbone.name for run in planned))
    benchmarks = list(dict.fromkeys(run.benchmark.name for run in planned))
    layout = Layout(
        rows=[(method, backbone) for backbone in backbones for method in methods],
        columns=[(benchmark, metric) for benchmark in benchmarks for metric in kind.metrics],
        subset=subset,
    )
    write_table(
        summary.seed_metrics,
        name,
        kind.title if subset == ALL else f"{kind.title}, {subset} samples",
        provenance,
        layout=layout,
        paper=comparable_paper(planned) if subset == ALL else None,
        differences=summary.seed_differences,
    )
    return written_table(name, provenance)


def comparable_paper(planned: Sequence[RunConfig]) -> pd.DataFrame | None:
    """The paper's cells beside ours, where that is fair: published models on real data only."""
    if any(run.backbone.tiny or run.encoder.tiny or run.data.root is None for run in planned):
        return None
    benchmarks = {run.benchmark.name: run.benchmark.paper_column for run in planned}
    names = {run.backbone.name for run in planned}
    backbones = {name: paper for name, paper in PAPER_BACKBONES.items() if name in names}
    return align(reported(), benchmarks, backbones)


def difference_rows(summary: Summary, methods: Sequence[str], subset: str = ALL) -> pd.DataFrame:
    """Method minus standard RAG on a subset: headline metrics with paired interval and Holm's p."""
    rows = _headline(summary.seed_differences, subset)
    rows = rows[rows["method"].isin(methods)]
    return rows[[*_PLACE, "difference", "low", "high", "p_holm"]].reset_index(drop=True)


def subset_rows(summary: Summary, subset: str) -> pd.DataFrame:
    """Headline metrics of every method on a subset, with the number of its samples."""
    rows = _headline(summary.seed_metrics, subset).rename(columns={"mean": "value"})
    rows = rows.assign(n=rows["n"].round().astype(int))
    return rows[[*_PLACE, "n", "value", "low", "high"]].reset_index(drop=True)


def oracle_rows(summary: Summary) -> pd.DataFrame:
    """Fused answer, oracle and the gap between them for every method that has an oracle."""
    rows = _headline(summary.seed_metrics, ALL)
    is_oracle = rows["method"].str.endswith(ORACLE_SUFFIX)
    named = rows.assign(
        method=rows["method"].str.removesuffix(ORACLE_SUFFIX),
        kind=is_oracle.map({True: "oracle", False: "fused"}),
    )
    wide = named.pivot(index=_PLACE, columns="kind", values="mean").dropna().reset_index()
    wide.columns.name = None
    return wide.assign(gap=wide["oracle"] - wide["fused"])


def method_titles(config: RunConfig) -> pd.DataFrame:
    """The methods that a profile evaluates: name, what it is, where its records come from."""
    methods = [method_named(name) for name in config.evaluation.methods]
    rows = [(method.name, method.title, method.source) for method in methods]
    return pd.DataFrame(rows, columns=["method", "title", "records_from"])


def _headline(frame: pd.DataFrame, subset: str) -> pd.DataFrame:
    named = as_accuracy(frame[frame["subset"] == subset])
    return named[named["metric"].isin(HEADLINE)]
