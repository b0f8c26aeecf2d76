"""Stage 04: the general-purpose reader learns the task beside retrieved records (Eq. 1)."""

import json
from dataclasses import dataclass

import torch

from jomed.artifacts import artifact, data_root, stamp
from jomed.config import RunConfig
from jomed.phantom.models import provide_backbone
from jomed.reading.finetune import ADAPTER, REPORT, FinetuneReport, finetune_reader
from jomed.reading.reader import Reader
from jomed.stages.data import read_samples
from jomed.stages.index import Finder


@dataclass(frozen=True, slots=True)
class TrainedReader:
    """The fine-tuned, frozen reader and the report of its training."""

    reader: Reader
    report: FinetuneReport


def prepare_reader(config: RunConfig) -> TrainedReader:
    """Fine-tune the reader on the candidates of the untrained heads (artefact `reader`)."""
    torch.set_num_threads(config.runtime.threads)
    made = artifact(config, "reader")
    if not made.is_complete():
        samples = read_samples(config).samples
        seen = samples[samples["split"] != "test"]
        finder = Finder(config, seen)
        candidates = finder.untrained_candidates(config.stage1.candidates_per_head)
        usable = seen[seen["sample_id"].isin(candidates)]
        base = provide_backbone(config)
        with made.resuming(**stamp(config)) as folder:
            finetune_reader(
                config, base, usable, finder.records, candidates, data_root(config), folder
            )
    return read_reader(config)


def read_reader(config: RunConfig) -> TrainedReader:
    """The finished artefact `reader`; MissingArtifact where it is not there."""
    folder = artifact(config, "reader").require()
    torch.set_num_threads(config.runtime.threads)
    reader = Reader.load(config, provide_backbone(config), folder / ADAPTER, data_root(config))
    report = FinetuneReport(**json.loads((folder / REPORT).read_text()))
    return TrainedReader(reader, report)
