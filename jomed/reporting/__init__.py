"""Reported numbers, generated tables, figures and cards: reads results and computes none."""

from jomed.reporting.cards import corpus_card, dataset_card, run_card, write_card
from jomed.reporting.frames import FrameError, over_seeds, with_average
from jomed.reporting.paper import PAPER_BACKBONES, PaperError, align, recomputed_averages, reported
from jomed.reporting.provenance import Provenance
from jomed.reporting.tables import Layout, write_table

__all__ = [
    "PAPER_BACKBONES",
    "FrameError",
    "Layout",
    "PaperError",
    "Provenance",
    "align",
    "corpus_card",
    "dataset_card",
    "over_seeds",
    "recomputed_averages",
    "reported",
    "run_card",
    "with_average",
    "write_card",
    "write_table",
]
