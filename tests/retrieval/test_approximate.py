import numpy as np

from jomed.retrieval.approximate import recall_at
from jomed.retrieval.exact import order_rows


def test_recall_is_the_mean_share_of_exact_rows_found():
    approximate = np.array([[1, 2, 3, 4], [9, 8, 0, 0]])
    exact = np.array([[4, 3, 2, 1], [8, 7, 6, 5]])
    assert recall_at(approximate, exact) == (4 / 4 + 1 / 4) / 2


def test_order_is_by_score_then_row():
    scores = np.array([0.5, 0.9, 0.5, 0.9], np.float32)
    assert order_rows(scores, np.array([7, 6, 2, 3])).tolist() == [3, 1, 2, 0]
