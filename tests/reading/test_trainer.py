"""The loop of stage 1: the order of its examples, shares of several processes, and its errors."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finetune_cases import CANDIDATES, RECORDS, SAMPLES, STAGE1, weights
from reading_cases import make_config

from jomed.config import RunConfig
from jomed.reading.finetune import FinetuneError, FinetuneReport, finetune_reader
from jomed.reading.prompts import Prompt
from jomed.reading.reader import Reader
from jomed.reading.supervision import IGNORED, Example, answer_losses, make_examples
from jomed.reading.trainer import (
    NAMES,
    StepCollator,
    TrainingStream,
    mean_loss,
    per_process,
    token_limit,
)

EXAMPLES = [Example(Prompt(None, None, f"{name}.png", "which?"), "1", name) for name in "abcd"]
Tune = Callable[..., FinetuneReport]


def drawn(seed: int) -> list[str]:
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed)).tolist()
    return ["abcd"[place] for place in order]


def test_every_epoch_has_an_order_of_its_own_and_steps_start_at_multiples() -> None:
    stream = TrainingStream(EXAMPLES, seed=7, step_size=3, steps=5)
    names = [entry.name if entry else None for entry in map(stream.__getitem__, range(15))]
    # Four examples in steps of three: three and one, then the next epoch.
    whole = [*drawn(7), None, None, *drawn(8), None, None, *drawn(9)]
    assert names == whole[:15]
    assert len(stream) == 15
    assert [stream[i].name for i in (13, 1)] == [whole[13], whole[1]]


def test_free_places_are_left_out_and_a_batch_of_them_has_no_label(reader: Reader) -> None:
    collate = StepCollator(reader.packer, token_limit(reader.model), EXAMPLES[0])
    batch = collate([EXAMPLES[1], None, EXAMPLES[2]])
    assert batch[NAMES] == ["b", "c"]
    assert len(batch["input_ids"]) == 2
    empty = collate([None, None])
    assert empty[NAMES] == []
    assert len(empty["input_ids"]) == 1
    assert (empty["labels"] == IGNORED).all()


def test_losses_are_summed_over_tokens_and_averaged_over_examples() -> None:
    logits = torch.zeros(2, 2, 4)
    logits[0, 1, 3] = np.log(5.0)
    losses = answer_losses(logits, torch.tensor([[0, 3], [IGNORED, 1]]))
    # ln 4 + (ln 8 - ln 5) of the first example, ln 4 of the second.
    assert losses.tolist() == pytest.approx([np.log(4 * 8 / 5), np.log(4)])
    found = type("Found", (), {"predictions": np.array([1.0, 2.0, 6.0], np.float32)})
    assert mean_loss(found) == {"loss": 3.0}


@pytest.mark.parametrize(("processes", "batches"), [(1, 8), (2, 4), (4, 2), (8, 1)])
def test_processes_share_the_batches_of_a_step(processes: int, batches: int) -> None:
    assert per_process(make_config(stage1__gradient_accumulation=8), processes) == batches


def test_processes_that_cannot_share_a_step_evenly_are_refused() -> None:
    config = make_config(stage1__gradient_accumulation=8, stage1__batch_size=3)
    with pytest.raises(FinetuneError, match="3 processes cannot share the 8 batches") as caught:
        per_process(config, 3)
    assert "stage1.batch_size x stage1.gradient_accumulation = 24" in str(caught.value)


def spoil(monkeypatch: pytest.MonkeyPatch, when: Callable[[int], bool], value: float) -> None:
    """Make the first loss of some batches, counted from 1, something that is no number."""
    count = itertools.count(1)

    def losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        found = answer_losses(logits, labels)
        return (
            found * torch.tensor([value] + [1.0] * (len(found) - 1)) if when(next(count)) else found
        )

    monkeypatch.setattr("jomed.reading.trainer.answer_losses", losses)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_its_checkpoints(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    whole = tune(tmp_path / "whole")
    # A step has two batches (the second of step 2 is empty), the validation after step 2 three.
    with monkeypatch.context() as patch:
        spoil(patch, lambda batch: batch == 8, value)
        with pytest.raises(FinetuneError, match="step 3: the loss of 1 examples") as caught:
            tune(tmp_path / "parts")
    stream = TrainingStream(
        [Example(Prompt(None, None, "", ""), "", f"{s} beside record {r}")
         for s in ("train0", "train1", "train2") for r in ("r1", "r2")],
        seed=0, step_size=4, steps=5,
    )  # fmt: skip
    assert stream[8].name in str(caught.value)
    assert "stage1.learning_rate" in str(caught.value)
    assert [path.name for path in (tmp_path / "parts/checkpoints").iterdir()] == ["checkpoint-2"]
    assert tune(tmp_path / "parts") == whole
    for name, tensor in weights(tmp_path / "parts").items():
        torch.testing.assert_close(tensor, weights(tmp_path / "whole")[name], rtol=0, atol=0)


def test_a_validation_loss_that_is_no_number_is_not_taken_for_the_best(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda batch: batch == 5, float("nan"))
    with pytest.raises(FinetuneError, match="sample val0 beside record r1"):
        tune(tmp_path)
    assert not list((tmp_path / "checkpoints").glob("*"))


def train_with_limit(family: str, image_root: Path, folder: Path, base: Path, limit: int) -> None:
    """Train with a model that reads at most ``limit`` tokens."""
    settings = json.loads((base / "config.json").read_text())
    settings["text_config"]["max_position_embeddings"] = limit
    (folder / "base").mkdir()
    for path in base.iterdir():
        (folder / "base" / path.name).symlink_to(path)
    (folder / "base/config.json").unlink()
    (folder / "base/config.json").write_text(json.dumps(settings))
    config = make_config(family, **{**STAGE1, "stage1__max_steps": 1})
    data: Any = (SAMPLES, RECORDS, CANDIDATES, image_root)
    finetune_reader(config, folder / "base", *data, folder / "run")


def longest_example(reader: Reader, config: RunConfig) -> tuple[str, int]:
    """Name and tokens of the longest training example, the end of the turn included."""
    examples = make_examples(config, SAMPLES, RECORDS, CANDIDATES, "train")
    packed = reader.packer.pack([example.prompt for example in examples])
    tokens = [len(prompt.ids) + len("1") + 1 for prompt in packed]
    place = int(np.argmax(tokens))
    return examples[place].name, tokens[place]


def test_an_example_that_the_model_cannot_read_is_named_before_training(
    image_root: Path, reader_folders: dict[str, Path], tmp_path: Path, reader: Reader, family: str
) -> None:
    name, tokens = longest_example(reader, make_config(family))
    message = f"{name}: prompt and answer have {tokens} tokens, .* at most {tokens - 1};"
    with pytest.raises(FinetuneError, match=message) as caught:
        train_with_limit(family, image_root, tmp_path, reader_folders[family], tokens - 1)
    assert "prompt.max_side" in str(caught.value)
    assert not (tmp_path / "run/checkpoints").exists()


def test_the_longest_example_that_the_model_can_read_is_trained_on(
    image_root: Path, reader_folders: dict[str, Path], tmp_path: Path, reader: Reader, family: str
) -> None:
    _, tokens = longest_example(reader, make_config(family))
    train_with_limit(family, image_root, tmp_path, reader_folders[family], tokens)
    assert weights(tmp_path / "run")


def test_a_sliding_window_is_a_limit_too(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_limit(reader.model) == 2048
    text = reader.model.config.get_text_config()
    monkeypatch.setattr(text, "sliding_window", 100, raising=False)
    monkeypatch.setattr(text, "layer_types", ["sliding_attention"], raising=False)
    assert token_limit(reader.model) == 100
