"""Stage 04: the general-purpose reader learns the task beside retrieved records (Eq. 1)."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from jomed.artifacts import artifact, data_root, stamp
from jomed.config import RunConfig
from jomed.phantom.models import provide_backbone
from jomed.reading.export import ExportReport, export_llamafactory
from jomed.reading.finetune import ADAPTER, REPORT, FinetuneReport, finetune_reader
from jomed.reading.reader import Reader
from jomed.reading.supervision import make_splits
from jomed.reading.team import join_team, shared
from jomed.stages.data import read_samples
from jomed.stages.index import Finder


@dataclass(frozen=True, slots=True)
class Lesson:
    """What stage 1 learns from: samples, and the records shown beside each (by sample id)."""

    samples: pd.DataFrame
    records: pd.DataFrame
    candidates: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class TrainedReader:
    """The fine-tuned, frozen reader and the report of its training."""

    reader: Reader
    report: FinetuneReport


def train_reader(config: RunConfig) -> Path:
    """Fine-tune the reader on the candidates of the untrained heads: folder of artefact `reader`.

    On several processes all of them call this; the main one finds the candidates and writes.
    """
    torch.set_num_threads(config.runtime.threads)
    made = artifact(config, "reader")
    if made.is_complete():
        return made.path
    team = join_team(config)
    with ExitStack() as held:

        def begin() -> tuple[Path, Lesson, Path | str]:
            folder = held.enter_context(made.resuming(**stamp(config)))
            return folder, find_lesson(config), provide_backbone(config)

        folder, lesson, base = shared(begin)
        root = data_root(config)
        finetune_reader(
            config, base, lesson.samples, lesson.records, lesson.candidates, root, folder
        )
    # Not before the main process has put the artefact in its place.
    team.wait_for_everyone()
    return made.require()


def export_reader(configs: Sequence[RunConfig], folder: Path) -> ExportReport:
    """Write what stage 1 would train on for LLaMA-Factory, with a YAML for each run's backbone.

    The runs differ in their backbone only.
    """
    config = configs[0]
    torch.set_num_threads(config.runtime.threads)
    lesson = find_lesson(config)
    splits = make_splits(config, lesson.samples, lesson.records, lesson.candidates)
    bases = {one.backbone.name: provide_backbone(one) for one in configs}
    return export_llamafactory(configs, bases, splits, data_root(config), folder, stamp(config))


def find_lesson(config: RunConfig) -> Lesson:
    """The samples of stage 1 and what the untrained heads bring to them."""
    samples = read_samples(config).samples
    seen = samples[samples["split"] != "test"]
    finder = Finder(config, seen)
    candidates = finder.untrained_candidates(config.stage1.candidates_per_head)
    shown = {record_id for found in candidates.values() for record_id in found}
    return Lesson(
        samples=seen[seen["sample_id"].isin(candidates)],
        records=finder.records[finder.records["record_id"].isin(shown)],
        candidates=candidates,
    )


def prepare_reader(config: RunConfig) -> TrainedReader:
    """Make the artefact `reader` (see ``train_reader``) unless it is there, and read it."""
    train_reader(config)
    return read_reader(config)


def read_reader(config: RunConfig) -> TrainedReader:
    """The finished artefact `reader`; MissingArtifact where it is not there."""
    folder = artifact(config, "reader").require()
    torch.set_num_threads(config.runtime.threads)
    reader = Reader.load(config, provide_backbone(config), folder / ADAPTER, data_root(config))
    report = FinetuneReport(**json.loads((folder / REPORT).read_text()))
    return TrainedReader(reader, report)
