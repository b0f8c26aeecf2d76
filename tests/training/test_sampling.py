from collections import Counter

import numpy as np
import pytest

from jomed.training.sampling import SampleStream, shuffled_likelihoods

CLASSES = ["b"] * 10 + ["a"] * 3 + ["c"] * 6


def test_balanced_epoch_rotates_classes_and_is_cut_to_the_smallest():
    stream = SampleStream(19, seed=1, classes=CLASSES)
    assert stream.epoch_size == 9
    drawn = [CLASSES[position] for position in stream.epoch(0)]
    assert drawn == ["a", "b", "c"] * 3
    assert max(Counter(stream.epoch(0).tolist()).values()) == 1


def test_epochs_differ_and_reach_every_sample():
    stream = SampleStream(19, seed=1, classes=CLASSES)
    assert stream.epoch(0).tolist() != stream.epoch(1).tolist()
    seen = {int(position) for number in range(30) for position in stream.epoch(number)}
    assert seen == set(range(19))


def test_order_depends_on_seed_and_epoch_alone():
    one, other = SampleStream(19, 1, CLASSES), SampleStream(19, 1, CLASSES)
    np.random.seed(0)  # noqa: NPY002 - the global state an evaluation might disturb
    expected = [one.batch(step, 4).tolist() for step in range(8)]
    np.random.seed(5)  # noqa: NPY002
    assert [other.batch(step, 4).tolist() for step in reversed(range(8))] == expected[::-1]
    assert SampleStream(19, 2, CLASSES).batch(0, 9).tolist() != one.batch(0, 9).tolist()


def test_batches_run_on_across_epochs():
    stream = SampleStream(5, seed=3)
    joined = np.concatenate([stream.batch(step, 4) for step in range(5)])
    epochs = np.concatenate([stream.epoch(number) for number in range(4)])
    assert joined.tolist() == epochs.tolist()
    assert sorted(stream.epoch(2).tolist()) == [0, 1, 2, 3, 4]


def test_bad_streams_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        SampleStream(0, 1)
    with pytest.raises(ValueError, match="2 classes for 3"):
        SampleStream(3, 1, ["a", "b"])


def test_shuffled_likelihoods_permute_within_a_sample_by_sample_and_step():
    gold = np.arange(40, dtype=np.float32).reshape(2, 20)
    shuffled = shuffled_likelihoods(gold, ["s1", "s2"], seed=0, step=7)
    assert np.sort(shuffled, axis=1).tolist() == gold.tolist()
    assert (shuffled != gold).mean() > 0.7
    assert shuffled.dtype == np.float32
    again = shuffled_likelihoods(gold[1:], ["s2"], seed=0, step=7)
    assert again[0].tolist() == shuffled[1].tolist()
    for other in ({"seed": 1, "step": 7}, {"seed": 0, "step": 8}):
        assert shuffled_likelihoods(gold, ["s1", "s2"], **other).tolist() != shuffled.tolist()
