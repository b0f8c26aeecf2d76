"""Figures of results: methods compared, inconsistent samples, oracle."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from jomed.evaluation.estimates import ALL, INCONSISTENT
from jomed.evaluation.oracle import ORACLE_SUFFIX
from jomed.reporting import style as st
from jomed.reporting.frames import (
    HEADLINE,
    METHOD_ORDER,
    METRIC_COLUMNS,
    ordered,
    over_seeds,
    require,
    title_of,
)
from jomed.reporting.provenance import Provenance

_GROUP = ["benchmark", "backbone"]


def _headline(
    metrics: pd.DataFrame, subset: str, provenance: Provenance, what: str
) -> pd.DataFrame:
    """Over seeds, one headline metric per benchmark (the first it has), benchmarks by title."""
    pooled = over_seeds(metrics, what)
    rows = pooled[pooled["subset"].eq(subset) & pooled["metric"].isin(HEADLINE)]
    require(rows, METRIC_COLUMNS, f"{what} (subset {subset!r}, metrics {HEADLINE})")
    rank = rows["metric"].map(HEADLINE.index)
    first = rank.groupby(rows["benchmark"]).transform("min")
    return provenance.named(rows[rank == first])


def _without_oracles(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[~rows["method"].str.endswith(ORACLE_SUFFIX)]


def method_comparison(
    metrics: pd.DataFrame,
    provenance: Provenance,
    name: str = "method_comparison",
    subset: str = ALL,
) -> Figure:
    """Headline metric of every method with its interval: one panel per benchmark.

    metrics: either frame of `over_seeds`. Rows are methods, colour and marker the backbone.
    """
    data = _without_oracles(_headline(metrics, subset, provenance, name))
    methods = ordered(data["method"], METHOD_ORDER)
    with st.style():
        figure, axes = _intervals(data, methods)
        for axis, (_, rows) in zip(axes, data.groupby("benchmark"), strict=True):
            axis.set_xlabel(f"{title_of(rows['metric'].iloc[0])} (%)")
        title = f"Methods compared on {subset} samples, with intervals"
        return st.save_figure(figure, data, name, title, provenance)


def difference_intervals(
    differences: pd.DataFrame, reference: str, provenance: Provenance, name: str
) -> Figure:
    """Difference of every method from ``reference`` with its paired interval, and a line at 0.

    differences: benchmark, backbone, method, metric, value, low, high; of several headline metrics
    the first is drawn. One panel per benchmark, methods in the order of the frame.
    """
    columns = ["benchmark", "backbone", "method", "metric", "value", "low", "high"]
    require(differences, columns, name)
    rank = differences["metric"].map(HEADLINE.index)
    first = rank.groupby(differences["benchmark"]).transform("min")
    data = provenance.named(differences[rank == first])
    with st.style():
        figure, axes = _intervals(data, list(dict.fromkeys(data["method"])))
        for axis, (_, rows) in zip(axes, data.groupby("benchmark"), strict=True):
            axis.axvline(0, color=st.GREY, lw=1, zorder=0)
            measured = title_of(rows["metric"].iloc[0])
            axis.set_xlabel(f"{measured} minus that of {title_of(reference)} (points)")
        title = f"Difference from {title_of(reference)}, with paired intervals"
        return st.save_figure(figure, data, name, title, provenance)


def _intervals(data: pd.DataFrame, methods: list[str]) -> tuple[Figure, list[Axes]]:
    """Dots with whiskers, in percent: a panel per benchmark, a row per method."""
    benchmarks, backbones = ordered(data["benchmark"]), ordered(data["backbone"])
    looks = st.point_looks(len(backbones))
    figure, axes = st.panels(benchmarks, 0.5 + 0.42 * len(methods), share_x=False)
    for axis, benchmark in zip(axes, benchmarks, strict=True):
        rows = data[data["benchmark"] == benchmark]
        for place, backbone in enumerate(backbones):
            shift = 0.4 * ((place + 0.5) / len(backbones) - 0.5)
            own = rows[rows["backbone"] == backbone].set_index("method").reindex(methods)
            spots, reach = np.arange(len(methods)) + shift, 100 * st.whiskers(own)
            axis.errorbar(100 * own["value"], spots, xerr=reach, ls="", **looks[place])
        axis.set_yticks(range(len(methods)), [""] * len(methods))
        axis.set_ylim(len(methods) - 0.5, -0.5)
    for axis in axes[:: st.PER_ROW]:
        axis.set_yticklabels([title_of(method) for method in methods])
    shown = zip(backbones, looks, strict=True)
    st.legend(figure, [Line2D([], [], ls="", label=title_of(b), **look) for b, look in shown])
    return figure, axes


def inconsistency_shares(
    metrics: pd.DataFrame, provenance: Provenance, name: str = "inconsistency_shares"
) -> Figure:
    """Left: share of inconsistent samples; right: how every method does on just those.

    metrics: either frame of `over_seeds`, with metric "inconsistent_share" and rows of the subset
    that the reference method defines. A method without two candidates has no share.
    """
    pooled = provenance.named(over_seeds(metrics, name))
    left = pooled[pooled["metric"].eq("inconsistent_share")]
    require(left, METRIC_COLUMNS, f"{name} (metric 'inconsistent_share')")
    right = _headline(metrics, INCONSISTENT, provenance, name)
    data = _without_oracles(pd.concat([left.assign(panel="share"), right.assign(panel="metric")]))
    methods = ordered(data["method"], METHOD_ORDER)
    groups = sorted({*zip(data["benchmark"], data["backbone"], strict=True)})
    titles = ["share of inconsistent samples", "results on inconsistent samples"]
    with st.style():
        height = 0.9 + 0.165 * len(groups) * (len(methods) + 1)
        figure, axes = st.panels(titles, height, per_row=2)
        for axis, panel in zip(axes, ("share", "metric"), strict=True):
            _bars(axis, data[data["panel"] == panel], groups, methods)
        axes[0].set_xlabel("share of all samples (%)")
        measured = " / ".join(title_of(metric) for metric in ordered(right["metric"], HEADLINE))
        axes[1].set_xlabel(f"{measured} (%)")
        axes[1].set_yticklabels([])
        looks = zip(methods, st.bar_looks(len(methods)), strict=True)
        st.legend(figure, [Patch(label=title_of(method), **look) for method, look in looks])
        title = "Inconsistent retrieval predictions (right: those of the reference method)"
        return st.save_figure(figure, data, name, title, provenance)


def _bars(
    axis: Axes, rows: pd.DataFrame, groups: Sequence[tuple[str, str]], methods: Sequence[str]
) -> None:
    """Horizontal bars, a block per group; a method keeps its place where it has no value."""
    thickness = 1 / (len(methods) + 1)
    values = 100 * rows.set_index([*_GROUP, "method"])["value"]
    for place, (method, look) in enumerate(zip(methods, st.bar_looks(len(methods)), strict=True)):
        shift = (place - (len(methods) - 1) / 2) * thickness
        for number, group in enumerate(groups):
            width = values.get((*group, method), np.nan)
            if np.isfinite(width):
                bar = axis.barh(number + shift, width, thickness, **look)
                axis.bar_label(bar, fmt="%.0f", padding=2, fontsize=7)
    axis.set_yticks(range(len(groups)), [st.join(group) for group in groups])
    axis.set(ylim=(len(groups) - 0.5, -0.5), xlim=(0, 109), xticks=range(0, 101, 25))
    axis.grid(visible=False, axis="y")


def oracle_gap(metrics: pd.DataFrame, provenance: Provenance, name: str = "oracle_gap") -> Figure:
    """Dumbbells from each method's fused result to its oracle, with the gap in points.

    metrics: either frame of `over_seeds`, holding methods "x" and "x+oracle".
    """
    data = _headline(metrics, ALL, provenance, name)
    is_oracle = data["method"].str.endswith(ORACLE_SUFFIX)
    data = data.assign(
        kind=np.where(is_oracle, "oracle", "fused"),
        method=data["method"].str.removesuffix(ORACLE_SUFFIX),
    )
    keys = [*_GROUP, "metric", "method"]
    wide = data.pivot(index=keys, columns="kind", values="value").reset_index()
    require(wide, [*keys, "fused", "oracle"], name)
    wide = wide.dropna(subset=["fused", "oracle"], ignore_index=True)
    groups = [(str(a), str(b)) for a, b in wide[_GROUP].drop_duplicates().to_numpy()]
    methods = ordered(wide["method"], METHOD_ORDER)
    with st.style():
        names = [st.join(group) for group in groups]
        figure, axes = st.panels(names, 0.6 + 0.4 * len(methods), per_row=2)
        for axis, (benchmark, backbone) in zip(axes, groups, strict=True):
            rows = wide[wide["benchmark"].eq(benchmark) & wide["backbone"].eq(backbone)]
            _dumbbells(axis, rows.set_index("method").reindex(methods))
            axis.set_xlabel(f"{title_of(rows['metric'].iloc[0])} (%)")
        keys_shown = [st.key("fused (Eq. 3)", st.BLUE), st.key("oracle", st.ORANGE, "D")]
        st.legend(figure, keys_shown)
        title = "Fused answer against the oracle, which always chooses the best candidate"
        return st.save_figure(figure, wide, name, title, provenance)


def _dumbbells(axis: Axes, rows: pd.DataFrame) -> None:
    """One dumbbell per method; a method that is absent leaves its line empty."""
    spots, fused, oracle = np.arange(len(rows)), 100 * rows["fused"], 100 * rows["oracle"]
    axis.hlines(spots, fused, oracle, color=st.GREY, lw=2)
    axis.plot(fused, spots, "o", color=st.BLUE, ms=7)
    axis.plot(oracle, spots, "D", color=st.ORANGE, ms=7)
    for spot, low, high in zip(spots, fused, oracle, strict=True):
        if np.isfinite(low):
            place = ((low + high) / 2, spot - 0.18)
            axis.annotate(f"{high - low:+.1f}", place, ha="center", va="bottom", fontsize=7.5)
    axis.set_yticks(spots, [title_of(str(method)) for method in rows.index])
    axis.set_ylim(len(rows) - 0.5, -0.6)
    axis.margins(x=0.1)
