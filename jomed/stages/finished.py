"""What finished stages left, read back without loading a model: quick for who only shows it."""

import json
from collections.abc import Mapping

import pandas as pd

from jomed.artifacts import artifact
from jomed.config import RunConfig
from jomed.evaluation.estimates import EvaluatedRun
from jomed.evaluation.significance import Resampling
from jomed.evaluation.summary import Summary, summarise
from jomed.phantom import LOSSES
from jomed.records import PREDICTION_SCHEMA, read_frame
from jomed.settings import HeadName
from jomed.stages.data import read_samples
from jomed.training import LOG_FILE

OUTCOME = "outcome.json"
REFERENCE = "standard_rag"


def pretraining_losses(config: RunConfig, stage: str) -> list[float]:
    """The training loss of a tiny encoder ("encoder") or reader ("backbone"), step by step."""
    text = (artifact(config, stage).require() / LOSSES).read_text()
    losses: list[float] = json.loads(text)
    return losses


def training_log(config: RunConfig, head: HeadName) -> pd.DataFrame:
    """The log of stage 2, one row per step or validation."""
    return pd.read_json(artifact(config, f"head_{head}").require() / LOG_FILE, lines=True)


def outcome(config: RunConfig, head: HeadName) -> Mapping[str, float]:
    """What the training of a head came to (see `HeadReport`)."""
    text = (artifact(config, f"head_{head}").require() / OUTCOME).read_text()
    result: Mapping[str, float] = json.loads(text)
    return result


def measured_labels(config: RunConfig) -> tuple[str, ...]:
    """The fixed label list of the metrics: answers, label names, or none for questions."""
    benchmark = config.benchmark
    by_task = {"single_label": benchmark.answers, "multi_label": benchmark.label_names, "vqa": ()}
    return by_task[benchmark.task]


def read_evaluation(config: RunConfig) -> EvaluatedRun:
    """The finished artefact `evaluation`; MissingArtifact where it is not there."""
    folder = artifact(config, "evaluation").require()
    predictions = read_frame(folder / "predictions.parquet", PREDICTION_SCHEMA)
    samples = read_samples(config).samples
    tested = samples[samples["sample_id"].isin(predictions["sample_id"])]
    scores = {
        path.name.split(".")[1]: pd.read_parquet(path)
        for path in sorted(folder.glob("label_scores.*.parquet"))
    }
    return EvaluatedRun(
        benchmark=config.benchmark.name,
        backbone=config.backbone.name,
        seed=config.seed,
        task=config.benchmark.task,
        labels=measured_labels(config),
        predictions=predictions,
        samples=tested.reset_index(drop=True),
        label_scores=scores,
    )


def summarise_runs(
    config: RunConfig, runs: list[EvaluatedRun], reference: str = REFERENCE
) -> Summary:
    """Metrics and differences from standard RAG of finished runs, with bootstrap intervals.

    ``reference`` names another method to compare with.
    """
    settings = config.evaluation
    resampling = Resampling(settings.bootstrap_draws, settings.bootstrap_seed, settings.confidence)
    return summarise(runs, reference, resampling)
