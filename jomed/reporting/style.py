"""The one look of all figures, and how a figure is saved."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from types import MappingProxyType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jomed.reporting.frames import title_of
from jomed.reporting.provenance import Provenance
from jomed.storage import atomic_write

PER_ROW = 3  # panels
WIDTH = 8.0  # inches: a notebook's output area

# Okabe and Ito's palette: told apart by readers with any colour vision, and in grey print.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8A8A8A",
)
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HEAD_COLOURS: Mapping[str, str] = MappingProxyType({"text": BLUE, "image": VERMILION})


@contextmanager
def style() -> Iterator[None]:
    """Draw and save inside the project's style."""
    with as_file(files("jomed.reporting") / "jomed.mplstyle") as path, plt.style.context(path):
        yield


def panels(
    names: Sequence[str], height: float, share_x: bool = True, per_row: int = PER_ROW
) -> tuple[Figure, list[Axes]]:
    """A figure with one titled panel per name (width WIDTH, `height` inches per row of panels)."""
    columns = min(len(names), per_row)
    rows = -(-len(names) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(WIDTH, height * rows + 0.6), sharex=share_x, squeeze=False
    )
    axes = list(grid.ravel())
    for spare in axes[len(names) :]:
        spare.remove()
    for axis, name in zip(axes, names, strict=False):
        axis.set_title(title_of(name))
    return figure, axes[: len(names)]


def whiskers(frame: pd.DataFrame) -> np.ndarray:
    """Distances (2, rows) from `value` down to `low` and up to `high`; 0 where unknown."""
    value = frame["value"].to_numpy(float)
    low, high = (frame[bound].to_numpy(float) for bound in ("low", "high"))
    return np.nan_to_num(np.clip(np.stack([value - low, high - value]), 0, None))


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """One legend above all panels, where it can hide nothing."""
    letters = sum(len(str(handle.get_label())) + 7 for handle in handles)
    columns = len(handles) if letters < 100 else 4
    figure.legend(handles=list(handles), loc="outside upper right", ncols=columns)


def key(label: str, colour: str, marker: str = "o", fill: str | None = None) -> Line2D:
    """Legend entry: a marker of `colour`, filled with `fill` (its own colour if None)."""
    face = colour if fill is None else fill
    return Line2D([], [], ls="", marker=marker, color=colour, markerfacecolor=face, label=label)


def bar_looks(count: int) -> list[dict[str, Any]]:
    """Colours of `count` bars; the palette comes round again with hatching."""
    hatches = ("", "////", "....")
    return [
        {"facecolor": CYCLE[n % 7], "hatch": hatches[n // 7 % 3], "edgecolor": "white"}
        for n in range(count)
    ]


def point_looks(count: int) -> list[dict[str, Any]]:
    """Colour and marker of `count` kinds of points: 49 differ before one comes again."""
    return [
        {"color": CYCLE[place % 7], "marker": MARKERS[(place + place // 7) % 7]}
        for place in range(count)
    ]


def join(names: Sequence[str]) -> str:
    """Titles of several names with a dot between them."""
    return " · ".join(title_of(name) for name in names)


def save_figure(
    figure: Figure,
    data: pd.DataFrame,
    name: str,
    title: str,
    provenance: Provenance,
    restricted: bool = False,
) -> Figure:
    """Print the caption under `figure`, save it with what it shows, and hand it back.

    Writes `figures/<profile>/<name>.{svg,pdf,png,csv,json}`: drawings, drawn rows, stamp. Same
    rows, same bytes, save for the JSON. A restricted figure goes to the private folder.
    """
    folder = provenance.folder("figures", restricted)
    caption = textwrap.fill(provenance.caption(title, restricted), int(figure.get_figwidth() * 17))
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=7, color="#555555")
    metadata: dict[str, dict[str, None]] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None, "ModDate": None},
        "png": {"Software": None},
    }
    paths = [folder / f"{name}.{kind}" for kind in (*metadata, "csv")]
    for path, kind in zip(paths, metadata, strict=False):
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format=kind, metadata=metadata[kind])
    with atomic_write(paths[-1]) as temporary:
        data.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")
    provenance.write_sidecar(paths, folder / f"{name}.json", restricted)
    # Closed for pyplot only: a notebook then shows the returned figure once, not twice.
    plt.close(figure)
    return figure
