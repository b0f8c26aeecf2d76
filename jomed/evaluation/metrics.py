"""Metrics of one method on one benchmark: class labels, label sets and visual questions.

Point values come from scikit-learn where it has the metric. Every resampled metric also carries
its additive parts, so that `significance` can recompute it for thousands of bootstrap draws:
``value = mean over columns of (sum of numerators / sum of denominators)``, which covers means
(one column) and macro-F1 (one column per label: 2 tp over predicted + gold).

An answer that cannot be read is wrong and counted in ``unparsed``; nothing defaults to class 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from jomed.evaluation import text
from jomed.reading.answers import normalise_answer

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Measure:
    """One number over ``n`` samples.

    ``parts`` (N, columns, 2): numerators and denominators per sample, None where the number is
    not resampled (counts, caps, AUC). ``empty`` is the value of a column without denominator:
    0 for F1 (``zero_division=0``), NaN for a mean over no samples. ``binary``: every sample is
    right or wrong, so McNemar's test applies.
    """

    value: float
    n: int
    parts: FloatArray | None = None
    empty: float = float("nan")
    binary: bool = False


@dataclass(frozen=True, slots=True)
class MetricResult:
    """Measures by name, and the labels for which something is undefined.

    ``without_positives``: labels with no gold positive, which cap macro-F1 at the measure
    ``macro_f1_cap``. ``undefined_auc``: labels left out of the mean AUC.
    """

    measures: dict[str, Measure]
    without_positives: tuple[str, ...] = ()
    undefined_auc: tuple[str, ...] = ()


def combine(sums: FloatArray, empty: float) -> FloatArray:
    """Value(s) of a metric from summed parts (..., columns, 2) -> (...); NaN over no samples."""
    numerator, denominator = sums[..., 0], sums[..., 1]
    filled = np.full_like(numerator, empty)
    some = denominator != 0
    ratio = np.divide(numerator, denominator, out=filled, where=some)
    return np.where(some.any(axis=-1), ratio.mean(axis=-1), np.nan)


def mean_measure(
    values: ArrayLike, where: BoolArray | None = None, binary: bool = False
) -> Measure:
    """Mean of per-sample ``values`` (N,) over the samples selected by ``where`` (all if None)."""
    array = np.asarray(values, dtype=np.float64)
    chosen = np.ones(array.shape, dtype=bool) if where is None else where
    parts = np.stack([np.where(chosen, array, 0.0), chosen.astype(np.float64)], axis=-1)[:, None, :]
    value = float(array[chosen].mean()) if chosen.any() else float("nan")
    return Measure(value, int(chosen.sum()), parts, binary=binary)


def _macro_f1(gold: BoolArray, predicted: BoolArray) -> Measure:
    """Macro-F1 of label indicators (N, C), every column counted, ``zero_division=0``."""
    if not len(gold):
        return Measure(float("nan"), 0)
    value = float(np.mean(f1_score(gold, predicted, average=None, zero_division=0)))
    doubled = 2.0 * (gold & predicted)
    parts = np.stack([doubled, gold.astype(np.float64) + predicted], axis=-1)
    return Measure(value, len(gold), parts, empty=0.0)


def _count(values: ArrayLike) -> Measure:
    array = np.asarray(values, dtype=bool)
    return Measure(float(array.sum()), array.size)


def _label_aucs(gold: BoolArray, scores: ArrayLike | None) -> FloatArray:
    """One-vs-rest AUC per label; NaN without scores or without both positives and negatives."""
    values = np.full(gold.shape[1], np.nan)
    if scores is None:
        return values
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != gold.shape:
        raise ValueError(f"label scores have shape {array.shape}, the gold labels {gold.shape}")
    for column in np.flatnonzero(gold.any(axis=0) & ~gold.all(axis=0)):
        values[column] = roc_auc_score(gold[:, column], array[:, column])
    return values


def _label_report(
    gold: BoolArray, labels: Sequence[str], scores: ArrayLike | None
) -> tuple[dict[str, Measure], tuple[str, ...], tuple[str, ...]]:
    """AUC and macro-F1 cap over a fixed label list, and the labels they say nothing about."""
    if len({text.parse_label(label) for label in labels}) < max(2, len(labels)):
        raise ValueError(f"a benchmark needs at least two different labels, not {list(labels)}")
    n, aucs, present = len(gold), _label_aucs(gold, scores), gold.any(axis=0)
    defined = aucs[~np.isnan(aucs)]
    measures = {
        "macro_f1_cap": Measure(float(present.mean()) if n else float("nan"), n),
        "labels_without_positives": Measure(float((~present).sum()), n),
    }
    if scores is not None:
        measures["auc"] = Measure(float(defined.mean()) if defined.size else float("nan"), n)
        measures["auc_undefined_labels"] = Measure(float(np.isnan(aucs).sum()), n)
        pairs = zip(labels, aucs.tolist(), strict=True)
        measures |= {f"auc[{label}]": Measure(value, n) for label, value in pairs}
    missing = tuple(labels[index] for index in np.flatnonzero(~present).tolist())
    undefined = tuple(labels[index] for index in np.flatnonzero(np.isnan(aucs)).tolist())
    return measures, missing, undefined if scores is not None else ()


def _same_length(*columns: Sequence[object]) -> int:
    lengths = {len(column) for column in columns}
    if len(lengths) != 1:
        raise ValueError(f"answers do not line up: columns of {sorted(lengths)} samples")
    return lengths.pop()


def single_label(
    gold: Sequence[str],
    predicted: Sequence[str],
    labels: Sequence[str],
    scores: ArrayLike | None = None,
) -> MetricResult:
    """Accuracy, macro-F1 over the fixed ``labels``, AUC (plain mean of one-vs-rest, as MedMNIST).

    ``scores`` (N, C): probability of each label, where the answer set holds all labels. A
    prediction outside ``labels`` is unparsed and wrong; a gold outside them is a ValueError.
    """
    n = _same_length(gold, predicted)
    position = {text.parse_label(label): index for index, label in enumerate(labels)}
    truth = np.array([position.get(text.parse_label(item), -1) for item in gold], dtype=int)
    answer = np.array([position.get(text.parse_label(item), -1) for item in predicted], dtype=int)
    if (truth < 0).any():
        raise ValueError(f"gold answer {gold[int(np.argmin(truth))]!r} is not in {list(labels)}")
    one_hot = np.vstack([np.eye(len(labels), dtype=bool), np.zeros((1, len(labels)), dtype=bool)])
    report, missing, undefined = _label_report(one_hot[truth], labels, scores)
    accuracy = float(accuracy_score(truth, answer)) if n else float("nan")
    parts = mean_measure(truth == answer).parts
    measures = {
        "accuracy": Measure(accuracy, n, parts, binary=True),
        "macro_f1": _macro_f1(one_hot[truth], one_hot[answer]),
        "unparsed": _count(answer < 0),
    }
    return MetricResult(measures | report, missing, undefined)


def _indicators(sets: Sequence[frozenset[int] | None], n_labels: int) -> BoolArray:
    rows = np.zeros((len(sets), n_labels), dtype=bool)
    for row, members in zip(rows, sets, strict=True):
        row[sorted(members or ())] = True
    return rows


def multi_label(
    gold: Sequence[str],
    predicted: Sequence[str],
    labels: Sequence[str],
    scores: ArrayLike | None = None,
) -> MetricResult:
    """Subset accuracy, macro-F1 over the fixed ``labels``, per-label accuracy and AUC.

    Answers are index lists ("3, 7"; "" is no label). A prediction that is not one, or has an index
    outside the list, is unparsed: its subset is wrong and it counts as predicting no label.
    ``scores`` (N, C): probability of each label.
    """
    n, known = _same_length(gold, predicted), frozenset(range(len(labels)))
    truth = [text.parse_label_set(item) for item in gold]
    for item, members in zip(gold, truth, strict=True):
        if members is None or not members <= known:
            raise ValueError(f"gold answer {item!r} is not a list of indices below {len(labels)}")
    read = [text.parse_label_set(item) for item in predicted]
    answer = [members if members is not None and members <= known else None for members in read]
    y, p = _indicators(truth, len(labels)), _indicators(answer, len(labels))
    right = np.array([a == t for a, t in zip(answer, truth, strict=True)], dtype=bool)
    report, missing, undefined = _label_report(y, labels, scores)
    measures = {
        "subset_accuracy": mean_measure(right, binary=True),
        "macro_f1": _macro_f1(y, p),
        "label_accuracy": mean_measure((y == p).mean(axis=1)),
        "unparsed": _count([members is None for members in answer]),
    }
    columns = zip(labels, (y == p).T, strict=True)
    report |= {
        f"label_accuracy[{label}]": Measure(float(column.mean()) if n else float("nan"), n)
        for label, column in columns
    }
    return MetricResult(measures | report, missing, undefined)


def vqa(gold: Sequence[str], predicted: Sequence[str], answer_types: Sequence[str]) -> MetricResult:
    """Closed exact match and open token recall, with their named alternatives.

    Closed questions: ``closed_em`` (strict), ``closed_lenient``, ``closed_llava_med``. Open ones:
    ``open_recall`` and ``open_f1`` (SQuAD counts), ``open_recall_llava_med``, and the mean length
    of the answers in words, because recall alone rewards long answers. The number of questions
    of each kind stands in ``n_closed`` and ``n_open``.
    """
    _same_length(gold, predicted, answer_types)
    kinds = np.asarray(answer_types, dtype=object)
    closed, open_ = kinds == "closed", kinds == "open"
    if not (closed | open_).all():
        raise ValueError(f"answer types must be closed or open: {sorted(set(answer_types))}")

    def measure(rule: Callable[[str, str], float], where: BoolArray, binary: bool) -> Measure:
        pairs = zip(predicted, gold, where, strict=True)
        return mean_measure([rule(p, g) if here else 0.0 for p, g, here in pairs], where, binary)

    measures = {name: measure(rule, closed, True) for name, rule in CLOSED_RULES.items()}
    measures |= {name: measure(rule, open_, False) for name, rule in OPEN_RULES.items()}
    measures["unparsed"] = _count([not normalise_answer(item) for item in predicted])
    measures["n_closed"], measures["n_open"] = _count(closed), _count(open_)
    return MetricResult(measures)


CLOSED_RULES: dict[str, Callable[[str, str], float]] = {
    "closed_em": text.closed_strict,
    "closed_lenient": text.closed_lenient,
    "closed_llava_med": text.closed_llava_med,
}
OPEN_RULES: dict[str, Callable[[str, str], float]] = {
    "open_recall": lambda prediction, gold: text.token_scores(prediction, gold).recall,
    "open_f1": lambda prediction, gold: text.token_scores(prediction, gold).f1,
    "open_recall_llava_med": (
        lambda prediction, gold: text.token_scores_llava_med(prediction, gold).recall
    ),
    "open_answer_words": lambda prediction, gold: float(len(prediction.split())),
}
