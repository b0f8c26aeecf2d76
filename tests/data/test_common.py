from jomed.data.benchmarks.common import hold_out, limit
from jomed.records import Sample
from jomed.settings import SampleLimits


def sample(split: str, place: int) -> Sample:
    key = f"{split}{place}"
    return Sample(key, "b", split, "i", "q", "a", "label", "", key, "", "")


def test_hold_out_is_a_share_of_the_groups_whatever_their_order() -> None:
    groups = [f"g{place}" for place in range(40)]
    held_out = hold_out(groups, 0.2, "retina")
    assert len(held_out) == 8
    assert hold_out([*reversed(groups), *groups], 0.2, "retina") == held_out
    assert hold_out(groups, 0.2, "other") != held_out
    assert hold_out(groups, 0.4, "retina") > held_out


def test_hold_out_takes_one_and_leaves_one() -> None:
    assert len(hold_out(["a", "b", "c"], 0.01, "x")) == 1
    assert len(hold_out(["a", "b", "c"], 0.99, "x")) == 2
    assert hold_out(["a"], 0.5, "x") == set()
    assert hold_out([], 0.5, "x") == set()


def test_limit_spreads_over_the_split() -> None:
    samples = [sample("train", place) for place in range(10)]
    samples += [sample("test", place) for place in range(3)]
    kept = limit(samples, SampleLimits(train=4, val=2, test=9))
    assert [item.sample_id for item in kept] == [
        *("train0", "train2", "train5", "train7"),
        *("test0", "test1", "test2"),
    ]
    assert limit(samples, SampleLimits(train=None, val=None, test=None)) == samples
