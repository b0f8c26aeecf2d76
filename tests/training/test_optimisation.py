import math

import pytest
import torch
import toy_world
from torch import nn
from transformers import get_cosine_schedule_with_warmup

from jomed.training.losses import posterior_kl, released
from jomed.training.optimisation import (
    cosine_rate,
    gradient_norm,
    make_optimiser,
    recipe_loss,
    set_rate,
)


def stepped(recipe):
    """A layer of ones after one step with zero gradients: only weight decay acts."""
    layer = nn.Linear(2, 2)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    settings = toy_world.config(recipe=recipe, learning_rate=0.1, weight_decay=0.5).stage2
    make_optimiser(layer, settings).step()
    return layer


def test_jomed_decays_matrices_only():
    layer = stepped("jomed")
    assert layer.weight.flatten().tolist() == pytest.approx([1 - 0.1 * 0.5] * 4)
    assert layer.bias.tolist() == [1.0, 1.0]


def test_released_decays_everything_by_one():
    layer = stepped("released")
    values = [*layer.weight.flatten().tolist(), *layer.bias.tolist()]
    assert values == pytest.approx([1 - 0.1 * 1.0] * 6)


@pytest.mark.parametrize(("total", "warmup"), [(40, 5), (40, 0), (7, 7)])
def test_rate_is_the_cosine_of_transformers(total, warmup):
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    schedule = get_cosine_schedule_with_warmup(optimiser, warmup, total)
    for step in range(total):
        assert cosine_rate(step, total, warmup) == pytest.approx(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()


def test_rate_reaches_every_group():
    optimiser = make_optimiser(nn.Linear(2, 2), toy_world.config().stage2)
    set_rate(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 0.25]


def test_gradient_is_clipped_by_jomed_and_left_by_released():
    for recipe, expected in (("jomed", 2.0), ("released", 5.0)):
        layer = nn.Linear(2, 1, bias=False)
        layer.weight.grad = torch.tensor([[3.0, 4.0]])
        settings = toy_world.config(recipe=recipe, clip_norm=2.0).stage2
        assert gradient_norm(layer.parameters(), settings) == pytest.approx(5.0)
        assert math.dist(layer.weight.grad[0].tolist(), [0, 0]) == pytest.approx(expected, abs=1e-4)


def test_recipe_names_its_loss():
    scores, gold = torch.randn(2, 3), -torch.rand(2, 3)
    settings = toy_world.config(recipe="released", loss="emdr2").stage2
    assert recipe_loss(settings)(scores, gold) == released(scores, gold)
    settings = toy_world.config(loss="posterior_kl", tau_r=0.2, tau_g=3.0).stage2
    expected = posterior_kl(scores, gold, tau_r=0.2, tau_g=3.0)
    assert recipe_loss(settings)(scores, gold) == expected
