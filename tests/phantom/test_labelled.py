"""General pairs from a benchmark's training labels, for tiny models without a phantom world."""

from collections.abc import Sequence

import pytest

from jomed.config import ConfigError, RunConfig, load_config
from jomed.phantom.labelled import WHETHER, WHICH, labelled_pairs
from jomed.records import Sample


def sample(place: int, answer: str, split: str = "train") -> Sample:
    return Sample(
        sample_id=f"retina:{split}/{place}",
        benchmark="retina",
        split=split,
        image=f"retinamnist.npz::{split}_images/{place}",
        question="what is the severity of diabetic retinopathy?",
        answer=answer,
        answer_type="label",
        question_type="",
        group="",
        image_sha="",
        image_phash="",
    )


@pytest.fixture
def config() -> RunConfig:
    return load_config("retina_small")


def of_splits(*splits: str) -> Sequence[Sample]:
    return [sample(place, str(place % 5), split) for place, split in enumerate(splits)]


def test_text_and_tasks_say_the_label(config: RunConfig) -> None:
    (pair,) = labelled_pairs(config, [sample(3, "2")])
    name = "moderate diabetic retinopathy"
    assert pair.image == "retinamnist.npz::train_images/3"
    assert pair.text == f"fundus photograph, diabetic retinopathy grade 2: {name}"
    assert pair.sights == ()
    which, own, other = pair.tasks
    assert which[0] in WHICH
    assert which[1] == name
    assert own == (WHETHER.format(name=name), "Yes")
    assert other[1] == ("Yes" if name in other[0] else "No")
    assert all(answer in ("Yes", "No") or answer in pair.text for _, answer in pair.tasks)


def test_only_the_training_split_is_used(config: RunConfig) -> None:
    pairs = labelled_pairs(config, of_splits("train", "val", "test", "train"))
    assert [pair.image.split("/")[-1] for pair in pairs] == ["0", "3"]


def test_questions_are_about_other_labels_too_and_the_same_every_time(config: RunConfig) -> None:
    samples = of_splits(*["train"] * 100)
    pairs = labelled_pairs(config, samples)
    assert pairs == labelled_pairs(config, samples)
    answers = [pair.tasks[2][1] for pair in pairs]
    assert 0.65 < answers.count("No") / 100 < 0.95  # four of five labels are other ones


@pytest.mark.parametrize(
    ("benchmark", "overrides"),
    [("retina", {"data.corpora": ["roco"], "data.record_text": None}), ("vqa_rad", {})],
)
def test_labels_and_a_text_template_are_needed(
    benchmark: str, overrides: dict[str, object]
) -> None:
    config = load_config(
        "paper", benchmark, backbone="qwen2_vl_7b", encoder="biomedclip", overrides=overrides
    )
    with pytest.raises(ConfigError, match=r"data\.record_text"):
        labelled_pairs(config, [sample(0, "1")])
