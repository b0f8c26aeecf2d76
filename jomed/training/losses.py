"""Losses of stage 2 as pure functions of one head's scores (method, section 4.2).

Shapes: `scores` (B, K) inner products s_k with gradient; `gold` (B, K) log p^C(a | z_k, x, q);
`mask` (B, K) True where a candidate exists (None: everywhere). Padded entries of `scores` and
`gold` must be finite; they get probability 0 and no gradient. Nothing flows back into `gold`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

RELEASED_SCALE = 1000.0
"""Factor on the loss in the released training code."""


def closed_log_likelihood(logprobs: Tensor, gold: Tensor) -> Tensor:
    """log p^C(a): answer log-probabilities (..., C) normalised over the closed set (section 4.1).

    `gold` (...) holds the gold answer's position in C. Returns (...).
    """
    return torch.log_softmax(logprobs, dim=-1).gather(-1, gold.unsqueeze(-1)).squeeze(-1)


def released_gold(logprobs: Tensor, gold: Tensor) -> Tensor:
    """Gold value of the released code: log softmax_c(softmax_c(l))[a], a double softmax.

    Shapes as in `closed_log_likelihood`. A right and a wrong record differ by a factor e at most.
    """
    return closed_log_likelihood(torch.softmax(logprobs, dim=-1), gold)


def log_prior(scores: Tensor, tau_r: float, mask: Tensor | None = None) -> Tensor:
    """log p_R(z_k | x) = log softmax_k(s_k / tau_R), (B, K); 0 in padded places."""
    return _log_softmax(scores / tau_r, mask)


def posterior_kl(
    scores: Tensor, gold: Tensor, mask: Tensor | None = None, *, tau_r: float, tau_g: float
) -> Tensor:
    """KL(t || p_R) with t proportional to p^C(a | z_k)^(1/tau_G) p_R(z_k), detached; batch mean."""
    student = log_prior(scores, tau_r, mask)
    target = _log_softmax(gold.detach() / tau_g + student.detach(), mask)
    return _kl(target, student, mask).sum(dim=1).mean()


def perplexity_distillation(
    scores: Tensor, gold: Tensor, mask: Tensor | None = None, *, tau_r: float, tau_g: float
) -> Tensor:
    """KL(t || p_R) with t = softmax_k(log p^C / tau_G): no prior (ATLAS PDist, REPLUG-LSR)."""
    target = _log_softmax(gold.detach() / tau_g, mask)
    return _kl(target, log_prior(scores, tau_r, mask), mask).sum(dim=1).mean()


def reverse_kl(
    scores: Tensor, gold: Tensor, mask: Tensor | None = None, *, tau_r: float, tau_g: float
) -> Tensor:
    """KL(p_R || softmax_k(log p^C / tau_G)): the order written in the paper's Figure 2."""
    target = _log_softmax(gold.detach() / tau_g, mask)
    return _kl(log_prior(scores, tau_r, mask), target, mask).sum(dim=1).mean()


def marginal_log_likelihood(
    scores: Tensor, gold: Tensor, mask: Tensor | None = None, *, tau_r: float
) -> Tensor:
    """log sum_k p^C(a | z_k) p_R(z_k | x) per sample, (B,): Eq. 3 for the gold answer."""
    joint = log_prior(scores, tau_r, mask) + gold.detach()
    return torch.logsumexp(_hide(joint, mask), dim=1)


def emdr2(
    scores: Tensor, gold: Tensor, mask: Tensor | None = None, *, tau_r: float, tau_g: float
) -> Tensor:
    """-log sum_k p^C(a | z_k)^(1/tau_G) p_R(z_k), batch mean (EMDR2's retriever term)."""
    return -marginal_log_likelihood(scores, gold / tau_g, mask, tau_r=tau_r).mean()


def released(scores: Tensor, gold: Tensor, mask: Tensor | None = None) -> Tensor:
    """The released code's loss: 1000 times the mean over all B*K terms of KL(t || p_R), tau 1.

    `gold` comes from `released_gold`; t is proportional to exp(gold) p_R, detached.
    """
    student = log_prior(scores, 1.0, mask)
    target = _log_softmax(gold.detach() + student.detach(), mask)
    terms = _kl(target, student, mask)
    count = terms.numel() if mask is None else mask.sum()
    return RELEASED_SCALE * terms.sum() / count


LOSSES: dict[str, Callable[..., Tensor]] = {
    "posterior_kl": posterior_kl,
    "perplexity_distillation": perplexity_distillation,
    "emdr2": emdr2,
    "reverse_kl": reverse_kl,
}


def _hide(values: Tensor, mask: Tensor | None) -> Tensor:
    return values if mask is None else values.masked_fill(~mask, -torch.inf)


def _log_softmax(logits: Tensor, mask: Tensor | None) -> Tensor:
    logs = torch.log_softmax(_hide(logits, mask), dim=1)
    # 0 instead of -inf: keeps later products and their gradients free of NaN.
    return logs if mask is None else logs.masked_fill(~mask, 0.0)


def _kl(left: Tensor, right: Tensor, mask: Tensor | None) -> Tensor:
    terms = left.exp() * (left - right)
    return terms if mask is None else terms.masked_fill(~mask, 0.0)
