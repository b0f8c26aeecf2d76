"""Pre-train a tiny reader on the general split: it learns to read texts, not to diagnose images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jomed.config import RunConfig, load_config
from jomed.params import params_in
from jomed.phantom.general import GeneralPair
from jomed.phantom.tiny_readers import build_model, build_processor
from jomed.progress import track
from jomed.reading.families import FAMILIES
from jomed.reading.packing import PromptPacker
from jomed.reading.prompts import Prompt
from jomed.reading.supervision import AnswerCollator, Example, answer_loss

BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.05
WARMUP = 0.1
CLIP_NORM = 1.0
SIGHT_SHARE = 0.2
"""Share of the questions that are about the look of the query image."""
# Label strings that no general text holds; without them they would have no token of their own.
SPOKEN = ("background: user assistant Yes No , . ? 0 1 2 3 4 5 6 7 8 9",)


def pretrain_reader(
    config: RunConfig, pairs: Sequence[GeneralPair], root: Path, folder: Path
) -> list[float]:
    """Build, train and save a tiny reader to `folder` as a published checkpoint would be.

    One example: the image and text of a pair, the image of *any* pair as query, and a question
    about the text or about the look of the query image. Returns the loss of every step (mean
    negative log-probability of the answers).
    """
    tiny = config.backbone.tiny
    if tiny is None:
        raise ValueError(f"backbone {config.backbone.name!r} is a published model, not a tiny one")
    texts = [
        text
        for pair in pairs
        for text in (pair.text, *(t for qa in pair.tasks + pair.sights for t in qa))
    ]
    processor = build_processor(config.backbone.family, tiny, [*texts, *SPOKEN, *_asked()])
    torch.manual_seed(0)
    model = build_model(config.backbone.family, tiny, processor).train()
    packer = PromptPacker(processor, FAMILIES[config.backbone.family], root, config.prompt)
    losses = _train(model, AnswerCollator(packer), pairs, tiny)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return losses


def _asked() -> list[str]:
    """Questions and answers of all benchmarks: one reader serves them all, whichever came first."""
    known = [load_config(benchmark=name).benchmark for name in params_in("benchmarks")]
    return [text for one in known for text in (one.question or "", *one.answers)]


def _train(
    model: Any, collate: AnswerCollator, pairs: Sequence[GeneralPair], tiny: Any
) -> list[float]:
    rng = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=tiny.learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, tiny.learning_rate, total_steps=tiny.steps, pct_start=WARMUP
    )
    losses = []
    for _ in track(range(tiny.steps), "pre-training the tiny reader"):
        inputs = collate(_examples(pairs, tiny.batch_size, rng))
        labels = inputs.pop("labels")
        logits = model(**inputs, logits_to_keep=labels.shape[1] + 1).logits
        loss = answer_loss(logits[:, :-1], labels)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimiser.step()
        schedule.step()
        losses.append(round(loss.item(), 4))
    return losses


def _examples(pairs: Sequence[GeneralPair], count: int, rng: np.random.Generator) -> list[Example]:
    examples = []
    for shown, query in rng.integers(len(pairs), size=(count, 2)):
        pair, sights = pairs[shown], pairs[query].sights
        tasks = sights if sights and rng.random() < SIGHT_SHARE else pair.tasks
        question, answer = tasks[int(rng.integers(len(tasks)))]
        prompt = Prompt(pair.image, pair.text, pairs[query].image, question)
        examples.append(Example(prompt, answer))
    return examples
