"""What stage 1 trains on: prompts with their answers, and the loss on the answers (Eq. 1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer

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
    """One prompt and the answer that the reader is to say."""

    prompt: Prompt
    answer: str


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
    bare = [sample_id for sample_id in answers if not candidates.get(sample_id)]
    if bare or not answers:
        raise ReaderError(
            f"{len(bare)} of {len(answers)} samples of the {split} split have no candidate: "
            f"{bare[:5]}; retrieve for every training and validation sample"
        )
    pairs = [(sample_id, record) for sample_id in answers for record in candidates[sample_id]]
    book = PromptBook(samples, records, pairs, config)
    return [Example(book.prompt(*pair), answers[pair[0]]) for pair in pairs]


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


class ReaderTrainer(Trainer):  # type: ignore[misc, unused-ignore]
    """Trainer whose loss is Eq. 1: -log p(answer | record, sample), mean over the examples."""

    # The loss is a mean over the batch; the trainer divides by the accumulated batches.
    loss_is_scaled_for_ga = False

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: object = None,
    ) -> Any:
        """Return the loss of a batch, with logits at the answers' positions only."""
        rest = dict(inputs)
        labels = rest.pop("labels")
        outputs = model(**rest, logits_to_keep=labels.shape[1] + 1)
        loss = answer_loss(outputs.logits[:, :-1], labels)
        return (loss, outputs) if return_outputs else loss


def answer_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean over examples of the summed negative log-probability of their labels.

    ``logits`` (B, T, V) are those before each label (B, T); ignored labels count nothing.
    """
    total = cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / len(labels)
