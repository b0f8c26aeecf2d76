"""Stage 05: both query heads learn from the frozen reader's likelihoods (Eq. 2)."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from jomed.artifacts import artifact, data_root, score_table_path, stamp
from jomed.config import RunConfig, with_overrides
from jomed.reading.answers import AnswerSet, answer_sets, spoken_answer
from jomed.reading.reader import Reader
from jomed.reading.scores import ScoreTable
from jomed.reading.scoring import Pair, score_pairs, table_key
from jomed.settings import HeadName
from jomed.stages.closing import note_options, require_noted_options, wrong_options
from jomed.stages.data import read_samples
from jomed.stages.finished import OUTCOME
from jomed.stages.index import Finder
from jomed.training.retriever import HEAD_FILE, HeadReport, TrainingError, train_head


def prepare_head(config: RunConfig, head: HeadName, reader: Reader) -> Path:
    """Train one head (artefact `head_text` or `head_image`); returns its weight file.

    Raises ConfigError where it is there but was trained on other options of open questions.
    """
    torch.set_num_threads(config.runtime.threads)
    made = artifact(config, f"head_{head}")
    samples = read_samples(config).samples
    if made.is_complete():
        require_noted_options(config, made.path, samples)
    else:
        sets, gold = training_answers(config, samples)
        usable = samples[samples["sample_id"].isin(list(gold))]
        finder = Finder(config, usable)
        with (
            closing(ScoreTable(score_table_path(config), table_key(reader))) as table,
            made.resuming(**stamp(config)) as folder,
        ):
            note_options(config, folder, samples)

            def score(pairs: Sequence[Pair]) -> list[np.ndarray]:
                return score_pairs(reader, table, samples, finder.records, pairs, sets, config)

            report = train_head(
                config,
                head,
                finder.index,
                finder.encoder,
                usable,
                finder.records,
                score,
                gold,
                data_root(config),
                folder,
            )
            lost = int((samples["split"] != "test").sum()) - len(usable)
            facts = {**_facts(report), "pairs_scored": len(table), "samples_without_gold": lost}
            (folder / OUTCOME).write_text(json.dumps(facts, indent=1) + "\n")
    return made.require() / HEAD_FILE


def _facts(report: HeadReport) -> dict[str, float]:
    names = ("steps", "first", "best", "best_step", "excluded")
    return {name: getattr(report, name) for name in names}


def training_answers(
    config: RunConfig, samples: pd.DataFrame
) -> tuple[dict[str, AnswerSet], dict[str, int]]:
    """Answer sets of all samples that have one, and the gold position of train and val samples.

    Validation samples whose gold answer was never seen in training have no position: they cannot
    be part of the validation likelihood. Open questions are closed as `closing` says. TrainingError
    for a training sample without one, and for any label that a single-label benchmark does not
    list: what is taught must be in the set.
    """
    sets = answer_sets(samples, config.benchmark, wrong_options(config, samples))
    seen = samples[samples["split"] != "test"]
    gold: dict[str, int] = {}
    for sample_id, split, answer in zip(
        seen["sample_id"], seen["split"], spoken(config, seen), strict=True
    ):
        if answer in sets[sample_id]:
            gold[str(sample_id)] = sets[sample_id].index(answer)
        elif split == "train" or config.benchmark.task == "single_label":
            shown = ", ".join(map(repr, sets[sample_id].answers[:8]))
            more = ", ..." if len(sets[sample_id]) > 8 else ""
            raise TrainingError(
                f"the {split} sample {sample_id!r} has the answer {answer!r}, which is not in its "
                f"answer set ({shown}{more}): mend the sample, or add the answer to "
                f"params/benchmarks/{config.benchmark.name}.yaml, and make its samples anew "
                "(notebook 02)"
            )
    return sets, gold


def spoken(config: RunConfig, samples: pd.DataFrame) -> list[str]:
    """The gold answers as the reader says them."""
    return [spoken_answer(answer, config.benchmark) for answer in samples["answer"]]


def shuffled_control(config: RunConfig) -> RunConfig:
    """The same run with likelihoods permuted across each sample's candidates: must gain nothing."""
    return with_overrides(config, {"stage2.likelihoods": "shuffled"})


def prepare_control(config: RunConfig, reader: Reader) -> list[RunConfig]:
    """Train the shuffled control where the profile evaluates it; returns its run, or nothing."""
    controls = [shuffled_control(config)] if "shuffled" in config.evaluation.methods else []
    for control in controls:
        for head in control.stage2.heads:
            prepare_head(control, head, reader)
    return controls
