import pytest

from jomed.evaluation.text import (
    canonical_answer,
    closed_lenient,
    closed_llava_med,
    closed_strict,
    is_correct,
    normalise_llava_med,
    parse_label,
    parse_label_set,
    token_scores,
    token_scores_llava_med,
)


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ("The left lung.", "left lung"),
        ("None", "0"),
        ("X-ray", "x ray"),
        ("T1/T2", "t1 t2"),
        ("dont", "don't"),
        ("heart \tlungs", "heart lungs"),
        ("1,000 cells", "1000 cells"),
        ("3.5 cm", "3.5 cm"),
        ("5mm.", "5mm"),
        ("e.g. mass", "eg mass"),
        ("The answer is: yes", "answer is: yes"),
        ("a an the", ""),
        ("X- y-z", "x yz"),
        ("1,000 x-ray", "1000 xray"),
        ("ten of three", "10 of 3"),
        ("isnt its hes", "isn't its he's"),
    ],
)
def test_llava_med_normaliser(raw: str, normalised: str) -> None:
    assert normalise_llava_med(raw) == normalised
    assert normalise_llava_med(normalised) == normalised


@pytest.mark.parametrize(
    ("prediction", "gold", "strict", "lenient", "llava_med"),
    [
        ("Yes.", "yes", True, True, True),
        ("Yes, there is.", "yes", False, True, True),
        ("normal", "no", False, False, True),
        ("Yes, abnormal", "yes", False, True, True),
        ("lung", "lung", True, True, False),
        ("liver", "lung", False, False, False),
        ("the left lung", "lung", False, True, False),
        ("lungs", "lung", False, False, False),
        ("no, lung", "lung", False, True, True),
        ("", "", False, False, False),
        ("A", "a", True, True, False),
    ],
)
def test_closed_rules(
    prediction: str, gold: str, strict: bool, lenient: bool, llava_med: bool
) -> None:
    assert closed_strict(prediction, gold) is strict
    assert closed_lenient(prediction, gold) is lenient
    assert closed_llava_med(prediction, gold) is llava_med


@pytest.mark.parametrize(
    ("prediction", "gold", "f1", "precision", "recall", "recall_min"),
    [
        ("it is in the left lobe", "left lower lobe", 0.5, 0.4, 2 / 3, 2 / 3),
        ("lower left lobe of lung", "left lower lobe", 0.75, 0.6, 1.0, 1.0),
        ("left left left lobe", "left lower lobe", 8 / 9, 1.0, 0.8, 2 / 3),
        ("chest x-ray", "x-ray", 0.8, 2 / 3, 1.0, 1.0),
        ("xray", "x-ray", 0.0, 0.0, 0.0, 0.0),
        ("liver, heart, spleen", "Liver, Heart, Spleen, Lung", 6 / 7, 1.0, 0.75, 0.75),
        ("no", "none", 0.0, 0.0, 0.0, 0.0),
        ("", "lung", 0.0, 0.0, 0.0, 0.0),
    ],
)
def test_token_scores(
    prediction: str, gold: str, f1: float, precision: float, recall: float, recall_min: float
) -> None:
    scores = token_scores_llava_med(prediction, gold)
    assert scores.f1 == pytest.approx(f1)
    assert scores.precision == pytest.approx(precision)
    assert scores.recall == pytest.approx(recall)
    assert token_scores(prediction, gold).recall == pytest.approx(recall_min)


def test_squad_counts_a_repeated_word_as_often_as_both_have_it() -> None:
    scores = token_scores("left left lobe", "left lobe lung")
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("raw", "members"),
    [
        ("3, 7", {3, 7}),
        ("7,3", {3, 7}),
        ("3, 3.", {3}),
        ("", set()),
        ("pneumonia", None),
        ("Grade 3, 17", None),
        ("3 7", None),
    ],
)
def test_parse_label_set(raw: str, members: set[int] | None) -> None:
    assert parse_label_set(raw) == members


def test_parse_label() -> None:
    assert parse_label(" Yes. ") == "yes"
    assert parse_label(" . ") is None


@pytest.mark.parametrize(
    ("answer_type", "prediction", "gold", "right"),
    [
        ("label", "yes", "Yes", True),
        ("label", "10", "1", False),
        ("labels", "4, 1", "1, 4", True),
        ("labels", "1", "1, 4", False),
        ("labels", "pneumonia", "", False),
        ("labels", "", "", True),
        ("closed", "No.", "no", True),
        ("open", "The left lobe", "left lobe", True),
        ("open", "right lung", "left lung", False),
        ("open", "", "", False),
    ],
)
def test_is_correct(answer_type: str, prediction: str, gold: str, right: bool) -> None:
    assert is_correct(answer_type, prediction, gold) is right


def test_unknown_answer_type_is_refused() -> None:
    with pytest.raises(ValueError, match="answer type 'list'"):
        canonical_answer("list", "1")
