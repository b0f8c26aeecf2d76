"""Questions of the phantom's VQA benchmark and their answers."""

import re
from collections import Counter

import numpy as np
import pytest

from jomed.phantom.lexicon import CHEST
from jomed.phantom.questions import ABNORMALITY, CHOICES, PLANE, ask

DRAWS = 1000
OWN = (CHEST.findings[1], CHEST.findings[3])


@pytest.fixture(scope="module")
def asked() -> list[tuple[str, str, str, str]]:
    rng = np.random.default_rng(0)
    return [ask(CHEST, OWN, 2, rng) for _ in range(DRAWS)]


def test_shares_of_the_question_types(asked: list[tuple[str, str, str, str]]) -> None:
    shares = {key: n / DRAWS for key, n in Counter(row[2:] for row in asked).items()}
    assert shares == pytest.approx(
        {
            ("CLOSED", "PRES"): 0.03,
            ("CLOSED", "ABN"): 0.42,
            ("OPEN", "ABN"): 0.50,
            ("OPEN", "PLANE"): 0.03,
            ("CLOSED", "ORGAN"): 0.02,
        },
        abs=0.04,
    )


def test_yes_no_questions_are_closed_and_right_half_of_the_time(
    asked: list[tuple[str, str, str, str]],
) -> None:
    for kind in ("PRES", "ORGAN"):
        own = [row for row in asked if row[3] == kind]
        answers = Counter(answer for _, answer, *_ in own)
        assert set(answers) == {"Yes", "No"}
        assert answers["Yes"] / len(own) == pytest.approx(0.5, abs=0.2)
        assert {row[2] for row in own} == {"CLOSED"}


def test_a_presence_question_is_about_an_own_finding_only_if_the_answer_is_yes(
    asked: list[tuple[str, str, str, str]],
) -> None:
    own = {finding.names[0] for finding in OWN}
    others = {finding.names[0] for finding in CHEST.findings} - own
    for question, answer, _, kind in asked:
        if kind != "PRES":
            continue
        words = set(question.replace("?", "").split())
        assert bool(words & own) == (answer == "Yes") or "normal lungs" in question
        assert any(name in question for name in (own if answer == "Yes" else others))


def test_a_choice_offers_an_own_finding_and_three_others_in_any_order(
    asked: list[tuple[str, str, str, str]],
) -> None:
    own = {finding.names[0] for finding in OWN}
    others = {finding.names[0] for finding in CHEST.findings} - own
    places = Counter[int]()
    for question, answer, answer_type, kind in asked:
        if (answer_type, kind) != ("CLOSED", "ABN"):
            continue
        offered = re.split(", | or ", re.sub("^is (the diagnosis|this) ", "", question)[:-1])
        places[offered.index(answer)] += 1
        assert set(offered) & own == {answer}
        assert len(set(offered) & others) == CHOICES - 1
    shares = [places[place] / places.total() for place in range(CHOICES)]
    assert shares == pytest.approx([1 / CHOICES] * CHOICES, abs=0.1)


def test_open_questions_name_the_findings_or_the_look(
    asked: list[tuple[str, str, str, str]],
) -> None:
    for question, answer, answer_type, kind in asked:
        if kind == "ABN" and answer_type == "OPEN":
            assert question in ABNORMALITY
            assert answer == "bronchitis and tuberculosis"
        if kind == "PLANE":
            assert question in PLANE
            assert (answer, answer_type) == ("supine bedside", "OPEN")


def test_the_organ_is_the_right_one(asked: list[tuple[str, str, str, str]]) -> None:
    found = {(question, answer) for question, answer, _, kind in asked if kind == "ORGAN"}
    assert found == {
        ("is this an image of the chest?", "Yes"),
        ("is this an image of the abdomen?", "No"),
    }
