import math

import numpy as np
import pytest

from jomed.evaluation.fusion import (
    HeadList,
    fuse,
    joint_weights,
    merge_candidates,
    relative_scores,
)


def _lists(image: tuple[float, ...], text: tuple[float, ...]) -> dict[str, HeadList]:
    return {"image": HeadList(("a", "b"), image), "text": HeadList(("c", "a"), text)}


def test_relative_scores_divide_by_the_maximum() -> None:
    np.testing.assert_allclose(relative_scores([0.8, 0.4, -0.2]), [1.0, 0.5, -0.25])


@pytest.mark.parametrize(
    ("scores", "expected"),
    [((-0.2, -0.4), (1.0, 0.0)), ((0.0, -0.4), (1.0, 0.6)), ((0.0, 0.0), (1.0, 1.0))],
)
def test_a_maximum_that_is_not_positive_keeps_the_order(
    scores: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    np.testing.assert_allclose(relative_scores(scores), expected)


def test_joint_weights_are_one_softmax_over_both_lists() -> None:
    weights = joint_weights(_lists((0.8, 0.4), (0.5, 0.25)), tau_f=0.5)
    top, low = math.exp(2.0), math.exp(1.0)
    total = 2 * top + 2 * low
    np.testing.assert_allclose(weights["image"], [top / total, low / total])
    np.testing.assert_allclose(weights["text"], [top / total, low / total])


def test_released_weights_are_almost_uniform() -> None:
    weights = joint_weights(_lists((0.8, 0.792), (0.5, 0.485)), tau_f=1.0, fusion="released_logits")
    expected = np.exp([1.0, 0.99, 1.0, 0.97])
    joined = np.concatenate([weights["image"], weights["text"]])
    np.testing.assert_allclose(joined, expected / expected.sum())


def test_single_head_is_divided_too_but_raw_as_released() -> None:
    found = {"image": HeadList(("a", "b"), (0.5, 0.3))}
    ratio = joint_weights(found, 1.0)["image"]
    assert ratio[0] / ratio[1] == pytest.approx(math.exp(1.0 - 0.6))
    raw = joint_weights(found, 1.0, "released_logits")["image"]
    assert raw[0] / raw[1] == pytest.approx(math.exp(0.5 - 0.3))


def test_a_record_of_both_heads_is_one_candidate_with_both_weights() -> None:
    found = {"image": HeadList(("a", "b"), (0.8, 0.4)), "text": HeadList(("b", "c"), (0.9, 0.45))}
    a, b, c = merge_candidates(found, tau_f=1.0)
    top, low = math.exp(1.0), math.exp(0.5)
    total = 2 * (top + low)
    assert (a.record_id, a.head, a.rank, a.retriever_score) == ("a", "image", 1, 0.8)
    assert (b.record_id, b.head, b.rank, b.retriever_score) == ("b", "image+text", 1, 0.9)
    assert (c.record_id, c.head, c.rank) == ("c", "text", 2)
    assert a.weight == pytest.approx(top / total)
    assert b.weight == pytest.approx((low + top) / total)
    assert a.weight + b.weight + c.weight == pytest.approx(1.0)


def test_equation_3_by_hand() -> None:
    likelihoods = np.log([[0.2, 0.1, 0.1], [0.05, 0.4, 0.05]])
    fused = fuse(likelihoods, [0.75, 0.25])
    expected = [0.75 * 0.5 + 0.25 * 0.1, 0.75 * 0.25 + 0.25 * 0.8, 0.75 * 0.25 + 0.25 * 0.1]
    np.testing.assert_allclose(fused, expected)


def test_released_logits_average_logs_and_can_disagree_with_equation_3() -> None:
    likelihoods = np.log([[0.9, 0.1], [0.9, 0.1], [0.0001, 0.9999]])
    weights = [1 / 3, 1 / 3, 1 / 3]
    probability = fuse(likelihoods, weights)
    released = fuse(likelihoods, weights, "released_logits")
    assert probability[0] == pytest.approx((0.9 + 0.9 + 0.0001) / 3)
    geometric = (0.9 * 0.9 * 0.0001) ** (1 / 3), (0.1 * 0.1 * 0.9999) ** (1 / 3)
    assert released[0] == pytest.approx(geometric[0] / sum(geometric))
    assert probability.argmax() == 0
    assert released.argmax() == 1


def test_fusion_ignores_constants_added_to_a_candidate() -> None:
    rng = np.random.default_rng(0)
    likelihoods = rng.normal(size=(3, 4))
    shift = np.array([[5.0], [-40.0], [300.0]])
    for mode in ("probability", "released_logits"):
        np.testing.assert_allclose(
            fuse(likelihoods, [0.5, 0.3, 0.2], mode),
            fuse(likelihoods + shift, [0.5, 0.3, 0.2], mode),
        )


def test_broken_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="2 records, 1 scores"):
        HeadList(("a", "b"), (1.0,))
    with pytest.raises(ValueError, match="same record twice"):
        HeadList(("a", "a"), (1.0, 0.5))
    with pytest.raises(ValueError, match="finite"):
        HeadList(("a",), (math.nan,))
    with pytest.raises(ValueError, match="tau_f"):
        joint_weights({"image": HeadList(("a",), (1.0,))}, 0.0)
    with pytest.raises(ValueError, match="nothing to fuse"):
        joint_weights({}, 1.0)
    with pytest.raises(ValueError, match="sum to 1"):
        fuse([[0.0, 0.0]], [0.5])
    with pytest.raises(ValueError, match="not finite"):
        fuse([[0.0, math.nan]], [1.0])
    with pytest.raises(ValueError, match="shape"):
        fuse([[0.0, 0.0]], [0.5, 0.5])
    with pytest.raises(ValueError, match="fusion 'mean'"):
        fuse([[0.0, 0.0]], [1.0], "mean")  # type: ignore[arg-type]
