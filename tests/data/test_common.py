import pytest

from jomed.data.benchmarks.common import apportion, hold_out, limit, listed, read_flags
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


def test_apportion_gives_every_group_one_split_in_proportion() -> None:
    sizes = {"train": 70, "val": 10, "test": 20}
    groups = [f"g{place}" for place in range(100)]
    splits = apportion(groups, sizes, "brset")
    assert splits.keys() == set(groups)
    assert {name: [*splits.values()].count(name) for name in sizes} == sizes
    assert apportion([*reversed(groups), *groups], sizes, "brset") == splits
    assert apportion(groups, sizes, "other") != splits
    assert sorted(apportion(groups[:4], sizes, "x").values()) == ["test", "train", "train", "val"]
    assert apportion([], sizes, "x") == {}


@pytest.mark.parametrize(
    ("cells", "flags", "answer"),
    [(["0", " 1", "1.0"], [False, True, True], "1, 2"), (["0.0"], [False], "")],
)
def test_flags_and_their_places(cells: list[str], flags: list[bool], answer: str) -> None:
    assert read_flags(cells) == flags
    assert listed(flags) == answer


@pytest.mark.parametrize("cell", ["", "NA", "2", "-1.0", "yes"])
def test_what_is_no_flag(cell: str) -> None:
    assert read_flags(["1", cell]) is None


def test_limit_spreads_over_the_split() -> None:
    samples = [sample("train", place) for place in range(10)]
    samples += [sample("test", place) for place in range(3)]
    kept = limit(samples, SampleLimits(train=4, val=2, test=9))
    assert [item.sample_id for item in kept] == [
        *("train0", "train2", "train5", "train7"),
        *("test0", "test1", "test2"),
    ]
    assert limit(samples, SampleLimits(train=None, val=None, test=None)) == samples
