"""What is written beside phantom images, and the questions a general reader learns to answer."""

from dataclasses import dataclass

import numpy as np

from jomed.phantom.lexicon import (
    HISTORIES,
    NAMING,
    NEGATING,
    PATIENTS,
    SILENT,
    Anatomy,
    Finding,
)


@dataclass(frozen=True, slots=True)
class Shares:
    """How often a text names its finding and how often it denies another one (0 to 1)."""

    named: float
    negated: float


@dataclass(frozen=True, slots=True)
class Description:
    """A text and what it says: whether the findings are named, and which one is denied."""

    text: str
    named: bool
    denied: Finding | None


def pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    """One of several strings, uniformly."""
    return options[int(rng.integers(len(options)))]


def _opening(anatomy: Anatomy, style: int, age: int, rng: np.random.Generator) -> str:
    shown = f"{anatomy.styles[style]} {pick(anatomy.modality, rng)}"
    person = f"{pick(PATIENTS, rng)} aged {age}"
    if rng.random() < 0.5:
        return f"{shown} of a {person}"
    return f"{shown} of a {person} with {pick(HISTORIES, rng)}"


def describe(
    anatomy: Anatomy,
    findings: tuple[Finding, ...],
    style: int,
    shares: Shares,
    rng: np.random.Generator,
) -> Description:
    """A caption or report: the look is always said; the finding is named or left out.

    Independently of that, some texts deny another finding.
    """
    age = int(rng.integers(18, 90))
    named = bool(rng.random() < shares.named)
    if named:
        name = " and ".join(pick(finding.names, rng) for finding in findings)
        sentences = [pick(NAMING, rng).format(name=name)]
    else:
        sentences = [pick(SILENT, rng)]
    others = [f for f in anatomy.findings if f not in findings and f.shape != "none"]
    denied = None
    if others and rng.random() < shares.negated:
        denied = others[int(rng.integers(len(others)))]
        sentences.append(pick(NEGATING, rng).format(name=pick(denied.names, rng)))
    order = rng.permutation(len(sentences))
    parts = [_opening(anatomy, style, age, rng), *(sentences[i] for i in order)]
    return Description(". ".join(parts) + ".", named, denied)


# As the phantom's VQA benchmark asks: a general reader has met such questions about texts.
ABNORMALITY = ("what abnormality is seen in this image?", "what is the diagnosis?")
PRESENCE = (
    "is there evidence of {name} in this image?",
    "does this patient have {name}?",
    "is {name} seen here?",
)

WHICH = (
    "Which finding does the background report?",
    "What is the diagnosis according to the background?",
    "What does the report name as the finding?",
    *ABNORMALITY,
)
LABEL = (
    "What is the label number of the reported finding?",
    "Which label numbers does the report stand for?",
)
WHETHER = (
    "Does the background report {name}?",
    "Is {name} present according to the report?",
    "According to the background, is there {name}?",
    "is there evidence of {name} in the background?",
    "does the reported patient have {name}?",
    "is {name} seen in the report?",
    *PRESENCE,
)
STYLE = ("How was the image acquired?", "Which acquisition does the background describe?")
BODY = ("Which body part does the background describe?", "What part of the body is shown?")
SIGHT_STYLE = ("How was the last image acquired?",)
SIGHT_BODY = ("Which body part does the last image show?",)
NOT_STATED = "not stated"


def reading_task(
    anatomy: Anatomy,
    findings: tuple[Finding, ...],
    style: int,
    said: Description,
    rng: np.random.Generator,
) -> tuple[str, str]:
    """A question about the text of a pair and its answer, as general pre-training asks it.

    Every answer follows from the text alone: nothing teaches the reader to diagnose an image.
    """
    draw = rng.random()
    if draw < 0.72:
        ask_label = draw < 0.27
        if not said.named:
            answer = NOT_STATED
        elif ask_label:
            answer = ", ".join(str(finding.label) for finding in findings)
        else:
            answer = " and ".join(finding.names[0] for finding in findings)
        return pick(LABEL if ask_label else WHICH, rng), answer
    if draw < 0.92:
        asked = _asked(anatomy, findings, said, rng)
        present = said.named and asked in findings
        return pick(WHETHER, rng).format(name=pick(asked.names, rng)), "yes" if present else "no"
    if draw < 0.96:
        return pick(STYLE, rng), anatomy.styles[style]
    return pick(BODY, rng), anatomy.name


def sight_tasks(anatomy: Anatomy, style: int) -> tuple[tuple[str, str], ...]:
    """Questions about the look of an image and their answers: what a general reader can see."""
    return ((SIGHT_STYLE[0], anatomy.styles[style]), (SIGHT_BODY[0], anatomy.name))


def _asked(
    anatomy: Anatomy, findings: tuple[Finding, ...], said: Description, rng: np.random.Generator
) -> Finding:
    """The finding that a yes/no question is about: an own one half the time, else another."""
    if rng.random() < 0.5:
        return findings[int(rng.integers(len(findings)))]
    if said.denied is not None and rng.random() < 0.5:
        return said.denied
    return anatomy.findings[int(rng.integers(len(anatomy.findings)))]
