"""Texts say what they are recorded to say, and every reading task is answered by its text."""

import re
from collections import Counter

import numpy as np
import pytest

from jomed.phantom.lexicon import ANATOMIES, CHEST, FUNDUS, SILENT, Anatomy, Finding
from jomed.phantom.wording import (
    BODY,
    LABEL,
    NOT_STATED,
    STYLE,
    WHICH,
    Description,
    Shares,
    describe,
    pick,
    reading_task,
    sight_tasks,
)

DRAWS = 400


def written(
    anatomy: Anatomy, findings: tuple[Finding, ...], shares: Shares, seed: int = 0
) -> list[Description]:
    rng = np.random.default_rng(seed)
    return [describe(anatomy, findings, 1, shares, rng) for _ in range(DRAWS)]


def names(findings: tuple[Finding, ...]) -> set[str]:
    return {name for finding in findings for name in finding.names}


def test_pick_takes_every_option_about_equally_often() -> None:
    rng = np.random.default_rng(0)
    counts = Counter(pick(("a", "b"), rng) for _ in range(DRAWS))
    assert 0.4 < counts["a"] / DRAWS < 0.6
    assert counts["a"] + counts["b"] == DRAWS


@pytest.mark.parametrize("anatomy", ANATOMIES, ids=lambda anatomy: anatomy.name)
def test_a_text_always_says_the_look_and_the_age(anatomy: Anatomy) -> None:
    for said in written(anatomy, (anatomy.findings[0],), Shares(0.5, 0.5)):
        opening = said.text.split(".")[0]
        assert opening.startswith(anatomy.styles[1])
        assert any(word in opening for word in anatomy.modality)
        age = re.search(r" aged (\d+)", opening)
        assert age is not None
        assert 18 <= int(age.group(1)) < 90


def test_a_text_that_always_names_its_findings() -> None:
    findings = (CHEST.findings[1], CHEST.findings[3])
    texts = written(CHEST, findings, Shares(1.0, 0.0))
    for said in texts:
        assert said.named
        assert said.denied is None
        for finding in findings:
            assert any(name in said.text for name in finding.names)
        assert not any(sentence in said.text for sentence in SILENT)
    assert len({said.text for said in texts}) > 0.9 * DRAWS


def test_a_silent_text_names_no_finding() -> None:
    for said in written(FUNDUS, (FUNDUS.findings[2],), Shares(0.0, 0.0)):
        assert not said.named
        assert not any(name in said.text for name in names(FUNDUS.findings))
        assert any(sentence in said.text for sentence in SILENT)


def test_a_denied_finding_is_another_one_and_never_the_healthy_case() -> None:
    own = FUNDUS.findings[2]
    for said in written(FUNDUS, (own,), Shares(0.0, 1.0)):
        assert said.denied is not None
        assert said.denied not in (own, FUNDUS.healthy)
        assert any(name in said.text for name in said.denied.names)


def test_shares_are_kept() -> None:
    texts = written(FUNDUS, (FUNDUS.findings[2],), Shares(0.3, 0.1))
    # Three standard deviations of a share of 400: 0.07 and 0.045.
    assert np.mean([said.named for said in texts]) == pytest.approx(0.3, abs=0.07)
    assert np.mean([said.denied is not None for said in texts]) == pytest.approx(0.1, abs=0.045)


@pytest.mark.parametrize("named", [True, False])
def test_every_answer_stands_in_the_text(named: bool) -> None:
    findings = (CHEST.findings[1], CHEST.findings[4])
    kinds = Counter[str]()
    rng = np.random.default_rng(1)
    for said in written(CHEST, findings, Shares(float(named), 0.5)):
        question, answer = reading_task(CHEST, findings, 1, said, rng)
        if question in WHICH:
            kinds["which"] += 1
            canonical = " and ".join(finding.names[0] for finding in findings)
            assert answer == (canonical if named else NOT_STATED)
        elif question in LABEL:
            kinds["label"] += 1
            assert answer == ("1, 13" if named else NOT_STATED)
        elif question in STYLE:
            kinds["style"] += 1
            assert answer == CHEST.styles[1]
            assert answer in said.text
        elif question in BODY:
            kinds["body"] += 1
            assert answer == "chest"
        else:
            kinds["whether"] += 1
            own = any(name in question for name in names(findings))
            if answer == "yes":
                assert named
                assert own
    assert set(kinds) == {"which", "label", "whether", "style", "body"}


def test_yes_needs_a_finding_that_is_named_and_own() -> None:
    own = (FUNDUS.findings[3],)
    rng = np.random.default_rng(2)
    answers = Counter[tuple[bool, str]]()
    for said in written(FUNDUS, own, Shares(1.0, 0.5)):
        question, answer = reading_task(FUNDUS, own, 1, said, rng)
        if answer in ("yes", "no"):
            answers[(any(name in question for name in own[0].names), answer)] += 1
    assert set(answers) == {(True, "yes"), (False, "no")}
    assert 0.3 < answers[(True, "yes")] / answers.total() < 0.8


def test_what_is_denied_is_not_reported() -> None:
    own = (FUNDUS.findings[3],)
    said = Description("text", True, FUNDUS.findings[1])
    rng = np.random.default_rng(3)
    asked = [reading_task(FUNDUS, own, 1, said, rng) for _ in range(DRAWS)]
    names = FUNDUS.findings[1].names
    denied = [a for q, a in asked if any(name in q for name in names)]
    assert len(denied) > 10
    assert set(denied) == {"no"}


@pytest.mark.parametrize("anatomy", ANATOMIES, ids=lambda anatomy: anatomy.name)
def test_what_a_general_reader_sees_is_the_look_and_never_the_finding(anatomy: Anatomy) -> None:
    for style, name in enumerate(anatomy.styles):
        tasks = sight_tasks(anatomy, style)
        assert [answer for _, answer in tasks] == [name, anatomy.name]
        assert all("last image" in question for question, _ in tasks)
