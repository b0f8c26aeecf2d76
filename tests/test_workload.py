"""Counts of reader passes, each worked out by hand."""

import pytest

from jomed.config import ConfigError, load_config
from jomed.workload import (
    SampleCounts,
    Spread,
    evaluation_passes,
    published_counts,
    stage1_passes,
    stage2_pairs,
    trained_heads,
    workload,
)

COUNTS = SampleCounts(train=8, val=3, test=10, open_test=3, answers=4.0, counted=False)
SMALL = {
    "stage1.max_steps": 10,
    "stage1.batch_size": 3,
    "stage1.gradient_accumulation": 2,
    "stage1.eval_every": 4,
    "stage2.steps": 5,
    "stage2.batch_size": 4,
    "stage2.candidates": 2,
    "stage2.eval_every": 2,
}
CONFIG = load_config("phantom", overrides=SMALL)
METHODS = CONFIG.evaluation.methods


def test_stage1_examples_with_repeats_and_its_validations() -> None:
    # 10 steps of 3 x 2; validations after steps 4 and 8, of 3 samples x 2 heads x 2 records
    assert stage1_passes(CONFIG.stage1, val=3) == (60, 24)


def test_stage2_pairs_between_first_look_and_all_new() -> None:
    # 20 visits of 8 samples, 4 validations (0, 2, 4, 5) of 3. First: (8 + 3) x 2 = 22 pairs;
    # later: (12 + 3 x 3) x 2 = 42. Two heads, half of the later candidates new: 2 x (22 + 21).
    found = stage2_pairs(CONFIG.stage2, COUNTS, records=None, drift=0.5, heads=2)
    assert found == Spread(least=22, likely=86, most=128)
    assert stage2_pairs(CONFIG.stage2, COUNTS, None, 0.0, heads=1) == Spread(22, 22, 64)
    assert stage2_pairs(CONFIG.stage2, COUNTS, None, 1.0, heads=1).likely == 64


def test_stage2_has_no_more_pairs_than_samples_times_records() -> None:
    assert stage2_pairs(CONFIG.stage2, COUNTS, 5, 0.5, heads=2) == Spread(22, 55, 55)
    assert stage2_pairs(CONFIG.stage2, COUNTS, 1, 0.5, heads=2) == Spread(11, 11, 11)


def test_stage2_counts_only_the_samples_that_are_visited() -> None:
    many = SampleCounts(train=1000, val=3, test=10, open_test=0, answers=4.0, counted=True)
    # 20 visits of 20 samples; (20 + 3) x 2 first, 3 x 3 x 2 later
    assert stage2_pairs(CONFIG.stage2, many, None, 1.0, heads=1) == Spread(46, 64, 64)


def test_methods_share_what_shows_the_same_prompt() -> None:
    # closed book 1, random 4, four lists of 2 with the whole record, captions 4, images 4
    labels = SampleCounts(train=8, val=3, test=10, open_test=0, answers=4.0, counted=True)
    assert evaluation_passes(METHODS, 2, labels) == (10 * 21, 0)
    # An open question is scored under each of the seven methods' own pools: 1 + 6 x 4.
    assert evaluation_passes(METHODS, 2, COUNTS) == (7 * 21 + 3 * 25, 3 * 21)
    assert evaluation_passes(["standard_rag", "jomed"], 2, labels) == (10 * 8, 0)
    assert evaluation_passes(["standard_rag", "text_head"], 2, labels) == (10 * 6, 0)


def test_an_unknown_method_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'jomad'; did you mean 'jomed'"):
        evaluation_passes(["jomad"], 2, COUNTS)


def test_the_shuffled_control_trains_its_heads_too() -> None:
    assert trained_heads(CONFIG) == 2
    assert trained_heads(load_config("phantom_evidence")) == 4


def test_a_workload_adds_up() -> None:
    found = workload(CONFIG, COUNTS, None, 0.5)
    assert (found.examples, found.checks, found.scored, found.generated) == (60, 24, 222, 63)
    assert found.pairs == Spread(22, 86, 128)
    assert found.forwards == 60 + 24 + 86 + 222 + 63


def test_published_sizes_become_splits() -> None:
    paper = load_config("paper", "vindr_pcxr", "qwen2_vl_7b", "biomedclip")
    found = published_counts(paper, {"train": 101, "test": 30}, 0.5, 7.0)
    assert found == SampleCounts(81, 20, 30, 15, 7.0, counted=False)
    found = published_counts(paper, {"train": 100, "val": 9, "test": 30}, 0.0, 7.0)
    assert found == SampleCounts(100, 9, 30, 0, 7.0, counted=False)
    limits = {"data.sample_limits.train": 40, "data.sample_limits.test": 4}
    few = load_config("paper", "slake", "qwen2_vl_7b", "biomedclip", overrides=limits)
    found = published_counts(few, {"train": 100, "val": 9, "test": 30}, 1.0, 7.0)
    assert found == SampleCounts(40, 9, 4, 4, 7.0, counted=False)


@pytest.mark.parametrize("sizes", [None, {}, {"train": 5}, {"val": 5, "test": 5}])
def test_unknown_sizes_stay_unknown(sizes: dict[str, int] | None) -> None:
    assert published_counts(CONFIG, sizes, 0.0, 5.0) is None
