"""What stage 1 trains on: prompts with their answers, and the loss on the answers (Eq. 1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from jomed.config import RunConfig
from jomed.reading.answers import spoken_answer
from jomed.reading.packing import PromptPacker, ReaderError, model_inputs
from jomed.reading.prompts import Prompt
from jomed.reading.scoring import PromptBook
from jomed.reading.tries import answer_ids

IGNORED = -100
"""Label of a position that is not supervised."""


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and the answer that the reader is to say; ``name`` is what errors call it."""

    prompt: Prompt
    answer: str
    name: str = ""


def make_examples(
    config: RunConfig,
    samples: pd.DataFrame,
    records: pd.DataFrame,
    candidates: Mapping[str, Sequence[str]],
    split: str,
) -> list[Example]:
    """Return one example per sample of a split and candidate record, in the samples' order.

    Raises ReaderError where a sample has no candidate, or the split no sample.
    """
    chosen = samples[samples["split"] == split]
    answers = {
        str(sample_id): spoken_answer(answer, config.benchmark)
        for sample_id, answer in zip(chosen["sample_id"], chosen["answer"], strict=True)
    }
    if not answers:
        raise ReaderError(
            f"the {split} split of {config.benchmark.name} has no sample to train or validate on; "
            "see what notebook 02 left out, and data.sample_limits and data.val_share"
        )
    bare = [sample_id for sample_id in answers if not candidates.get(sample_id)]
    if bare:
        raise ReaderError(
            f"{len(bare)} of {len(answers)} samples of the {split} split have no candidate: "
            f"{bare[:5]}; retrieve for every training and validation sample"
        )
    pairs = [(sample_id, record) for sample_id in answers for record in candidates[sample_id]]
    book = PromptBook(samples, records, pairs, config)
    return [
        Example(
            book.prompt(sample_id, record_id),
            answers[sample_id],
            f"sample {sample_id} beside {f'record {record_id}' if record_id else 'no record'}",
        )
        for sample_id, record_id in pairs
    ]


def make_splits(
    config: RunConfig,
    samples: pd.DataFrame,
    records: pd.DataFrame,
    candidates: Mapping[str, Sequence[str]],
) -> dict[str, list[Example]]:
    """Return the examples of the training and the validation split (see ``make_examples``)."""
    return {
        split: make_examples(config, samples, records, candidates, split)
        for split in ("train", "val")
    }


class AnswerCollator:
    """Batches examples: left-padded prompts with their answers behind them.

    The labels (B, longest answer) are the last columns of the batch; all before is prompt.
    """

    def __init__(self, packer: PromptPacker):
        self.packer = packer

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """Return the model's arguments and the labels."""
        packed = self.packer.pack([example.prompt for example in examples])
        said = [answer_ids(self.packer.tokenizer, example.answer) for example in examples]
        endings = [np.array(ids, np.int64) for ids in said]
        labels = np.full((len(said), max(map(len, said))), IGNORED, np.int64)
        for row, ids in zip(labels, said, strict=True):
            row[-len(ids) :] = ids
        inputs = model_inputs(self.packer, packed, endings)
        return {**inputs, "labels": torch.from_numpy(labels)}


def answer_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the summed negative log-probability of each example's labels (B,).

    ``logits`` (B, T, V) are those before each label (B, T); ignored labels count nothing.
    """
    tokens = cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return tokens.view(labels.shape).sum(1)


def answer_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean over examples of ``answer_losses``."""
    return answer_losses(logits, labels).mean()
