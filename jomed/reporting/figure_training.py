"""Figures of the retriever: its training, its neighbours, its weights and its index."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jomed.reporting import style as st
from jomed.reporting.frames import ordered, require, title_of
from jomed.reporting.provenance import Provenance

HEADS = ("text", "image")
# Below this many candidates a bin's share of right answers says too little to be drawn.
FEWEST = 10


def agreement_before_after(
    frame: pd.DataFrame, provenance: Provenance, name: str = "agreement_before_after"
) -> Figure:
    """Share of retrieved records whose finding agrees with the query's, before and after stage 2.

    frame: benchmark, backbone, head, stage ("before", "after"), value in [0, 1], low, high (NaN
    where unknown); of several seeds, the mean and the envelope of the intervals are drawn. One
    panel per benchmark and backbone.
    """
    keys = ["benchmark", "backbone", "head", "stage"]
    require(frame, [*keys, "value", "low", "high"], name)
    pooled = frame.groupby(keys, as_index=False)
    data = provenance.named(
        pooled.agg(value=("value", "mean"), low=("low", "min"), high=("high", "max"))
    )
    groups = [(str(a), str(b)) for a, b in data[keys[:2]].drop_duplicates().to_numpy()]
    heads = ordered(data["head"], HEADS)
    with st.style():
        titles = [st.join(group) for group in groups]
        figure, axes = st.panels(titles, 0.5 + 0.45 * len(heads), per_row=2)
        for axis, (benchmark, backbone) in zip(axes, groups, strict=True):
            rows = data[data["benchmark"].eq(benchmark) & data["backbone"].eq(backbone)]
            for place, head in enumerate(heads):
                _before_after(axis, rows[rows["head"] == head].set_index("stage"), place, head)
            axis.set_xlabel("agreeing records (%)")
            axis.set_yticks(range(len(heads)), [title_of(head) for head in heads])
            axis.set_ylim(len(heads) - 0.5, -0.5)
        st.legend(figure, [st.key("before", "#333333", fill="white"), st.key("after", "#333333")])
        title = "Retrieved records that agree with the query's diagnosis, before and after stage 2"
        return st.save_figure(figure, data, name, title, provenance)


def _before_after(axis: Axes, rows: pd.DataFrame, place: int, head: str) -> None:
    """Hollow dot (before), full dot (after), a line between them and both intervals."""
    colour = st.HEAD_COLOURS.get(head, st.GREY)
    for stage, shift, face in (("before", -0.12, "white"), ("after", 0.12, colour)):
        row = rows[rows.index == stage]
        spots, reach = [place + shift] * len(row), 100 * st.whiskers(row)
        look: dict[str, Any] = {"color": colour, "markerfacecolor": face, "ms": 6, "zorder": 3}
        axis.errorbar(100 * row["value"], spots, xerr=reach, fmt="o", elinewidth=1, **look)
    if {"before", "after"} <= set(rows.index):
        ends = 100 * rows.loc[["before", "after"], "value"].to_numpy(float)
        axis.plot(ends, [place - 0.12, place + 0.12], color=colour, lw=1.2, alpha=0.6)


def read_training_log(files: Mapping[str, Path]) -> pd.DataFrame:
    """Logs of stage 2 (`log.jsonl` of each head: {head: path}) as head, step, quantity, value.

    Quantities: "loss" per optimiser step, "validation_log_likelihood" per validation (the mean of
    log sum_k p^C p_R, Eq. 3 for the gold answer).
    """
    parts = []
    for head, path in files.items():
        log = pd.read_json(path, lines=True).rename(columns={"val": "validation_log_likelihood"})
        quantities = ["loss", "validation_log_likelihood"]
        require(log, ["step", *quantities], str(path))
        long = log.melt("step", quantities, "quantity", "value").dropna(subset=["value"])
        parts.append(long.assign(head=head))
    return pd.concat(parts, ignore_index=True)[["head", "step", "quantity", "value"]]


def learning_curves(
    log: pd.DataFrame, provenance: Provenance, name: str = "learning_curves"
) -> Figure:
    """Stage 2 training: one panel per quantity, one line per head.

    log: what `read_training_log` returns; rows of several seeds (concatenated) are drawn as mean
    and range. A dot marks the best validation step.
    """
    require(log, ["head", "step", "quantity", "value"], name)
    data = log.groupby(["quantity", "head", "step"], as_index=False).agg(
        value=("value", "mean"), low=("value", "min"), high=("value", "max")
    )
    quantities, heads = ordered(data["quantity"], ("loss",)), ordered(data["head"], HEADS)
    with st.style():
        figure, axes = st.panels(quantities, 2.4, share_x=False, per_row=2)
        for axis, quantity in zip(axes, quantities, strict=True):
            for head in heads:
                rows = data[data["quantity"].eq(quantity) & data["head"].eq(head)]
                _curve(axis, rows, head, best=quantity.startswith("validation"))
            axis.set_xlabel("optimiser step")
        st.legend(figure, [Line2D([], [], label=title_of(head), **_line(head)) for head in heads])
        title = "Stage 2: loss and validation per head; dots mark the best validation"
        return st.save_figure(figure, data, name, title, provenance)


def _line(head: str) -> dict[str, Any]:
    """Colour and dashes of a head, so that a grey print still tells the heads apart."""
    dashes = (0, (4, 1.5)) if head == "image" else "-"
    return {"color": st.HEAD_COLOURS.get(head, st.GREY), "ls": dashes}


def _curve(axis: Axes, rows: pd.DataFrame, head: str, best: bool) -> None:
    line = _line(head)
    axis.plot(rows["step"], rows["value"], **line)
    axis.fill_between(rows["step"], rows["low"], rows["high"], color=line["color"], alpha=0.15)
    if best and len(rows):
        top = rows.nlargest(1, "value")
        axis.plot(top["step"], top["value"], "o", color=line["color"], ms=7, zorder=4)


def weight_bins(predictions: pd.DataFrame) -> pd.DataFrame:
    """Candidates and share of right answers per head and tenth of the weight p_R.

    predictions: prediction rows of one method; rows that are no head's candidate are ignored.
    Returns head, bin_low, candidates, right; empty tenths are left out, a weight of 1 is in the
    last one.
    """
    columns = ["head", "weight", "correct"]
    require(predictions, columns, "weights")
    rows = predictions[predictions["head"].isin(HEADS)]
    require(rows, columns, "weights (candidates of a head)")
    # Rounded first: 0.3 / 0.1 falls just short of 3.
    tenth = np.floor(np.round(rows["weight"].to_numpy(float) * 10, 6)).clip(0, 9)
    binned = rows.assign(bin_low=tenth / 10).groupby(["head", "bin_low"], as_index=False)
    return binned.agg(candidates=("correct", "size"), right=("correct", "mean"))


def retriever_weights(
    predictions: pd.DataFrame, provenance: Provenance, name: str = "retriever_weights"
) -> Figure:
    """Candidate weights p_R: how they spread, and how often a candidate of that weight is right.

    predictions: as in `weight_bins`. A retriever that knows which records help gives the right
    panel a rising line.
    """
    data = weight_bins(predictions)
    heads = ordered(data["head"], HEADS)
    with st.style():
        figure, (left, right) = st.panels(["spread", "reliability"], 2.6, per_row=2)
        width = 0.09 / len(heads)
        for number, head in enumerate(heads):
            own = data[data["head"] == head]
            sure = own[own["candidates"] >= FEWEST]
            start = own["bin_low"] + 0.005 + number * width
            colour = st.HEAD_COLOURS[head]
            left.bar(start, own["candidates"], width, align="edge", color=colour)
            right.plot(sure["bin_low"] + 0.05, 100 * sure["right"], marker="o", **_line(head))
        left.set(xlabel="weight of a candidate", ylabel="candidates", xlim=(0, 1))
        right.set(xlabel="weight of a candidate", ylabel="right answers (%)")
        right.set(xlim=(0, 1), ylim=(0, 103))
        st.legend(figure, [st.key(title_of(head), st.HEAD_COLOURS[head], "s") for head in heads])
        title = (
            "Retriever weights of the candidates, and how often such a candidate is right"
            f" (bins of fewer than {FEWEST} candidates are not drawn on the right)"
        )
        return st.save_figure(figure, data, name, title, provenance)


def index_latency_recall(
    frame: pd.DataFrame, provenance: Provenance, name: str = "index_latency_recall"
) -> Figure:
    """Speed against recall of index settings, per head; up and to the left is better.

    frame: setting (words for the legend), head, latency_ms (per query), recall in [0, 1] against
    exact search.
    """
    columns = ["setting", "head", "latency_ms", "recall"]
    require(frame, columns, name)
    data = frame[columns].sort_values(["head", "latency_ms"], ignore_index=True)
    settings, heads = list(dict.fromkeys(data["setting"])), ordered(data["head"], HEADS)
    looks = dict(zip(settings, st.point_looks(len(settings)), strict=True))
    with st.style():
        figure, axes = st.panels(heads, 2.6, share_x=False, per_row=2)
        for axis, head in zip(axes, heads, strict=True):
            rows = data[data["head"] == head]
            axis.plot(rows["latency_ms"], 100 * rows["recall"], "-", color=st.GREY, lw=1)
            for setting, own in rows.groupby("setting"):
                look = looks[str(setting)]
                axis.plot(own["latency_ms"], 100 * own["recall"], ms=8, ls="", **look)
            axis.set(xlabel="latency per query (ms)", ylabel="recall against exact search (%)")
            axis.margins(0.08)
            axis.set_xlim(left=0)
        st.legend(
            figure, [Line2D([], [], ls="", label=name, **look) for name, look in looks.items()]
        )
        title = "Index search: latency against recall"
        return st.save_figure(figure, data, name, title, provenance)
