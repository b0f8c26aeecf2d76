"""One whole run of a small configuration, for the tests of the stages."""

from dataclasses import dataclass
from pathlib import Path

import torch

from jomed.config import RunConfig
from jomed.evaluation.estimates import EvaluatedRun
from jomed.phantom.models import provide_encoder
from jomed.phantom.world import provide_data
from jomed.stages.data import Corpora, Samples, prepare_corpora, prepare_samples
from jomed.stages.evaluation import prepare_evaluation
from jomed.stages.index import prepare_index
from jomed.stages.reader import TrainedReader, prepare_reader
from jomed.stages.retriever import prepare_head

OVERRIDES = {
    "stage2.candidates": 3,
    "evaluation.methods": [
        "closed_book", "random_records", "caption_only", "image_only", "standard_rag", "jomed",
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """The configuration of a run and what its stages returned."""

    config: RunConfig
    corpora: Corpora
    samples: Samples
    reader: TrainedReader
    heads: dict[str, Path]
    evaluated: EvaluatedRun


def whole_run(config: RunConfig) -> Run:
    """Run every stage of a configuration in order."""
    torch.set_num_threads(1)
    provide_data(config)
    corpora, samples = prepare_corpora(config), prepare_samples(config)
    prepare_index(config, provide_encoder(config))
    reader = prepare_reader(config)
    heads = {head: prepare_head(config, head, reader.reader) for head in config.stage2.heads}
    evaluated = prepare_evaluation(config, reader.reader)
    return Run(config, corpora, samples, reader, heads, evaluated)
