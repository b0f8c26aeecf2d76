import math

import pytest
import torch

from jomed.training.losses import (
    LOSSES,
    closed_log_likelihood,
    emdr2,
    log_prior,
    marginal_log_likelihood,
    perplexity_distillation,
    posterior_kl,
    released,
    released_gold,
    reverse_kl,
)

TAUS = {"tau_r": 0.3, "tau_g": 1.0}


def problem(batch=5, k=7, seed=0):
    """Random scores that need a gradient, and log-likelihoods, in float64."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(batch, k, generator=generator, dtype=torch.float64)
    gold = -3 * torch.rand(batch, k, generator=generator, dtype=torch.float64)
    return scores.requires_grad_(True), gold


def gradient(loss, scores):
    (found,) = torch.autograd.grad(loss, scores)
    return found


def log(*values):
    return torch.tensor([values], dtype=torch.float64).log()


# Scores log(1) and log(3) at tau_R = 1 give p_R = (1/4, 3/4); p^C = (0.8, 0.2).
PRIOR, GOLD = log(1.0, 3.0), log(0.8, 0.2)


def test_hand_computed_prior():
    expected = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    torch.testing.assert_close(log_prior(PRIOR, 1.0).exp(), expected)
    expected = torch.tensor([[0.1, 0.9]], dtype=torch.float64)  # 1^2 : 3^2
    torch.testing.assert_close(log_prior(PRIOR, 0.5).exp(), expected)


def test_hand_computed_posterior_kl():
    # t is (0.8 * 0.25, 0.2 * 0.75) = (0.2, 0.15), normalised (4/7, 3/7).
    expected = 4 / 7 * math.log((4 / 7) / 0.25) + 3 / 7 * math.log((3 / 7) / 0.75)
    assert posterior_kl(PRIOR, GOLD, tau_r=1.0, tau_g=1.0).item() == pytest.approx(expected)
    # tau_G = 0.5 squares p^C: (0.64 * 0.25, 0.04 * 0.75) = (0.16, 0.03).
    expected = 16 / 19 * math.log(16 / 19 / 0.25) + 3 / 19 * math.log(3 / 19 / 0.75)
    assert posterior_kl(PRIOR, GOLD, tau_r=1.0, tau_g=0.5).item() == pytest.approx(expected)


def test_hand_computed_other_losses():
    taus = {"tau_r": 1.0, "tau_g": 1.0}
    expected = 0.8 * math.log(0.8 / 0.25) + 0.2 * math.log(0.2 / 0.75)
    assert perplexity_distillation(PRIOR, GOLD, **taus).item() == pytest.approx(expected)
    expected = 0.25 * math.log(0.25 / 0.8) + 0.75 * math.log(0.75 / 0.2)
    assert reverse_kl(PRIOR, GOLD, **taus).item() == pytest.approx(expected)
    assert emdr2(PRIOR, GOLD, **taus).item() == pytest.approx(-math.log(0.35))
    assert marginal_log_likelihood(PRIOR, GOLD, tau_r=1.0).tolist() == pytest.approx(
        [math.log(0.35)]
    )


def test_hand_computed_gradient_is_prior_minus_target():
    # d KL(t || p_R) / d s_k = (p_k - t_k) / tau_R, at tau_R = 0.5 and scores log(1), log(sqrt 3).
    scores = log(1.0, math.sqrt(3)).requires_grad_(True)  # p_R = (1/4, 3/4), t = (4/7, 3/7)
    found = gradient(posterior_kl(scores, GOLD, tau_r=0.5, tau_g=1.0), scores)
    assert found[0].tolist() == pytest.approx([2 * (1 / 4 - 4 / 7), 2 * (3 / 4 - 3 / 7)])


def test_hand_computed_temperature_of_the_reader_in_the_other_losses():
    taus = {"tau_r": 1.0, "tau_g": 0.5}  # p^C squared: 0.64 and 0.04, normalised 16/17 and 1/17
    expected = 16 / 17 * math.log(16 / 17 / 0.25) + 1 / 17 * math.log(1 / 17 / 0.75)
    assert perplexity_distillation(PRIOR, GOLD, **taus).item() == pytest.approx(expected)
    expected = 0.25 * math.log(0.25 / (16 / 17)) + 0.75 * math.log(0.75 / (1 / 17))
    assert reverse_kl(PRIOR, GOLD, **taus).item() == pytest.approx(expected)
    assert emdr2(PRIOR, GOLD, **taus).item() == pytest.approx(-math.log(0.64 / 4 + 0.04 * 3 / 4))


def test_hand_computed_released_loss():
    # As the posterior KL at temperature 1 (t = (4/7, 3/7)), over B K = 2 terms, times 1000.
    expected = 4 / 7 * math.log((4 / 7) / 0.25) + 3 / 7 * math.log((3 / 7) / 0.75)
    assert released(PRIOR, GOLD).item() == pytest.approx(1000 * expected / 2)


@pytest.mark.parametrize(("right", "expected"), [(17, 2.5e-3), (1, 4e-4)])
def test_released_loss_on_a_flat_prior_is_as_small_as_it_was_found(right, expected):
    # 50 candidates, six answers: e / (e + 5) under a right record, 1 / (e + 5) under a wrong one.
    answers = torch.full((50, 6), -100.0, dtype=torch.float64)
    answers[:right, 0] = answers[right:, 1] = 0.0
    gold = released_gold(answers, torch.zeros(50, dtype=torch.long))[None]
    loss = released(torch.zeros_like(gold), gold).item() / 1000
    assert loss == pytest.approx(expected, rel=0.07)


def test_losses_are_means_over_the_batch():
    taus = {"tau_r": 1.0, "tau_g": 1.0}
    scores, gold = torch.cat([PRIOR, PRIOR * 0]), torch.cat([GOLD, GOLD])
    for loss in LOSSES.values():
        halves = [loss(scores[i : i + 1], gold[i : i + 1], **taus).item() for i in (0, 1)]
        assert loss(scores, gold, **taus).item() == pytest.approx(sum(halves) / 2)


@pytest.mark.parametrize("tau_r", [0.05, 0.3, 1.0])
def test_posterior_kl_and_emdr2_have_the_same_gradient(tau_r):
    scores, gold = problem()
    left = gradient(posterior_kl(scores, gold, tau_r=tau_r, tau_g=1.0), scores)
    right = gradient(emdr2(scores, gold, tau_r=tau_r, tau_g=1.0), scores)
    torch.testing.assert_close(left, right, atol=1e-6, rtol=0)
    assert left.abs().max() > 1e-3


@pytest.mark.parametrize("tau_g", [0.5, 1.0, 2.0])
def test_uniform_prior_makes_posterior_kl_perplexity_distillation(tau_g):
    _, gold = problem()
    flat = torch.full_like(gold, 0.4).requires_grad_(True)
    left = posterior_kl(flat, gold, tau_r=0.3, tau_g=tau_g)
    right = perplexity_distillation(flat, gold, tau_r=0.3, tau_g=tau_g)
    assert left.item() == pytest.approx(right.item(), abs=1e-6)
    torch.testing.assert_close(gradient(left, flat), gradient(right, flat), atol=1e-6, rtol=0)
    sloped, _ = problem()
    assert posterior_kl(sloped, gold, **TAUS).item() != pytest.approx(
        perplexity_distillation(sloped, gold, **TAUS).item(), abs=1e-3
    )


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_one_candidate_gives_no_gradient(name):
    scores, gold = problem(k=1)
    assert gradient(LOSSES[name](scores, gold, **TAUS), scores).abs().max() <= 1e-6


def test_one_candidate_gives_no_gradient_in_the_released_recipe():
    scores, gold = problem(k=1)
    assert gradient(released(scores, gold), scores).abs().max() <= 1e-6


@pytest.mark.parametrize("name", [*sorted(LOSSES), "released"])
def test_constant_added_to_a_samples_likelihoods_changes_nothing(name):
    scores, gold = problem()
    shifts = torch.tensor([[0.0], [-2.0], [5.0], [-40.0], [1.0]], dtype=torch.float64)

    def loss(values):
        if name == "released":
            return released(scores, values)
        return LOSSES[name](scores, values, **TAUS)

    left, right = loss(gold), loss(gold + shifts)
    torch.testing.assert_close(gradient(left, scores), gradient(right, scores), atol=1e-6, rtol=0)
    if name == "emdr2":  # a likelihood itself: its value moves by the constant
        assert (left - right).item() == pytest.approx(shifts.mean().item(), abs=1e-6)
    else:
        assert left.item() == pytest.approx(right.item(), abs=1e-6)


def test_released_loss_is_its_closed_form():
    scores, gold = problem(batch=2, k=50)
    weights = gold.exp()
    prior = torch.softmax(scores.detach(), dim=1)
    target = prior * weights / (prior * weights).sum(1, keepdim=True)
    loss = released(scores, gold)
    expected = (target * (target / prior).log()).sum() / (2 * 50)
    assert loss.item() == pytest.approx(1000 * expected.item(), abs=1e-6)
    found = gradient(loss, scores)
    torch.testing.assert_close(found, 1000 * (prior - target) / (2 * 50), atol=1e-6, rtol=0)
    marginal = -(torch.softmax(scores, dim=1) * weights).sum(1).log().sum() / (2 * 50)
    torch.testing.assert_close(found, 1000 * gradient(marginal, scores), atol=1e-6, rtol=0)


def test_released_gold_is_a_double_softmax_with_bounds():
    logprobs = torch.tensor([[100.0, 0, 0, 0, 0, 0], [0, 100.0, 0, 0, 0, 0]])
    low, high = 1 / (math.e + 5), math.e / (math.e + 5)
    found = released_gold(logprobs, torch.tensor([0, 0])).exp()
    assert found.tolist() == pytest.approx([high, low])
    assert (round(low, 4), round(high, 4)) == (0.1296, 0.3522)
    # By hand: p = (3/4, 1/4), then e^0.75 / (e^0.75 + e^0.25).
    found = released_gold(log(3.0, 1.0), torch.tensor([0])).exp().item()
    assert found == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_closed_log_likelihood_normalises_over_the_set():
    logprobs = torch.tensor([[0.02, 0.06, 0.12], [0.3, 0.3, 0.3]]).log()
    found = closed_log_likelihood(logprobs, torch.tensor([1, 2])).exp()
    assert found.tolist() == pytest.approx([0.3, 1 / 3])
    wide = closed_log_likelihood(logprobs.expand(4, 2, 3), torch.tensor([1, 2]).expand(4, 2))
    assert wide.shape == (4, 2)


@pytest.mark.parametrize("name", [*sorted(LOSSES), "released"])
def test_padded_candidates_are_as_if_absent(name):
    def loss(scores, gold, mask=None):
        if name == "released":
            return released(scores, gold, mask)
        return LOSSES[name](scores, gold, mask, **TAUS)

    scores, gold = problem(batch=3, k=4)
    padding = torch.full((3, 2), 9.0, dtype=torch.float64)
    padded_scores = torch.cat([scores.detach(), padding], dim=1).requires_grad_(True)
    padded_gold = torch.cat([gold, padding * 0], dim=1)
    mask = torch.tensor([[True] * 4 + [False] * 2] * 3)
    full, padded = loss(scores, gold), loss(padded_scores, padded_gold, mask)
    assert padded.item() == pytest.approx(full.item(), abs=1e-9)
    found = gradient(padded, padded_scores)
    torch.testing.assert_close(found[:, :4], gradient(full, scores))
    assert found[:, 4:].abs().max() == 0.0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_targets_carry_no_gradient_to_the_reader(name):
    scores, gold = problem()
    gold.requires_grad_(True)
    loss = LOSSES[name](scores, gold, **TAUS)
    assert torch.autograd.grad(loss, gold, allow_unused=True)[0] is None


def test_descent_moves_mass_to_the_likelier_record():
    for name, loss in LOSSES.items():
        scores = torch.zeros(1, 2, requires_grad=True)
        slope = gradient(loss(scores, GOLD.float(), **TAUS), scores)
        assert slope[0, 0] < 0 < slope[0, 1], name
