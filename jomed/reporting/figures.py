"""Every figure of the companion under one name.

Each function draws tidy rows, saves `figures/<profile>/<name>.{svg,pdf,png,csv,json}` and
returns the Figure, so that a notebook shows it by naming it in the last line of a cell.
"""

from jomed.reporting.figure_cases import Candidate, Case, case_strip, method_diagram
from jomed.reporting.figure_data import Tile, image_grid, label_distribution, loss_curves
from jomed.reporting.figure_results import (
    difference_intervals,
    inconsistency_shares,
    method_comparison,
    oracle_gap,
)
from jomed.reporting.figure_training import (
    agreement_before_after,
    index_latency_recall,
    learning_curves,
    read_training_log,
    retriever_weights,
)

__all__ = [
    "Candidate",
    "Case",
    "Tile",
    "agreement_before_after",
    "case_strip",
    "difference_intervals",
    "image_grid",
    "inconsistency_shares",
    "index_latency_recall",
    "label_distribution",
    "learning_curves",
    "loss_curves",
    "method_comparison",
    "method_diagram",
    "oracle_gap",
    "read_training_log",
    "retriever_weights",
]
