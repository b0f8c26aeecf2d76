"""Optimiser, learning rate and loss of a stage 2 recipe."""

import math
from collections.abc import Callable, Iterable
from functools import partial

from torch import Tensor, nn
from torch.optim import AdamW

from jomed.settings import Stage2Config
from jomed.training.losses import LOSSES, released

RELEASED_DECAY = 1.0


def make_optimiser(tower: nn.Module, settings: Stage2Config) -> AdamW:
    """AdamW over a tower: decay on matrices only (`jomed`), or 1.0 on everything (`released`)."""
    parameters = [p for p in tower.parameters() if p.requires_grad]
    if settings.recipe == "released":
        return AdamW(parameters, lr=settings.learning_rate, weight_decay=RELEASED_DECAY)
    matrices = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=settings.learning_rate)


def cosine_rate(step: int, total: int, warmup: int) -> float:
    """Factor on the learning rate at step 0, 1, ...: linear warm-up from 0, then half a cosine.

    The same curve as transformers' `get_cosine_schedule_with_warmup`, as a function of the step.
    """
    if step < warmup:
        return step / max(1, warmup)
    share = (step - warmup) / max(1, total - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * share)))


def set_rate(optimiser: AdamW, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def recipe_loss(settings: Stage2Config) -> Callable[..., Tensor]:
    """The loss (scores, gold) -> scalar; the `released` recipe has its own, at temperature 1."""
    if settings.recipe == "released":
        return released
    return partial(LOSSES[settings.loss], tau_r=settings.tau_r, tau_g=settings.tau_g)


def gradient_norm(parameters: Iterable[Tensor], settings: Stage2Config) -> float:
    """Norm of the gradient after backward; the `jomed` recipe clips it to `clip_norm`."""
    limit = settings.clip_norm if settings.recipe == "jomed" else math.inf
    return float(nn.utils.clip_grad_norm_(parameters, limit))
