"""Pictures of the method: one query with its candidates, and the two stages as a diagram."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image, ImageOps

from jomed.reporting import style as st
from jomed.reporting.frames import FrameError, title_of
from jomed.reporting.provenance import Provenance


@dataclass(frozen=True, slots=True)
class Candidate:
    """One retrieved record of a case, with the reader's answer under it and its weight p_R."""

    record_id: str
    head: str
    image: Image.Image
    text: str
    answer: str
    weight: float
    correct: bool | None
    access: str


@dataclass(frozen=True, slots=True)
class Case:
    """One sample with its candidates and the fused answer (Eq. 3); `access` is the benchmark's.

    An image of unknown diagnosis has the gold answer "" and nothing correct or wrong (None).
    """

    sample_id: str
    image: Image.Image
    question: str
    gold: str
    candidates: Sequence[Candidate]
    fused_answer: str
    fused_correct: bool | None
    access: str


def case_strip(case: Case, provenance: Provenance, name: str = "case_strip") -> Figure:
    """A query image, its candidates with texts, answers and weights, and the fused answer.

    The paper's Figure 1 from real rows. If anything shown is not open, the figure is restricted:
    it is saved in the private folder and its caption says so.
    """
    if not case.candidates:
        raise FrameError(f"case {case.sample_id} has no candidate to show")
    levels = {case.access, *(candidate.access for candidate in case.candidates)}
    restricted = provenance.restricts(levels)
    count = len(case.candidates)
    with st.style():
        figure = plt.figure(figsize=(min(1.9 * (count + 1), 12.0), 3.6))
        grid = figure.add_gridspec(2, count + 1, height_ratios=(1.0, 0.5))
        width = int(14 * figure.get_figwidth() / (count + 1))
        truth = textwrap.shorten(case.gold, width) or "not known"
        query = [_fold(case.question, width), f"truth: {truth}"]
        _picture(figure.add_subplot(grid[0, 0]), case.image, "query", "#222222")
        axis = figure.add_subplot(grid[1, 0])
        _words(axis, "\n".join(query), f"fused: {case.fused_answer}", case.fused_correct)
        for place, candidate in enumerate(case.candidates, start=1):
            colour = st.HEAD_COLOURS.get(candidate.head, st.GREY)
            title = f"{title_of(candidate.head)} · weight {candidate.weight:.2f}"
            _picture(figure.add_subplot(grid[0, place]), candidate.image, title, colour)
            text = _fold(candidate.text, width)
            axis = figure.add_subplot(grid[1, place])
            _words(axis, text, f"says: {candidate.answer}", candidate.correct)
        title = f"Case {case.sample_id}: candidates, what the reader says under each, fused answer"
        return st.save_figure(figure, _case_rows(case), name, title, provenance, restricted)


def _fold(text: str, width: int) -> str:
    """At most five lines of `text`, the rest marked as left out."""
    return "\n".join(textwrap.wrap(text, width, max_lines=5, placeholder=" …"))


def _case_rows(case: Case) -> pd.DataFrame:
    """The case as rows; texts and pixels stay in the corpora."""
    rows = [
        {
            "record_id": item.record_id,
            "head": item.head,
            "weight": item.weight,
            "answer": item.answer,
            "correct": item.correct,
            "access": item.access,
        }
        for item in case.candidates
    ]
    fused = {
        "record_id": "",
        "head": "fused",
        "weight": 1.0,
        "answer": case.fused_answer,
        "correct": case.fused_correct,
        "access": case.access,
    }
    return pd.DataFrame([*rows, fused]).assign(sample_id=case.sample_id, gold=case.gold)


def _picture(axis: Axes, image: Image.Image, title: str, colour: str) -> None:
    side = min(max(image.size), 512)
    axis.imshow(np.asarray(ImageOps.pad(image.convert("RGB"), (side, side), color="white")))
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.set_title(title, fontsize=8.5, color=colour, loc="center")
    for spine in axis.spines.values():
        spine.set(visible=True, color=colour, linewidth=2)


def _words(axis: Axes, text: str, answer: str, correct: bool | None) -> None:
    """Text from the top, answer at the bottom; the mark tells right from wrong without colour."""
    axis.axis("off")
    looks = {True: (st.GREEN, "✓"), False: (st.VERMILION, "✗"), None: ("#333333", "")}
    colour, mark = looks[correct]
    axis.text(0.5, 1.0, text, ha="center", va="top", fontsize=7, color="#333333")
    axis.text(
        0.5,
        0.0,
        f"{textwrap.shorten(answer, 24, placeholder=' …')} {mark}".rstrip(),
        ha="center",
        va="bottom",
        fontsize=9,
        color=colour,
        weight="bold",
    )


# Stage -> height of its row, title, words of its boxes; the columns are _COLUMNS.
_STAGES: Mapping[str, tuple[float, str, tuple[str, str, str, str]]] = MappingProxyType(
    {
        "stage 1": (
            3.05,
            "Stage 1: the reader learns to use retrieved records (Eq. 1)",
            (
                "query image\n+ question",
                "image head, text head\n(not trained yet)",
                "retrieved images\nand texts $z_k$",
                "reader (LVLM)\nLoRA is trained",
            ),
        ),
        "stage 2": (
            1.1,
            "Stage 2: each head learns which records help the reader (Eq. 2)",
            (
                "query image\n+ question",
                "text head is trained,\nthen image head",
                "top K images\nand texts $z_k$",
                "fine-tuned reader\n(frozen)",
            ),
        ),
    }
)
_COLUMNS = (
    (0.2, 1.6, "#F2F2F2"),
    (2.5, 2.0, "#DCEBF7"),
    (5.2, 1.8, "#FBEBD9"),
    (7.7, 1.9, "#D9F0E7"),
)
_HEIGHT = 0.8


def method_diagram(provenance: Provenance, name: str = "method_diagram") -> Figure:
    """The two training stages and the fusion as a diagram (the paper's Figure 2, redrawn)."""
    with st.style():
        figure, axis = plt.subplots(figsize=(st.WIDTH + 1, 4.2))
        axis.set(xlim=(0.1, 9.7), ylim=(-0.55, 4.35))
        axis.axis("off")
        for height, title, words in _STAGES.values():
            axis.text(0.2, height + _HEIGHT + 0.2, title, weight="bold", fontsize=10)
            _row(axis, height, words)
        _feedback(axis)
        formula = r"$p(a|x,q)=\sum_k\; p^C(a|z_k,x,q)\; p_R(z_k|x)$"
        axis.text(0.2, -0.35, f"Inference (Eq. 3): {formula}", fontsize=10, va="center")
        data = pd.DataFrame(
            [(stage, box.replace("\n", " ")) for stage, row in _STAGES.items() for box in row[2]],
            columns=["stage", "box"],
        )
        drawn = replace(provenance, label=None, line="Drawn, not computed")
        return st.save_figure(figure, data, name, "The method in two stages", drawn)


def _row(axis: Axes, height: float, words: Sequence[str]) -> None:
    """The boxes of one stage and the arrows between them."""
    middle = height + _HEIGHT / 2
    for (x, width, colour), text in zip(_COLUMNS, words, strict=True):
        style = "round,pad=0,rounding_size=0.12"
        box = FancyBboxPatch((x, height), width, _HEIGHT, boxstyle=style, fc=colour, ec="#555555")
        axis.add_patch(box)
        axis.text(x + width / 2, middle, text, ha="center", va="center", fontsize=9)
    for (x, width, _), (next_x, *_) in itertools.pairwise(_COLUMNS):
        _arrow(axis, (x + width + 0.05, middle), (next_x - 0.05, middle), "#555555")


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    axis.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=12,
            color=colour,
            lw=1.4,
            shrinkA=0,
            shrinkB=0,
        )
    )


def _feedback(axis: Axes) -> None:
    """The loss that goes from the frozen reader back to the head in training."""
    (heads_x, heads_width, _), (reader_x, reader_width, _) = _COLUMNS[1], _COLUMNS[3]
    heads, reader = heads_x + heads_width / 2, reader_x + reader_width / 2
    top, low = _STAGES["stage 2"][0] - 0.05, 0.3
    axis.plot(
        [reader, reader, heads, heads],
        [top, low, low, top - 0.15],
        color=st.VERMILION,
        lw=1.4,
        solid_joinstyle="miter",
    )
    _arrow(axis, (heads, low), (heads, top), st.VERMILION)
    axis.text(
        (reader + heads) / 2,
        low + 0.1,
        "KL( reader posterior || retriever )",
        ha="center",
        color=st.VERMILION,
        fontsize=9,
    )
