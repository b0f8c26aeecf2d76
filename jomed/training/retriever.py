"""Stage 2: train one query head on the frozen reader's likelihoods (Eq. 2; method, section 4.2).

The passage side never changes: candidate vectors come from the index, f(x) is computed once per
image, and the reader is asked for each (sample, record) pair once, in one call per refresh.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from jomed.config import RunConfig
from jomed.records import Skipped
from jomed.retrieval.encoders import Encoder
from jomed.retrieval.index import Index
from jomed.settings import HeadName
from jomed.training.errors import TrainingError
from jomed.training.mining import Likelihoods, Queries, Scorer
from jomed.training.run import HEAD_FILE, HeadRun

__all__ = ["HEAD_FILE", "HeadReport", "TrainingError", "train_head"]


@dataclass(frozen=True, slots=True)
class HeadReport:
    """What a training run did. `first` and `best` are validation marginal log-likelihoods.

    `excluded` counts the self-matching (sample, record) pairs that were kept out of the search.
    """

    head: HeadName
    steps: int
    first: float
    best: float
    best_step: int
    excluded: int
    skipped: tuple[Skipped, ...]
    path: Path


def train_head(
    config: RunConfig,
    head: HeadName,
    index: Index,
    encoder: Encoder,
    samples: pd.DataFrame,
    records: pd.DataFrame,
    score: Scorer,
    gold: Mapping[str, int],
    root: Path,
    folder: Path,
) -> HeadReport:
    """Train the head `head` and leave the best one in `folder`/head.safetensors.

    `samples` holds the train and val splits (test rows are ignored), `gold` the position of each
    sample's gold answer in its answer set, `score` the reader. Validation is the mean of
    log sum_k p_R p^C(gold) with the candidates of the live head and always the true likelihoods,
    before the first step and every `eval_every` steps. A second call in the same folder continues
    an interrupted run and ends in the identical head. Raises TrainingError and IndexError_.
    """
    index.require_encoder(encoder)
    parts = {
        split: Queries(samples[samples["split"] == split], encoder, root, records, index)
        for split in ("train", "val")
    }
    _check_samples(parts, gold)
    _check_candidates(parts, index.size, config.stage2.candidates)
    folder.mkdir(parents=True, exist_ok=True)
    likelihoods = Likelihoods(score, gold, index.record_ids)
    progress = HeadRun(config, head, index, encoder, parts, likelihoods, folder).train()
    return HeadReport(
        head=head,
        steps=progress.step,
        first=progress.first,
        best=progress.best,
        best_step=progress.best_step,
        excluded=sum(len(rows) for part in parts.values() for rows in part.exclude),
        skipped=tuple(item for part in parts.values() for item in part.skipped),
        path=folder / HEAD_FILE,
    )


def _check_samples(parts: Mapping[str, Queries], gold: Mapping[str, int]) -> None:
    for split, queries in parts.items():
        if not queries.ids:
            raise TrainingError(f"stage 2 has no {split} samples whose image can be opened")
        unknown = [sample_id for sample_id in queries.ids if sample_id not in gold]
        if unknown:
            raise TrainingError(f"no gold answer position for samples {unknown[:5]}")


def _check_candidates(parts: Mapping[str, Queries], size: int, wanted: int) -> None:
    """Refuse a K that some sample cannot have, before a step is taken and not in mid-training."""
    for queries in parts.values():
        place = max(range(len(queries.ids)), key=lambda n: len(queries.exclude[n]))
        excluded = len(queries.exclude[place])
        if wanted > size - excluded:
            raise TrainingError(
                f"stage2.candidates is {wanted}, but sample {queries.ids[place]!r} can have "
                f"{size - excluded} records: the index holds {size}, of which {excluded} match the "
                "sample itself. Lower stage2.candidates or index more records"
            )
