"""What the heads retrieve: how often a record's text names the query's diagnosis."""

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd

from jomed.config import RunConfig
from jomed.evaluation.fusion import HeadList
from jomed.evaluation.metrics import mean_measure
from jomed.evaluation.significance import (
    Resampling,
    bootstrap,
    cluster_codes,
    percentile_interval,
)
from jomed.phantom.diagnoses import agrees, diagnosis_of
from jomed.records import Sample, rows_of
from jomed.settings import HEAD_NAMES
from jomed.stages.candidates import weight_file
from jomed.stages.data import read_samples
from jomed.stages.index import Finder

STAGES: Mapping[Literal["untrained", "trained"], str] = {"untrained": "before", "trained": "after"}


def agreement_frame(configs: Sequence[RunConfig]) -> pd.DataFrame:
    """Agreement of the retrieved records with the test samples, before and after stage 2.

    One row per run, head and stage: the mean over samples of the share of the
    `inference.candidates_per_head` records that agree (`phantom.diagnoses.agrees`), its bootstrap
    interval (clustered by group) and n, the number of samples with a diagnosis. Columns benchmark,
    backbone, seed, head, stage, value, low, high, n.
    """
    return pd.DataFrame([row for config in configs for row in _rows(config)])


def _rows(config: RunConfig) -> list[dict[str, object]]:
    samples = read_samples(config).samples
    finder = Finder(config, samples[samples["split"] == "test"])
    asked = [s for s in rows_of(finder.queries.samples, Sample) if diagnosis_of(config, s)]
    texts = dict(zip(finder.records["record_id"], finder.records["text"], strict=True))
    count = config.inference.candidates_per_head
    run = {"benchmark": config.benchmark.name, "backbone": config.backbone.name}
    rows: list[dict[str, object]] = []
    for head in HEAD_NAMES:
        for weights, stage in STAGES.items():
            found = finder.listed(head, weight_file(config, head, weights), count)
            place = {**run, "seed": config.seed, "head": head, "stage": stage}
            rows.append({**place, **_share(config, asked, found, texts)})
    return rows


def _share(
    config: RunConfig,
    samples: Sequence[Sample],
    found: Mapping[str, HeadList],
    texts: Mapping[str, str],
) -> dict[str, float]:
    """Mean share of agreeing records with its interval."""
    shares = []
    for sample in samples:
        diagnosis, ids = diagnosis_of(config, sample), found[sample.sample_id].record_ids
        shares.append(sum(agrees(config, diagnosis, texts[i]) for i in ids) / len(ids))
    measure = mean_measure(shares)
    clusters = cluster_codes([s.group for s in samples], [s.sample_id for s in samples])
    settings = config.evaluation
    resampling = Resampling(settings.bootstrap_draws, settings.bootstrap_seed, settings.confidence)
    interval = percentile_interval(
        bootstrap([measure], clusters, resampling)[0], settings.confidence
    )
    return {"value": measure.value, "low": interval.low, "high": interval.high, "n": measure.n}
