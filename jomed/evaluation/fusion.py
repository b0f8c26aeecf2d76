"""Fusing the answers of several retrieved records into one (Eq. 3 and Section 5 of the method).

The candidates of all heads form one list. Every candidate k has a weight p_R(z_k | x); the reader's
log-likelihoods of the answers in C under each candidate give p^C(a | z_k, x, q).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

Fusion = Literal["probability", "released_logits"]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeadList:
    """What one head found for one query: record ids, best first, and their raw scores."""

    record_ids: tuple[str, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.record_ids or len(self.record_ids) != len(self.scores):
            raise ValueError(
                f"a head list needs as many scores as records, at least one: "
                f"{len(self.record_ids)} records, {len(self.scores)} scores"
            )
        if len(set(self.record_ids)) != len(self.record_ids):
            raise ValueError(f"a head found the same record twice: {self.record_ids}")
        if not np.isfinite(self.scores).all():
            raise ValueError(f"retriever scores must be finite: {self.scores}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One record of the joint list.

    ``head`` names all heads that found it ("image+text"); ``rank`` (from 1) and
    ``retriever_score`` are those of the head that ranks it best; ``weight`` is p_R(z_k | x).
    """

    record_id: str
    head: str
    rank: int
    retriever_score: float
    weight: float


def check_fusion(fusion: str) -> None:
    """Raise ValueError unless ``fusion`` names a way of fusing."""
    if fusion not in get_args(Fusion):
        raise ValueError(f"fusion {fusion!r} is not one of {', '.join(get_args(Fusion))}")


def relative_scores(scores: ArrayLike) -> FloatArray:
    """Scores of one head divided by the head's maximum, so that its best record has 1.

    Written as ``1 + (s - max) / |max|``, which equals ``s / max`` for a positive maximum and keeps
    the order for a negative one, where plain division would turn the list upside down. A maximum
    of zero sets no scale: the differences are then used as they are, ``1 + (s - max)``.
    """
    values = np.asarray(scores, dtype=np.float64)
    best = float(values.max())
    with np.errstate(over="ignore"):
        return 1.0 + (values - best) / (abs(best) if best != 0.0 else 1.0)


def joint_weights(
    found: Mapping[str, HeadList], tau_f: float, fusion: Fusion = "probability"
) -> dict[str, FloatArray]:
    """p_R of every entry of every head list: one softmax over all lists, summing to 1.

    Scores are divided by their head's maximum and by the temperature ``tau_f``. With
    ``released_logits`` a single head's raw scores are used undivided, as the released code does.
    """
    check_fusion(fusion)
    if not found:
        raise ValueError("there is nothing to fuse: no head list was given")
    if not tau_f > 0:
        raise ValueError(f"the fusion temperature tau_f must be positive, not {tau_f}")
    raw = fusion == "released_logits" and len(found) == 1
    lists = [
        np.asarray(head.scores, dtype=np.float64) if raw else relative_scores(head.scores)
        for head in found.values()
    ]
    weights = softmax(np.concatenate(lists) / tau_f)
    ends = np.cumsum([len(values) for values in lists])[:-1]
    return dict(zip(found, np.split(weights, ends), strict=True))


def merge_candidates(
    found: Mapping[str, HeadList], tau_f: float, fusion: Fusion = "probability"
) -> list[Candidate]:
    """One list of distinct records, in the order in which the heads list them.

    A record found by several heads is one candidate with the sum of its weights (Section 5).
    """
    weights = joint_weights(found, tau_f, fusion)
    merged: dict[str, Candidate] = {}
    for head, listed in found.items():
        entries = zip(listed.record_ids, listed.scores, weights[head].tolist(), strict=True)
        for rank, (record_id, score, weight) in enumerate(entries, start=1):
            new = Candidate(record_id, head, rank, float(score), weight)
            old = merged.get(record_id)
            merged[record_id] = new if old is None else _joined(old, new)
    return list(merged.values())


def _joined(old: Candidate, new: Candidate) -> Candidate:
    best = new if new.rank < old.rank else old
    return Candidate(
        record_id=old.record_id,
        head=f"{old.head}+{new.head}",
        rank=best.rank,
        retriever_score=best.retriever_score,
        weight=old.weight + new.weight,
    )


def fuse(
    log_likelihoods: ArrayLike, weights: Sequence[float], fusion: Fusion = "probability"
) -> FloatArray:
    """Fused distribution over the answers, shape (C,).

    ``log_likelihoods`` (K, C): log p(c | z_k, x, q); ``weights`` (K,): p_R, summing to 1.
    ``probability`` is Eq. 3: sum_k p_R(z_k) p^C(c | z_k). ``released_logits`` averages log scores
    instead: softmax(sum_k p_R(z_k) l_kc), which picks the answer of the released logit average
    for one-token answers (a candidate's log partition does not depend on c).
    Log-likelihoods that are not finite, or weights that do not sum to 1, are a ValueError.
    """
    check_fusion(fusion)
    scores = np.asarray(log_likelihoods, dtype=np.float64)
    prior = np.asarray(weights, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[0] != prior.size or 0 in scores.shape:
        raise ValueError(f"expected ({prior.size}, answers) scores, got shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("a log-likelihood is not finite: the reader's scores are broken")
    if (prior < 0).any() or not np.isclose(prior.sum(), 1.0):
        raise ValueError(f"candidate weights must be >= 0 and sum to 1, not {prior.tolist()}")
    if fusion == "probability":
        return np.asarray(prior @ softmax(scores, axis=1))
    return np.asarray(softmax(prior @ scores))
