"""The questions of the phantom's VQA benchmarks, in the manner of VQA-RAD."""

import numpy as np

from jomed.phantom.lexicon import Anatomy, Finding
from jomed.phantom.wording import ABNORMALITY, PRESENCE, pick

PLANE = ("how was this image acquired?", "which projection is this?")
CHOICE = ("is the diagnosis {options}?", "is this {options}?")
CHOICES = 4
TYPICAL = (0.03, 0.45, 0.95, 0.98)
"""Cumulative shares of questions on presence, a choice, the finding and the plane; the rest ask for
the organ. Presence, which tiny readers hardly learn to answer, has the smallest share."""

YES_NO = (0.45, 0.45, 0.95, 0.98)
"""The same for a set whose closed questions are all answered by yes or no."""
ORGAN = ("is this an image of the {name}?",)


def ask(
    anatomy: Anatomy,
    findings: tuple[Finding, ...],
    style: int,
    rng: np.random.Generator,
    shares: tuple[float, float, float, float] = TYPICAL,
) -> tuple[str, str, str, str]:
    """One question about an image: (question, answer, answer type, question type).

    Nearly all questions need the finding. What a presence question names is there half of the time.
    """
    draw, (presence, choice, finding, plane) = rng.random(), shares
    if draw < presence:
        others = tuple(other for other in anatomy.findings if other not in findings)
        present = rng.random() < 0.5
        pool = findings if present else others
        asked = pool[int(rng.integers(len(pool)))]
        question = pick(PRESENCE, rng).format(name=asked.names[0])
        return question, "Yes" if present else "No", "CLOSED", "PRES"
    if draw < choice:
        question, answer = _choice(anatomy, findings, rng)
        return question, answer, "CLOSED", "ABN"
    if draw < finding:
        answer = " and ".join(own.names[0] for own in findings)
        return pick(ABNORMALITY, rng), answer, "OPEN", "ABN"
    if draw < plane:
        return pick(PLANE, rng), anatomy.styles[style], "OPEN", "PLANE"
    named = anatomy.name if rng.random() < 0.5 else "abdomen"
    question = pick(ORGAN, rng).format(name=named)
    return question, "Yes" if named == anatomy.name else "No", "CLOSED", "ORGAN"


def _choice(
    anatomy: Anatomy, findings: tuple[Finding, ...], rng: np.random.Generator
) -> tuple[str, str]:
    """A question that offers an own finding and three others, and the name of the own one."""
    others = [finding.names[0] for finding in anatomy.findings if finding not in findings]
    own = findings[int(rng.integers(len(findings)))].names[0]
    wrong = rng.choice(others, size=CHOICES - 1, replace=False)
    *first, last = rng.permutation([own, *wrong])
    return pick(CHOICE, rng).format(options=f"{', '.join(first)} or {last}"), own
