import numpy as np
import pytest
import torch

from jomed.retrieval.head import QueryHead
from jomed.training.errors import TrainingError
from jomed.training.mining import Likelihoods, Queries, mine

RECORD_IDS = ["r0", "r1", "r2"]


def reader(table):
    asked = []

    def score(pairs):
        asked.append(list(pairs))
        return [np.log(np.array(table[pair], np.float32)) for pair in pairs]

    return score, asked


def test_likelihoods_are_hand_computed_and_each_pair_is_asked_once():
    table = {
        ("s", "r0"): [0.1, 0.3],  # p^C = 1/4, 3/4
        ("s", "r2"): [0.4, 0.1],  # 4/5, 1/5
        ("t", "r2"): [0.2, 0.2],
        ("s", "r1"): [0.3, 0.1],
    }
    score, asked = reader(table)
    likelihoods = Likelihoods(score, {"s": 1, "t": 0}, RECORD_IDS)
    found = likelihoods.candidates(["s", "t", "s"], np.array([[0, 2], [2, 2], [2, 0]]))
    np.testing.assert_allclose(
        np.exp(found.gold), [[0.75, 0.2], [0.5, 0.5], [0.2, 0.75]], rtol=1e-6
    )
    assert found.right.tolist() == [[True, False], [True, True], [False, True]]
    double = np.exp(0.75) / (np.exp(0.75) + np.exp(0.25))
    assert np.exp(found.squashed[0, 0]) == pytest.approx(double, rel=1e-6)
    assert asked == [[("s", "r0"), ("s", "r2"), ("t", "r2")]]
    likelihoods.candidates(["s"], np.array([[2, 1]]))
    likelihoods.candidates(["s"], np.array([[1, 0]]))
    assert asked[1:] == [[("s", "r1")]]
    assert found.take(np.array([2, 0])).rows.tolist() == [[2, 0], [0, 2]]


def random_reader(samples, records, answers=4):
    """Likelihoods of all pairs, drawn once, and the list of what was asked."""
    drawn = np.random.default_rng(0).random((samples, records, answers)) + 0.01
    asked = []

    def score(pairs):
        asked.extend(pairs)
        return [np.log(drawn[int(s[1:]), int(r[1:])]) for s, r in pairs]

    return drawn, score, asked


def test_likelihoods_keep_thirteen_bytes_a_pair_and_the_values_of_each():
    drawn, score, asked = random_reader(40, 200)
    names = [f"s{n}" for n in range(40)]
    likelihoods = Likelihoods(score, dict.fromkeys(names, 2), [f"r{n}" for n in range(200)])
    rng = np.random.default_rng(1)
    for _ in range(12):
        rows = np.stack([rng.permutation(200)[:30] for _ in names])
        found = likelihoods.candidates(names, rows)
        share = np.take_along_axis(drawn[..., 2] / drawn.sum(axis=2), rows, axis=1)
        np.testing.assert_allclose(np.exp(found.gold), share, rtol=1e-6)
        best = np.take_along_axis(drawn.argmax(axis=2) == 2, rows, axis=1)
        assert (found.right == best).all()
    assert len(asked) == len(set(asked)) > 40 * 150
    kept = sum(array.nbytes for array in likelihoods._known.values())
    assert kept == 13 * len(asked)


def test_beyond_the_limit_pairs_are_asked_again_and_memory_stays(monkeypatch):
    monkeypatch.setattr("jomed.training.mining._KEPT_PAIRS", 500)
    score = random_reader(10, 200)[1]
    names = [f"s{n}" for n in range(10)]
    records = [f"r{n}" for n in range(200)]
    short = Likelihoods(score, dict.fromkeys(names, 1), records)
    rng = np.random.default_rng(1)
    most = 0
    for _ in range(30):
        rows = np.stack([rng.permutation(200)[:20] for _ in names])
        plain = Likelihoods(score, dict.fromkeys(names, 1), records)
        left, right = short.candidates(names, rows), plain.candidates(names, rows)
        assert (left.gold == right.gold).all()
        most = max(most, sum(map(len, short._known.values())))
    assert 500 < most <= 500 + 200


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_reader_values_that_are_not_finite_name_the_pair(bad):
    likelihoods = Likelihoods(lambda pairs: [np.array([0.0, bad])] * len(pairs), {"s": 0}, ["r0"])
    with pytest.raises(TrainingError, match=r"'s' with record 'r0'"):
        likelihoods.candidates(["s"], np.array([[0]]))


def test_scorer_that_loses_pairs_is_stopped():
    likelihoods = Likelihoods(lambda pairs: [], {"s": 0}, ["r0"])
    with pytest.raises(TrainingError, match="0 results for 1 pairs"):
        likelihoods.candidates(["s"], np.array([[0]]))


def test_queries_leave_out_unreadable_images_and_keep_features_aligned(world):
    samples = world.samples.head(5).copy()
    samples.loc[2, "image"] = "absent.png"
    queries = Queries(samples, world.encoder, world.root, world.records, world.index)
    assert [item.item for item in queries.skipped] == [samples.loc[2, "sample_id"]]
    assert queries.ids == samples["sample_id"].drop(2).tolist()
    pixels = queries.pixels(np.array([3, 0]))
    expected = world.encoder.encode_pixels(pixels)
    np.testing.assert_allclose(queries.features[[3, 0]], expected, atol=1e-6)


def test_pixels_beyond_the_memory_limit_are_read_again(world, monkeypatch):
    plain = Queries(world.samples.head(6), world.encoder, world.root, world.records, world.index)
    monkeypatch.setattr("jomed.training.mining._CACHE_BYTES", 2 * 3 * 16 * 4)  # two images
    short = Queries(world.samples.head(6), world.encoder, world.root, world.records, world.index)
    assert len(short._cache) == 2
    order = np.array([5, 0, 3, 5, 1])
    assert torch.equal(short.pixels(order), plain.pixels(order))


def test_mined_candidates_are_the_nearest_records_without_self_matches(world):
    samples = world.samples.head(4).copy()
    queries = Queries(samples, world.encoder, world.root, world.records, world.index)
    head = QueryHead(world.encoder.image_tower, "image", 0.5)
    likelihoods = Likelihoods(world.score, world.gold, world.index.record_ids)
    everyone = np.arange(4)
    scores, found = mine(head, queries, everyone, world.index, likelihoods, 3, batch_size=2)
    products = queries.features @ world.index.vectors("image", np.arange(160)).T
    np.testing.assert_array_equal(found.rows, np.argsort(-products, axis=1)[:, :3])
    np.testing.assert_allclose(scores, -np.sort(-products, axis=1)[:, :3], atol=1e-5)

    first = found.rows[1, 0]
    records = world.records.copy()
    records.loc[first, "image_sha"] = samples.loc[1, "image_sha"]
    queries = Queries(samples, world.encoder, world.root, records, world.index)
    again = mine(head, queries, everyone, world.index, likelihoods, 3, batch_size=4)[1]
    assert again.rows[1, :2].tolist() == found.rows[1, 1:].tolist()
    assert again.rows[0].tolist() == found.rows[0].tolist()
