import numpy as np
import pytest
from sklearn.metrics import f1_score

from jomed.evaluation.metrics import Measure, combine, mean_measure, multi_label, single_label, vqa


def _resummed(measure: Measure) -> float:
    assert measure.parts is not None
    return float(combine(measure.parts.sum(axis=0), measure.empty))


def test_single_label_worked_example() -> None:
    result = single_label(["0", "1", "2", "3"], ["0", "2", "2", "garbage"], list("0123"))
    measures = result.measures
    assert measures["accuracy"].value == 0.5
    assert measures["macro_f1"].value == pytest.approx((1 + 0 + 2 / 3 + 0) / 4)
    assert measures["unparsed"].value == 1
    assert measures["macro_f1_cap"].value == 1.0
    assert "auc" not in measures


def test_single_label_keeps_absent_labels_in_the_average() -> None:
    result = single_label(["Yes", "Yes"], ["yes", "YES."], ["Yes", "No"])
    assert result.measures["accuracy"].value == 1.0
    assert result.measures["macro_f1"].value == 0.5
    assert result.measures["macro_f1_cap"].value == 0.5
    assert result.without_positives == ("No",)


def test_unparsed_never_becomes_class_zero() -> None:
    result = single_label(["0", "0", "1"], ["grade 0", "", "1"], ["0", "1"])
    assert result.measures["accuracy"].value == pytest.approx(1 / 3)
    assert result.measures["unparsed"].value == 2


def test_single_label_auc_is_the_mean_over_defined_labels() -> None:
    scores = [[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.5, 0.5, 0.0], [0.2, 0.8, 0.0]]
    result = single_label(list("0011"), list("0101"), list("012"), scores)
    # label 0: positives .9 .4 against .5 .2 -> 3 of 4 pairs; label 1 mirrors it; label 2 undefined
    assert result.measures["auc[0]"].value == 0.75
    assert result.measures["auc"].value == 0.75
    assert np.isnan(result.measures["auc[2]"].value)
    assert result.measures["auc_undefined_labels"].value == 1
    assert result.undefined_auc == ("2",)


def test_multi_label_worked_example() -> None:
    gold, predicted = ["0", "1, 2", "2", "0"], ["0", "1", "0, 2", ""]
    measures = multi_label(gold, predicted, list("abcd")).measures
    assert measures["macro_f1"].value == pytest.approx((0.5 + 1 + 2 / 3 + 0) / 4)
    assert measures["macro_f1"].value == pytest.approx(0.5417, abs=5e-5)
    assert measures["subset_accuracy"].value == 0.25
    assert measures["label_accuracy"].value == 0.8125
    assert measures["label_accuracy[a]"].value == 0.5
    assert measures["label_accuracy[d]"].value == 1.0
    assert measures["macro_f1_cap"].value == 0.75
    assert measures["labels_without_positives"].value == 1
    assert measures["unparsed"].value == 0


def test_macro_f1_cap_of_vindr_pcxr() -> None:
    labels = [f"finding {i}" for i in range(15)]
    gold = [str(i) for i in range(11)]
    result = multi_label(gold, gold, labels)
    assert result.measures["macro_f1"].value == pytest.approx(11 / 15)
    assert result.measures["macro_f1_cap"].value == pytest.approx(11 / 15)
    assert result.without_positives == tuple(labels[11:])


def test_multi_label_unparsed_is_wrong_and_predicts_nothing() -> None:
    measures = multi_label(["", "0"], ["pneumonia", "0, 9"], ["a", "b"]).measures
    assert measures["subset_accuracy"].value == 0.0
    assert measures["unparsed"].value == 2
    assert measures["label_accuracy"].value == 0.75  # only the missed label "a" of the second


def test_multi_label_auc_by_hand() -> None:
    scores = [[0.9, 0.2], [0.8, 0.7], [0.3, 0.1]]
    result = multi_label(["0", "1", "0"], ["0", "1", "0"], ["a", "b"], scores)
    assert result.measures["auc[a]"].value == 0.5
    assert result.measures["auc[b]"].value == 1.0
    assert result.measures["auc"].value == 0.75


def test_vqa_closed_and_open() -> None:
    gold = ["yes", "no", "lung", "left lower lobe", "none"]
    predicted = ["Yes, there is.", "normal", "lung", "left left left lobe", ""]
    kinds = ["closed", "closed", "closed", "open", "open"]
    measures = vqa(gold, predicted, kinds).measures
    assert measures["closed_em"].value == pytest.approx(1 / 3)
    assert measures["closed_lenient"].value == pytest.approx(2 / 3)
    assert measures["closed_llava_med"].value == pytest.approx(2 / 3)
    assert measures["open_recall"].value == pytest.approx((2 / 3) / 2)
    assert measures["open_recall_llava_med"].value == pytest.approx(0.8 / 2)
    assert measures["open_f1"].value == pytest.approx((4 / 7) / 2)
    assert measures["open_answer_words"].value == 2.0
    assert (measures["n_closed"].value, measures["n_open"].value) == (3, 2)
    assert (measures["closed_em"].n, measures["open_recall"].n) == (3, 2)
    assert measures["unparsed"].value == 1


def test_vqa_without_open_questions_has_no_open_number() -> None:
    measures = vqa(["yes"], ["yes"], ["closed"]).measures
    assert measures["closed_em"].value == 1.0
    assert np.isnan(measures["open_recall"].value)
    assert measures["open_recall"].n == 0


def test_parts_give_the_point_values_back() -> None:
    rng = np.random.default_rng(1)
    gold = [str(v) for v in rng.integers(0, 5, 60)]
    predicted = [str(v) for v in rng.integers(0, 7, 60)]
    for measure in single_label(gold, predicted, list("012345")).measures.values():
        if measure.parts is not None:
            assert _resummed(measure) == pytest.approx(measure.value)
    sets = [", ".join(str(i) for i in np.flatnonzero(row)) for row in rng.random((60, 4)) < 0.4]
    for measure in multi_label(sets, sets[::-1], list("abcd")).measures.values():
        if measure.parts is not None:
            assert _resummed(measure) == pytest.approx(measure.value)


def test_parts_of_weighted_samples_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    gold, predicted = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    drawn = rng.integers(0, 50, 50)
    measure = single_label([str(v) for v in gold], [str(v) for v in predicted], list("0123"))
    parts = measure.measures["macro_f1"].parts
    assert parts is not None
    expected = f1_score(gold[drawn], predicted[drawn], labels=range(4), average="macro")
    assert combine(parts[drawn].sum(axis=0), 0.0) == pytest.approx(expected)


def test_mean_measure_counts_only_the_chosen_samples() -> None:
    measure = mean_measure([1.0, 0.0, 5.0], np.array([True, True, False]))
    assert (measure.value, measure.n) == (0.5, 2)
    assert _resummed(measure) == 0.5


def test_empty_subset_is_undefined_not_zero() -> None:
    for result in (single_label([], [], ["0", "1"]), multi_label([], [], ["a", "b"])):
        assert np.isnan(result.measures["macro_f1"].value)
    assert np.isnan(single_label([], [], ["0", "1"]).measures["accuracy"].value)


def test_bad_gold_and_misaligned_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="'7' is not in"):
        single_label(["0", "7"], ["0", "0"], ["0", "1"])
    with pytest.raises(ValueError, match="'9' is not a list"):
        multi_label(["9"], ["0"], ["a", "b"])
    with pytest.raises(ValueError, match="do not line up"):
        vqa(["yes"], ["yes", "no"], ["closed"])
    with pytest.raises(ValueError, match="closed or open"):
        vqa(["yes"], ["yes"], ["label"])
    with pytest.raises(ValueError, match="two different labels"):
        single_label(["a"], ["a"], ["a", "A"])
    with pytest.raises(ValueError, match="shape"):
        multi_label(["0"], ["0"], ["a", "b"], [[0.1, 0.2, 0.3]])
