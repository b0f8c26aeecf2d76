"""Pictures of what goes in: images of records and samples, label counts, training losses."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image, ImageOps

from jomed.records import SPLITS
from jomed.reporting import style as st
from jomed.reporting.frames import require
from jomed.reporting.provenance import Provenance
from jomed.reporting.suppress import has_few

MOST_ANSWERS = 12


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a grid: its row, the words above and below it, and the access level."""

    row: str
    image: Image.Image
    title: str
    text: str
    access: str


def image_grid(tiles: Sequence[Tile], provenance: Provenance, name: str, title: str) -> Figure:
    """Pictures in named rows. Restricted, and kept private, if one of them is not open."""
    rows = list(dict.fromkeys(tile.row for tile in tiles))
    members = {row: [tile for tile in tiles if tile.row == row] for row in rows}
    columns = max(map(len, members.values()))
    worded = any(tile.text for tile in tiles)
    with st.style():
        size = (st.WIDTH, (2.1 if worded else 1.6) * len(rows) * min(1.0, 5 / columns) + 0.5)
        figure, grid = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
        for axis in grid.ravel():
            axis.axis("off")
        for number, row in enumerate(rows):
            for axis, tile in zip(grid[number], members[row], strict=False):
                side = min(max(tile.image.size), 512)
                square = ImageOps.pad(tile.image.convert("RGB"), (side, side), color="white")
                axis.imshow(np.asarray(square))
                axis.set_title(_fold(tile.title, columns, 2), fontsize=8, loc="center")
                words = {"ha": "center", "va": "top", "fontsize": 6.5, "color": "#333333"}
                text = _fold(tile.text, columns, 4)
                axis.text(0.5, -0.05, text, transform=axis.transAxes, **words)
        data = pd.DataFrame([(t.row, t.title, t.access) for t in tiles])
        data.columns = ["row", "title", "access"]
        restricted = provenance.restricts(tile.access for tile in tiles)
        return st.save_figure(figure, data, name, title, provenance, restricted)


def _fold(text: str, columns: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(text, 150 // columns, max_lines=lines, placeholder=" …"))


def label_distribution(
    samples: pd.DataFrame,
    names: Mapping[str, str],
    provenance: Provenance,
    name: str = "label_distribution",
) -> Figure:
    """Share of each label in every split; lists of labels count for each label that they hold.

    samples: columns of Sample; `names` gives the words of a label. Free answers are shown as they
    are, the most frequent ones only.
    """
    require(samples, ["split", "answer", "answer_type"], name)
    long = samples.assign(label=pd.Series(_labels(samples), samples.index)).explode("label")
    totals = samples["split"].value_counts()
    counted = long.groupby(["label", "split"]).size().rename("count").reset_index()
    data = counted.assign(share=counted["count"] / counted["split"].map(totals))
    known = [label for label in names if label in set(data["label"])]
    frequent = data.groupby("label")["count"].sum().sort_values(ascending=False, kind="stable")
    shown = known or list(frequent.index[:MOST_ANSWERS])
    splits = [split for split in SPLITS if split in set(data["split"])]
    with st.style():
        figure, axis = plt.subplots(figsize=(st.WIDTH, 0.9 + 0.34 * len(shown)))
        thickness = 0.8 / len(splits)
        for place, (split, look) in enumerate(zip(splits, st.bar_looks(len(splits)), strict=True)):
            own = data[data["split"] == split].set_index("label")["share"].reindex(shown)
            spots = np.arange(len(shown)) + (place - (len(splits) - 1) / 2) * thickness
            axis.barh(spots, 100 * own.fillna(0), thickness, label=split, **look)
        words = [textwrap.shorten(names.get(label, label), 40, placeholder=" …") for label in shown]
        axis.set_yticks(range(len(shown)), words)
        axis.set(xlabel="share of the split's samples (%)", ylim=(len(shown) - 0.5, -0.5))
        axis.grid(visible=False, axis="y")
        figure.legend(loc="outside upper right", ncols=len(splits))
        title = "Labels (or the most frequent answers) in each split"
        restricted = has_few(data["count"], provenance.guarded)
        return st.save_figure(figure, data, name, title, provenance, restricted)


def _labels(samples: pd.DataFrame) -> list[list[str]]:
    """The labels that each sample counts for."""
    return [
        answer.split(", ") if kind == "labels" else [answer]
        for kind, answer in zip(samples["answer_type"], samples["answer"], strict=True)
    ]


def loss_curves(
    losses: Mapping[str, Sequence[tuple[float, float]]],
    provenance: Provenance,
    name: str,
    title: str,
) -> Figure:
    """Losses over steps, one line per entry: {words: [(step, loss), ...]}.

    Without an entry the figure says that nothing was trained.
    """
    rows = [(what, *point) for what, points in losses.items() for point in points]
    data = pd.DataFrame(rows, columns=["what", "step", "loss"])
    looks = st.point_looks(len(losses))
    with st.style():
        figure, axis = plt.subplots(figsize=(0.7 * st.WIDTH, 2.6))
        for (what, own), look in zip(data.groupby("what", sort=False), looks, strict=True):
            marks = {**look, "marker": look["marker"] if len(own) <= 40 else ""}
            axis.plot(own["step"], own["loss"], label=what, **marks)
        if not losses:
            words = "a published model: nothing was trained here"
            axis.text(0.5, 0.5, words, ha="center", va="center", transform=axis.transAxes)
        axis.set(xlabel="optimiser step", ylabel="loss", ylim=(0, None))
        handles = [
            Line2D([], [], label=what, **look) for what, look in zip(losses, looks, strict=True)
        ]
        st.legend(figure, handles)
        return st.save_figure(figure, data, name, title, provenance)
