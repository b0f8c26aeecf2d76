import pandas as pd
import pytest
from reading_cases import make_config, sample_frame

from jomed.reading.answers import (
    AnswersError,
    AnswerSet,
    answer_sets,
    asks_yes_no,
    drawn_distractors,
    normalise_answer,
    pool_answer_set,
    spoken_answer,
)


def vqa_row(name: str, kind: str, question: str, answer: str, **rest: str) -> dict[str, str]:
    base = {"sample_id": name, "question_type": "t", "answer_type": kind, "question": question}
    return {**base, "answer": answer, **rest}


VQA = sample_frame(
    vqa_row("yes", "closed", "is it big?", "Yes"),
    vqa_row("left", "closed", "is it left or right?", "left"),
    vqa_row("right", "closed", "on which side?", "Right."),
    vqa_row("odd", "closed", "is it the plane?", "Axial"),
    vqa_row("o1", "open", "what?", "the lung"),
    vqa_row("o2", "open", "what?", "Lung"),
    vqa_row("o3", "open", "what?", "heart"),
    vqa_row("o4", "open", "where?", "in the apex", question_type="u"),
    vqa_row("v-yes", "closed", "is it big?", "axial", split="val"),
    vqa_row("v-open", "open", "what?", "liver", split="val"),
    vqa_row("t-yes", "closed", "does it show?", "no", split="test"),
    vqa_row("t-side", "closed", "which side?", "unseen", split="test"),
    vqa_row("t-new", "closed", "which plane?", "unseen", split="test", question_type="new"),
    vqa_row("t-open", "open", "what?", "spleen", split="test"),
)


def vqa_sets(distractors: int = 2, seed: int = 0) -> dict[str, AnswerSet]:
    return closed_by_draw(VQA, distractors, seed)


def closed_by_draw(samples: pd.DataFrame, count: int, seed: int = 0) -> dict[str, AnswerSet]:
    benchmark = make_config(benchmark="vqa_rad").benchmark
    return answer_sets(samples, benchmark, drawn_distractors(samples, benchmark, count, seed))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("  The Left  lung. ", "left lung"),
        ("T2-weighted", "t2 weighted"),
        ("3, 7", "3 7"),
        ("A", "a"),
        ("ﬁbrosis", "fibrosis"),
        ("", ""),
    ],
)
def test_normalised_answers(answer: str, expected: str) -> None:
    assert normalise_answer(answer) == expected


def test_labels_are_said_verbatim_and_other_answers_in_lower_case() -> None:
    assert spoken_answer("Yes", make_config(benchmark="breast").benchmark) == "Yes"
    assert spoken_answer(" Right  lung. ", make_config(benchmark="vqa_rad").benchmark) == (
        "right lung"
    )


def test_sets_refuse_repeats_and_find_answers_that_read_alike() -> None:
    with pytest.raises(AnswersError):
        AnswerSet(("a", "a"))
    with pytest.raises(AnswersError):
        AnswerSet(())
    answers = AnswerSet(("no", "yes", "Both"))
    assert [answers.index(text) for text in ("yes", "both", "No.")] == [1, 2, 0]
    assert "maybe" not in answers
    with pytest.raises(AnswersError, match="maybe"):
        answers.index("maybe")
    assert AnswerSet(("a", "b")).key != AnswerSet(("b", "a")).key


def test_a_single_label_task_has_the_label_strings() -> None:
    config = make_config()
    samples = sample_frame({"sample_id": "s", "answer": "1", "split": "test"})
    sets = answer_sets(samples, config.benchmark)
    assert sets == {"s": AnswerSet(config.benchmark.answers)}


def test_a_multi_label_task_has_the_distinct_training_answers() -> None:
    config = make_config(benchmark="vindr_pcxr")
    rows = [("a", "train", "3, 7"), ("b", "train", "0"), ("c", "train", "0"), ("d", "test", "9")]
    samples = sample_frame(
        *({"sample_id": name, "split": split, "answer": answer} for name, split, answer in rows)
    )
    sets = answer_sets(samples, config.benchmark)
    assert sets["d"] == AnswerSet(("0", "3, 7"))
    with pytest.raises(AnswersError, match="training"):
        answer_sets(samples[3:], config.benchmark)


@pytest.mark.parametrize(
    ("question", "expected"),
    [("Is it big?", True), ("is it left or right?", False), ("Which side?", False), ("", False)],
)
def test_yes_no_questions_are_known_by_their_words(question: str, expected: bool) -> None:
    assert asks_yes_no(question) is expected


def test_closed_questions_get_yes_no_or_the_answers_of_their_type() -> None:
    sets = vqa_sets()
    others = AnswerSet(("axial", "left", "right", "yes"))
    assert sets["yes"] == sets["v-yes"] == sets["t-yes"] == AnswerSet(("no", "yes"))
    assert sets["left"] == sets["right"] == sets["odd"] == sets["t-side"] == others
    assert sets["t-new"] == others


def test_every_gold_answer_of_training_is_in_its_set() -> None:
    sets, benchmark = vqa_sets(), make_config(benchmark="vqa_rad").benchmark
    for row in VQA[VQA["split"] == "train"].itertuples():
        assert sets[str(row.sample_id)].index(spoken_answer(str(row.answer), benchmark)) >= 0


def test_open_questions_are_closed_by_distractors_that_differ_from_the_gold_answer() -> None:
    sets = vqa_sets()
    # Of its own type only "heart" is no paraphrase of "lung"; the rest comes from other types.
    assert set(sets["o2"].answers) == {"heart", "in the apex", "lung"}
    assert set(sets["v-open"].answers) == {"heart", "liver", "lung"}
    assert "t-open" not in sets
    assert vqa_sets() == sets


def test_distractors_depend_on_seed_and_sample_alone() -> None:
    rows = [vqa_row(f"s{i}", "open", "what?", f"answer {i}") for i in range(30)]
    draw = [closed_by_draw(frame, 3) for frame in (sample_frame(*rows), sample_frame(*rows[::-1]))]
    other = closed_by_draw(sample_frame(*rows), 3, seed=1)
    assert draw[0] == draw[1]
    assert all(len(answers) == 4 for answers in other.values())
    assert sum(draw[0][name] != other[name] for name in other) > 20


def test_the_distractors_of_a_sample_stay_what_they_were() -> None:
    """Every score table and head made so far belongs to these draws."""
    rows = [vqa_row(f"s{i}", "open", "what?", f"answer {i}") for i in range(9)]
    sets = closed_by_draw(sample_frame(*rows), 3)
    assert sets["s0"].answers == ("answer 0", "answer 1", "answer 5", "answer 7")
    assert sets["s7"].answers == ("answer 0", "answer 3", "answer 4", "answer 7")


def test_the_gold_answer_of_a_test_sample_is_never_read() -> None:
    hidden = VQA.assign(answer=VQA["answer"].where(VQA["split"] != "test", "no answer"))
    assert closed_by_draw(hidden, 2) == vqa_sets()


def test_an_open_question_without_any_other_answer_is_refused() -> None:
    with pytest.raises(AnswersError, match="the lung"):
        closed_by_draw(VQA[4:6], 3)


def test_wrong_options_from_elsewhere_close_the_questions_that_have_some() -> None:
    benchmark = make_config(benchmark="vqa_rad").benchmark
    sets = answer_sets(VQA, benchmark, {"o1": ["Heart.", "Left  kidney"], "t-open": ["a", "b"]})
    assert sets["o1"] == AnswerSet(("heart", "left kidney", "the lung"))
    assert not {"o2", "t-open", "v-open"} & set(sets)
    assert {name: sets[name] for name in sets if name != "o1"} == answer_sets(VQA, benchmark)


def test_a_pool_holds_each_generation_once() -> None:
    assert pool_answer_set([" Lung", "the lung", "", "heart"]) == AnswerSet(("Lung", "heart"))
    assert pool_answer_set(["", " "]) == AnswerSet(("",))
