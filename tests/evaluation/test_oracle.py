import pandas as pd
from prediction_frames import predictions_frame, samples_frame

from jomed.evaluation.metrics import single_label
from jomed.evaluation.oracle import oracle_rows

GOLD = {"s1": "0", "s2": "1", "s3": "1", "s4": "0"}
SAMPLES = samples_frame(GOLD)
KINDS = dict.fromkeys(GOLD, "label")
SAID = {"s1": ("10", "1"), "s2": ("00", "0"), "s3": ("11", "1"), "s4": ("11", "0")}


def test_right_if_any_candidate_is_right_else_the_fused_prediction() -> None:
    rows = predictions_frame("rag", SAMPLES, SAID)
    oracle = oracle_rows(rows, GOLD, KINDS).set_index("sample_id")
    assert set(oracle["method"]) == {"rag+oracle"}
    assert set(oracle["head"]) == {"fused"}
    # s4: no candidate is right, but the fused prediction is
    assert oracle["answer"].to_dict() == {"s1": "0", "s2": "0", "s3": "1", "s4": "0"}
    assert oracle["correct"].to_dict() == {"s1": True, "s2": False, "s3": True, "s4": True}


def test_oracle_metrics_by_hand() -> None:
    oracle = oracle_rows(predictions_frame("rag", SAMPLES, SAID), GOLD, KINDS)
    gold = [GOLD[s] for s in oracle["sample_id"]]
    measures = single_label(gold, oracle["answer"].tolist(), ["0", "1"]).measures
    # class 0: tp 2, fp 1, fn 0 -> .8; class 1: tp 1, fn 1 -> 2/3
    assert measures["accuracy"].value == 0.75
    assert abs(measures["macro_f1"].value - (0.8 + 2 / 3) / 2) < 1e-12


def test_open_oracle_takes_the_answer_with_the_highest_recall() -> None:
    gold = {"q1": "left lower lobe", "q2": "heart"}
    samples = samples_frame(gold, "open")
    said = {
        "q1": (("lobe", "left lobe", "lung"), "lung"),
        "q2": (("Heart.", "lung"), "lung"),
    }
    rows = predictions_frame("rag", samples, said)
    oracle = oracle_rows(rows, gold, dict.fromkeys(gold, "open")).set_index("sample_id")
    assert oracle["answer"].to_dict() == {"q1": "left lobe", "q2": "heart"}
    assert oracle["correct"].to_dict() == {"q1": False, "q2": True}


def test_methods_with_one_candidate_have_no_oracle() -> None:
    rows = predictions_frame("closed_book", SAMPLES, {s: ("0", "0") for s in GOLD})
    assert oracle_rows(rows, GOLD, KINDS).empty
    both = pd.concat([rows, predictions_frame("rag", SAMPLES, SAID)])
    assert set(oracle_rows(both, GOLD, KINDS)["method"]) == {"rag+oracle"}
