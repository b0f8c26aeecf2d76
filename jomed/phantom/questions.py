"""The questions of the phantom's VQA benchmark, in the manner of VQA-RAD."""

import numpy as np

from jomed.phantom.lexicon import Anatomy, Finding
from jomed.phantom.wording import pick

PRESENCE = (
    "is there evidence of {name} in this image?",
    "does this patient have {name}?",
    "is {name} seen here?",
)
ABNORMALITY = ("what abnormality is seen in this image?", "what is the diagnosis?")
PLANE = ("how was this image acquired?", "which projection is this?")
ORGAN = ("is this an image of the {name}?",)


def ask(
    anatomy: Anatomy, findings: tuple[Finding, ...], style: int, rng: np.random.Generator
) -> tuple[str, str, str, str]:
    """One question about an image: (question, answer, answer type, question type).

    Nine of ten questions need the finding; presence questions are right half of the time.
    """
    draw = rng.random()
    if draw < 0.45:
        others = tuple(finding for finding in anatomy.findings if finding not in findings)
        present = rng.random() < 0.5
        pool = findings if present else others
        asked = pool[int(rng.integers(len(pool)))]
        question = pick(PRESENCE, rng).format(name=asked.names[0])
        return question, "Yes" if present else "No", "CLOSED", "PRES"
    if draw < 0.9:
        answer = " and ".join(finding.names[0] for finding in findings)
        return pick(ABNORMALITY, rng), answer, "OPEN", "ABN"
    if draw < 0.95:
        return pick(PLANE, rng), anatomy.styles[style], "OPEN", "PLANE"
    named = anatomy.name if rng.random() < 0.5 else "abdomen"
    question = pick(ORGAN, rng).format(name=named)
    return question, "Yes" if named == anatomy.name else "No", "CLOSED", "ORGAN"
