"""Metrics of all methods, subsets and seeds of one benchmark and backbone, with replicates."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from jomed.evaluation import metrics
from jomed.evaluation.inconsistency import fused_rows, inconsistency, inconsistent_samples
from jomed.evaluation.metrics import BoolArray, FloatArray, Measure
from jomed.evaluation.oracle import oracle_rows
from jomed.evaluation.significance import Resampling, bootstrap, cluster_codes

ALL, INCONSISTENT, OWN_INCONSISTENT = "all", "inconsistent", "own_inconsistent"


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """The predictions of one benchmark, backbone and seed.

    ``predictions`` (PREDICTION_SCHEMA) of all methods, ``samples`` (SAMPLE_SCHEMA) of the test
    split. ``labels``: the fixed label list (answers of a single_label benchmark, label names of a
    multi_label one, empty for vqa). ``label_scores``: per method the frame of
    `predictions.label_scores`, without which there is no AUC.
    """

    benchmark: str
    backbone: str
    seed: int
    task: str
    labels: tuple[str, ...]
    predictions: pd.DataFrame
    samples: pd.DataFrame
    label_scores: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number of a table: its measure over all test samples, and its bootstrap replicates."""

    seed: int
    method: str
    subset: str
    metric: str
    measure: Measure
    replicates: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Estimates:
    """All estimates of one benchmark and backbone, on the same draws of the same samples.

    ``clustered``: some samples share a group, so that they are not independent.
    """

    benchmark: str
    backbone: str
    clustered: bool
    methods: tuple[str, ...]
    rows: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class _Answers:
    """Gold answers of the test samples, in the order in which all arrays are kept."""

    ids: tuple[str, ...]
    gold: tuple[str, ...]
    kinds: tuple[str, ...]


def estimate(runs: Sequence[EvaluatedRun], reference: str, resampling: Resampling) -> Estimates:
    """Metrics of every run of one benchmark and backbone (the runs differ in their seed only).

    The subset ``inconsistent`` holds the samples on which the candidates of ``reference`` disagree,
    ``own_inconsistent`` those on which the method's own do. The former picks samples that are hard
    for the reference, so any other method looks better there: read it beside the controls
    (random records, shuffled likelihoods). Every oracle is a further method.
    ValueError if the runs do not share their test samples, or a method misses some of them.
    """
    first = runs[0]
    if len({(run.benchmark, run.backbone) for run in runs}) != 1:
        raise ValueError("estimate() takes the runs of one benchmark and one backbone")
    if len({run.seed for run in runs}) != len(runs):
        raise ValueError(f"{first.benchmark} x {first.backbone}: a seed comes twice")
    answers = _answers(first)
    if any(_answers(run) != answers for run in runs):
        raise ValueError(f"{first.benchmark} x {first.backbone}: runs differ in their test samples")
    rows = [row for run in runs for row in _run_estimates(run, answers, reference)]
    groups = first.samples.set_index("sample_id")["group"].loc[list(answers.ids)]
    clusters = cluster_codes(groups.tolist(), answers.ids)
    resampled = [row for row in rows if row.measure.parts is not None]
    drawn = iter(bootstrap([row.measure for row in resampled], clusters, resampling))
    return Estimates(
        benchmark=first.benchmark,
        backbone=first.backbone,
        clustered=len(set(clusters.tolist())) < len(clusters),
        methods=tuple(dict.fromkeys(m for run in runs for m in run.predictions["method"])),
        rows=tuple(row if row.measure.parts is None else _drawn(row, next(drawn)) for row in rows),
    )


def _drawn(row: Estimate, replicates: FloatArray) -> Estimate:
    return replace(row, replicates=replicates)


def _answers(run: EvaluatedRun) -> _Answers:
    table = run.samples.sort_values("sample_id")
    if table["sample_id"].duplicated().any():
        raise ValueError(f"{run.benchmark}: sample ids are not unique")
    return _Answers(*(tuple(table[c]) for c in ("sample_id", "answer", "answer_type")))


def _run_estimates(run: EvaluatedRun, answers: _Answers, reference: str) -> Iterator[Estimate]:
    kinds = dict(zip(answers.ids, answers.kinds, strict=True))
    gold = dict(zip(answers.ids, answers.gold, strict=True))
    flags = inconsistency(run.predictions, kinds)
    rows = pd.concat([run.predictions, oracle_rows(run.predictions, gold, kinds)])
    for method, own in fused_rows(rows).groupby("method", sort=False):
        predicted = _aligned(own, answers, f"{run.benchmark}, seed {run.seed}, {method}")
        own_flags = flags[flags["method"] == method]
        named = {INCONSISTENT: _members(flags, reference, answers.ids)}
        if (own_flags["candidates"] > 1).any():
            named[OWN_INCONSISTENT] = _members(flags, str(method), answers.ids)
            share = _share(own_flags, answers.ids)
            yield Estimate(run.seed, str(method), ALL, "inconsistent_share", share)
        for subset, where in {ALL: np.ones(len(predicted), dtype=bool), **named}.items():
            measures = _measures(run, str(method), answers, predicted, where)
            for metric, measure in measures.items():
                yield Estimate(run.seed, str(method), subset, metric, measure)


def _aligned(own: pd.DataFrame, answers: _Answers, what: str) -> tuple[str, ...]:
    found = dict(zip(own["sample_id"], own["answer"], strict=True))
    if len(found) != len(own) or found.keys() != set(answers.ids):
        raise ValueError(
            f"{what}: {len(own)} fused predictions of {len(found)} samples do not match the "
            f"{len(answers.ids)} test samples; evaluate this method again"
        )
    return tuple(found[sample_id] for sample_id in answers.ids)


def _members(flags: pd.DataFrame, method: str, ids: Sequence[str]) -> BoolArray:
    chosen = inconsistent_samples(flags, method)
    return np.array([sample_id in chosen for sample_id in ids], dtype=bool)


def _share(own_flags: pd.DataFrame, ids: Sequence[str]) -> Measure:
    """Share of inconsistent samples among those with at least two candidates."""
    own = own_flags.set_index("sample_id")
    differ = own["inconsistent"].reindex(list(ids), fill_value=False).to_numpy(dtype=bool)
    able = own["candidates"].reindex(list(ids), fill_value=0).to_numpy(dtype=int) > 1
    return metrics.mean_measure(differ, able, binary=True)


def _measures(
    run: EvaluatedRun, method: str, answers: _Answers, predicted: Sequence[str], where: BoolArray
) -> dict[str, Measure]:
    """Measures over a subset; their parts cover all samples, with zero rows outside of it."""
    rows = np.flatnonzero(where).tolist()
    gold, said = [answers.gold[i] for i in rows], [predicted[i] for i in rows]
    frame = run.label_scores.get(method)
    ids = [answers.ids[i] for i in rows]
    scores = None if frame is None else frame.loc[ids, list(run.labels)].to_numpy()
    if run.task == "vqa":
        result = metrics.vqa(gold, said, [answers.kinds[i] for i in rows])
    elif run.task == "multi_label":
        result = metrics.multi_label(gold, said, run.labels, scores)
    elif run.task == "single_label":
        result = metrics.single_label(gold, said, run.labels, scores)
    else:
        raise ValueError(f"{run.benchmark}: unknown task {run.task!r}")
    return {name: _spread(measure, where) for name, measure in result.measures.items()}


def _spread(measure: Measure, where: BoolArray) -> Measure:
    if measure.parts is None:
        return measure
    parts = np.zeros((len(where), *measure.parts.shape[1:]))
    parts[where] = measure.parts
    return replace(measure, parts=parts)
