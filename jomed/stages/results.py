"""Finished stages and runs as small frames, for the notebooks that show and compare them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from jomed.artifacts import MissingArtifact, artifact, stage_notebooks
from jomed.config import RunConfig
from jomed.evaluation.estimates import EvaluatedRun
from jomed.evaluation.inconsistency import fused_rows, inconsistency, inconsistent_samples
from jomed.evaluation.text import canonical_answer
from jomed.params import load_variants
from jomed.reporting import Provenance
from jomed.reporting.figures import read_training_log
from jomed.settings import HEAD_NAMES
from jomed.stages.finished import (
    REFERENCE,
    outcome,
    pretraining_losses,
    read_evaluation,
    training_log,
)
from jomed.training import LOG_FILE
from jomed.variants import matrix_configs


@dataclass(frozen=True, slots=True)
class MatrixResults:
    """Runs of a matrix: all planned ones, the finished ones with predictions, and a status table.

    `configs` and `runs` are the finished ones, in the same order; `status` has a row for every
    planned run: benchmark, backbone, seed, status ("finished" or "not run").
    """

    planned: tuple[RunConfig, ...]
    configs: tuple[RunConfig, ...]
    runs: list[EvaluatedRun]
    status: pd.DataFrame

    def provenance(self) -> Provenance:
        """Provenance of the finished runs, with the titles of all planned ones.

        A matrix with variants has a folder of its own, so that it replaces no table of the
        profile's own matrix.
        """
        titles = Provenance.of(self.planned).titles
        matrix = self.planned[0].matrix
        part = matrix if len(load_variants(matrix)) > 1 else ""
        return replace(Provenance.of(self.configs, part), titles=titles)


def collect_runs(config: RunConfig) -> MatrixResults:
    """Read the finished runs of a matrix. MissingArtifact where not one is finished."""
    planned = matrix_configs(config)
    done = [run for run in planned if artifact(run, "evaluation").is_complete()]
    if not done:
        first = artifact(planned[0], "evaluation")
        raise MissingArtifact(f"no run of matrix {config.matrix!r} is finished. {first.remedy}")
    finished = {run.run_name for run in done}
    rows = [
        {
            "benchmark": run.benchmark.title,
            "backbone": run.backbone.title,
            "seed": run.seed,
            "status": "finished" if run.run_name in finished else "not run",
        }
        for run in planned
    ]
    runs = [read_evaluation(run) for run in done]
    return MatrixResults(tuple(planned), tuple(done), runs, pd.DataFrame(rows))


def stage_status(config: RunConfig) -> pd.DataFrame:
    """Every stage of one run: stage, notebook, status ("finished" or "missing")."""
    rows = [
        {
            "stage": stage,
            "notebook": notebook,
            "status": "finished" if artifact(config, stage).is_complete() else "missing",
        }
        for stage, notebook in stage_notebooks(config).items()
    ]
    return pd.DataFrame(rows)


def parse_failures(run: EvaluatedRun) -> pd.DataFrame:
    """Answers that could not be read, per method: columns method, samples, unparsed."""
    kinds = dict(zip(run.samples["sample_id"], run.samples["answer_type"], strict=True))
    rows = fused_rows(run.predictions)
    unread = [
        canonical_answer(kinds[sample_id], answer) is None
        for sample_id, answer in zip(rows["sample_id"], rows["answer"], strict=True)
    ]
    counted = rows.assign(unparsed=unread).groupby("method", sort=False)["unparsed"]
    return counted.agg(samples="size", unparsed="sum").reset_index()


def validation_hits(configs: Sequence[RunConfig]) -> pd.DataFrame:
    """Validation of each head before stage 2 and at the step that was kept.

    likelihoods: what the head learned from (reader, or shuffled in the control); log_likelihood:
    mean of log sum_k p_R p^C(gold) (Eq. 3); right_candidates: share of the K candidates under
    which the reader is right; samples_with_hit: share of samples with at least one of those.
    """
    rows = []
    for config, head in itertools.product(configs, HEAD_NAMES):
        log = training_log(config, head).dropna(subset=["val"])
        for stage, row in (("before", log.iloc[0]), ("after", log.iloc[int(log["val"].argmax())])):
            rows.append(
                {
                    "likelihoods": config.stage2.likelihoods,
                    "head": head,
                    "stage": stage,
                    "step": int(row["step"]),
                    "log_likelihood": row["val"],
                    "right_candidates": row["hits"] / row["pairs"],
                    "samples_with_hit": row["samples_with_hit"] / row["samples"],
                }
            )
    return pd.DataFrame(rows)


def training_outcomes(config: RunConfig) -> pd.DataFrame:
    """What the training of each head came to (see `HeadReport`), one row per head."""
    rows = [{"head": head, **outcome(config, head)} for head in config.stage2.heads]
    return pd.DataFrame(rows)


def pretraining_curves(config: RunConfig, stage: str) -> dict[str, list[tuple[float, float]]]:
    """The pre-training loss of a tiny "encoder" or "backbone"; nothing for a published model."""
    tiny = {"encoder": config.encoder.tiny, "backbone": config.backbone.tiny}[stage]
    if tiny is None:
        return {}
    losses = pretraining_losses(config, stage)
    return {"pre-training loss": [(float(n), loss) for n, loss in enumerate(losses, start=1)]}


def training_curves(config: RunConfig) -> pd.DataFrame:
    """The logs of both heads as `learning_curves` draws them."""
    folders = {head: artifact(config, f"head_{head}").require() for head in HEAD_NAMES}
    return read_training_log({head: folder / LOG_FILE for head, folder in folders.items()})


def example_sample(run: EvaluatedRun) -> str:
    """The first test sample on which the candidates of standard RAG disagree, else the first."""
    kinds = dict(zip(run.samples["sample_id"], run.samples["answer_type"], strict=True))
    disagreed = inconsistent_samples(inconsistency(run.predictions, kinds), REFERENCE)
    ids = run.samples["sample_id"].tolist()
    return str(next((sample_id for sample_id in ids if sample_id in disagreed), ids[0]))


def prediction_rows(run: EvaluatedRun, sample_id: str, methods: Sequence[str]) -> pd.DataFrame:
    """What some methods said about one sample; records are named by their source only."""
    rows = run.predictions[run.predictions["sample_id"] == sample_id]
    rows = rows[rows["method"].isin(methods)]
    shown = rows.assign(source=rows["record_id"].str.split(":").str[0])
    columns = ["method", "head", "rank", "source", "weight", "answer", "correct"]
    return shown[columns].reset_index(drop=True)
