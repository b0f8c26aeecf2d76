"""The training loop of stage 1: the same steps however many processes share them."""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments

from jomed.config import RunConfig
from jomed.reading.forward import sliding_window
from jomed.reading.options import resolve_device
from jomed.reading.packing import PromptPacker
from jomed.reading.supervision import IGNORED, AnswerCollator, Example, answer_losses

NAMES = "names"
"""Key of a batch under which the names of its examples stand."""


class FinetuneError(RuntimeError):
    """Stage 1 cannot start or go on; the message says why and what to do."""


def per_process(config: RunConfig, processes: int) -> int:
    """Return how many batches of a step each process takes, so that steps stay the same.

    Raises FinetuneError where the processes cannot share them evenly.
    """
    batches, size = config.stage1.gradient_accumulation, config.stage1.batch_size
    if batches % processes:
        raise FinetuneError(
            f"{processes} processes cannot share the {batches} batches of a step "
            f"(stage1.gradient_accumulation) evenly; start a number that divides {batches}, or "
            f"choose another stage1.batch_size x stage1.gradient_accumulation = {batches * size}"
        )
    return batches // processes


class TrainingStream(Dataset[Example | None]):
    """The examples of all optimiser steps in their order, epoch after epoch.

    Every epoch has an order of its own, drawn from ``seed``. A step takes ``step_size`` examples;
    the last one of an epoch may have fewer, and its free places hold None. So each step starts
    at a multiple of the step size: what a resumed run and several processes reckon with.
    """

    def __init__(self, examples: Sequence[Example], seed: int, step_size: int, steps: int):
        self.examples = examples
        self.seed = seed
        self._places = -(-len(examples) // step_size) * step_size
        self._length = steps * step_size
        self._order: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> Example | None:
        epoch, place = divmod(position, self._places)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            drawn = torch.randperm(len(self.examples), generator=generator)
            self._order = (epoch, drawn.tolist())
        order = self._order[1]
        return self.examples[order[place]] if place < len(order) else None


class StepCollator:
    """Batches what a stream holds; a prompt with its answer has at most ``limit`` tokens.

    Free places are left out. A batch of nothing else is one example without labels, ``filler``:
    every process needs a batch where another one has one.
    """

    def __init__(self, packer: PromptPacker, limit: int, filler: Example):
        self.collate = AnswerCollator(packer)
        self.limit = limit
        self.filler = filler

    def __call__(self, entries: Sequence[Example | None]) -> dict[str, Any]:
        """Return the model's arguments, the labels and the names of the examples."""
        examples = [entry for entry in entries if entry is not None]
        batch = self.collate(examples or [self.filler])
        if not examples:
            batch["labels"].fill_(IGNORED)
        lengths = batch["attention_mask"].sum(1).tolist()
        for example, length in zip(examples, lengths, strict=False):
            if length > self.limit:
                raise FinetuneError(
                    f"{example.name}: prompt and answer have {length} tokens, and the model reads "
                    f"at most {self.limit}; lower prompt.max_side or prompt.max_text_chars, or "
                    "leave the sample out"
                )
        return {**batch, NAMES: [example.name for example in examples]}

    def check_lengths(self, examples: Sequence[Example]) -> None:
        """Raise FinetuneError for an example that is too long, before hours of training.

        Only those are tokenised that could be: a token of a text is at least a byte long, and no
        image has more tokens than a square one of the largest side.
        """
        packer = self.collate.packer
        image = packer.most_image_tokens()
        for example in examples:
            text = packer.rendered(example.prompt) + example.answer
            if len(text.encode()) + image * len(example.prompt.images) >= self.limit:
                self([example])


def token_limit(model: Any) -> int:
    """Return how many tokens of prompt and answer a model reads: its context or sliding window."""
    context = int(model.config.get_text_config().max_position_embeddings)
    return min(context, sliding_window(model) or context)


def mean_loss(found: Any) -> dict[str, float]:
    """Return the mean of the losses of all validation examples, which stand as predictions."""
    return {"loss": float(np.mean(found.predictions, dtype=np.float64))}


class ReaderTrainer(Trainer):  # type: ignore[misc, unused-ignore]
    """Trainer whose loss is Eq. 1: -log p(answer | record, sample), mean over a step's examples.

    It trains on a ``TrainingStream`` with a ``StepCollator``. A loss that is no finite number
    stops it.
    """

    # The loss is that of the whole step: the trainer must not divide it by the batches.
    loss_is_scaled_for_ga = True

    def __init__(self, **arguments: Any):
        super().__init__(**arguments, compute_metrics=mean_loss)
        self.model_accepts_loss_kwargs = True

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset or self.train_dataset)

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], torch.Tensor]:
        """Return this process's batches of a step and the step's examples in all processes."""
        batches = list(itertools.islice(epoch_iterator, num_batches))
        own = torch.tensor(sum(len(batch[NAMES]) for batch in batches), device=device)
        return batches, self.accelerator.gather(own).sum()

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        """Return the batch's share of the step's loss."""
        # Gradients are averaged over the processes, and the examples are those of all of them.
        losses = self._losses(model, inputs)
        return losses.sum() * self.accelerator.num_processes / num_items_in_batch

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any
    ) -> tuple[None, torch.Tensor, torch.Tensor]:
        """Return the losses of a validation batch's examples in the place of predictions.

        Predictions of several processes are gathered one by one; a loss would count per batch.
        """
        with torch.no_grad():
            losses = self._losses(model, self._prepare_inputs(inputs))
        return None, losses, losses

    def _losses(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        rest = dict(inputs)
        names, labels = rest.pop(NAMES), rest.pop("labels")
        outputs = model(**rest, logits_to_keep=labels.shape[1] + 1)
        losses = answer_losses(outputs.logits[:, :-1], labels)
        finite = torch.isfinite(losses.detach()).tolist()
        bad = [name for name, good in zip(names, finite, strict=False) if not good]
        if bad:
            raise FinetuneError(
                f"step {self.state.global_step + 1}: the loss of {len(bad)} examples of a batch is "
                f"no finite number: {'; '.join(bad[:5])}. The checkpoints before it stay: start "
                "the run again to go on from the last one. If that ends the same way, look at "
                "these samples and records, or lower stage1.learning_rate"
            )
        return losses


def training_arguments(config: RunConfig, checkpoints: Path) -> TrainingArguments:
    """Return the trainer's settings for ``config.stage1``; checkpoints are kept in a folder."""
    stage = config.stage1
    on_cpu = resolve_device(config).type == "cpu"
    every = {"logging_steps": stage.eval_every, "eval_steps": stage.eval_every}
    return TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=stage.max_steps,
        per_device_train_batch_size=stage.batch_size,
        per_device_eval_batch_size=stage.batch_size,
        gradient_accumulation_steps=per_process(config, PartialState().num_processes),
        learning_rate=stage.learning_rate,
        weight_decay=stage.weight_decay,
        optim="adamw_torch",
        lr_scheduler_type="cosine",
        # A whole number of steps: the library reads shares below 1 only.
        warmup_steps=round(stage.warmup_ratio * stage.max_steps),
        bf16=not on_cpu and config.backbone.dtype == "bfloat16",
        use_cpu=on_cpu,
        # Every adapted layer sees every batch: each prompt has an image.
        ddp_find_unused_parameters=False,
        eval_strategy="steps",
        save_strategy="steps",
        save_steps=stage.eval_every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
        seed=config.seed,
        report_to=[],
        log_level="error",
        disable_tqdm=os.environ.get("JOMED_PROGRESS") == "0",
        **every,
    )
