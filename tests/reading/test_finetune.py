import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finetune_cases import CANDIDATES, RECORDS, SAMPLES, STAGE1, weights
from reading_cases import make_config
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_models import save_reader
from transformers import TrainerCallback

from jomed.reading.answers import AnswerSet
from jomed.reading.finetune import FinetuneError, FinetuneReport, _adapted, finetune_reader
from jomed.reading.packing import ReaderError
from jomed.reading.prompts import Prompt
from jomed.reading.reader import Reader
from jomed.reading.supervision import (
    IGNORED,
    AnswerCollator,
    Example,
    answer_loss,
    make_examples,
)
from jomed.storage import EVENTS

Tune = Callable[..., FinetuneReport]


class StopAt(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Stop in the middle of training, cleanly or as a crash would."""

    def __init__(self, step: int, crash: bool):
        self.step = step
        self.crash = crash

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            if self.crash:
                raise KeyboardInterrupt
            control.should_training_stop = True


class CrashAfterEvaluation(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Crash when a step is evaluated and not yet saved."""

    def __init__(self, step: int):
        self.step = step

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def shown_steps(folder: Path) -> dict[str, list[int]]:
    """The steps that TensorBoard shows of each loss."""
    accumulator = EventAccumulator(str(folder / EVENTS))
    accumulator.Reload()
    tags = ("train/loss", "train/grad_norm", "train/learning_rate", "eval/loss")
    return {tag: [event.step for event in accumulator.Scalars(tag)] for tag in tags}


def test_event_files_show_every_step_once_after_a_crash(tune: Tune, tmp_path: Path) -> None:
    tune(tmp_path / "whole")
    expected = shown_steps(tmp_path / "whole")
    assert expected["eval/loss"][:2] == [2, 4]
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "crashed", CrashAfterEvaluation(4))
    # Step 4 is shown but in no checkpoint: the second run starts from step 2.
    assert shown_steps(tmp_path / "crashed")["eval/loss"] == [2, 4]
    tune(tmp_path / "crashed")
    assert len(list((tmp_path / "crashed" / EVENTS).iterdir())) == 2
    assert shown_steps(tmp_path / "crashed") == expected


def test_one_example_per_sample_and_candidate(image_root: Path) -> None:
    candidates = {**CANDIDATES, "train1": ("",)}
    examples = make_examples(make_config(), SAMPLES, RECORDS, candidates, "train")
    assert len(examples) == 5
    prompt = Prompt("d.png", "another text", "a.png", "which?")
    assert examples[1] == Example(prompt, "0", "sample train0 beside record r2")
    prompt = Prompt(None, None, "b.png", "which?")
    assert examples[2] == Example(prompt, "1", "sample train1 beside no record")
    with pytest.raises(ReaderError, match="1 of 3 samples of the val split"):
        make_examples(make_config(), SAMPLES, RECORDS, {**CANDIDATES, "val2": ()}, "val")
    train = SAMPLES[SAMPLES["split"] == "train"]
    with pytest.raises(ReaderError, match="the val split of retina has no sample"):
        make_examples(make_config(), train, RECORDS, CANDIDATES, "val")


def test_only_the_answer_and_the_end_of_the_turn_are_supervised(reader: Reader) -> None:
    tokenizer = reader.packer.tokenizer
    end = tokenizer.eos_token_id
    prompts = [Prompt("a.png", "one", "b.png", "which?"), Prompt(None, None, "c.png", "is it?")]
    batch = AnswerCollator(reader.packer)([Example(prompts[0], "yes"), Example(prompts[1], "1")])
    said = tokenizer(["yes", "1"])["input_ids"]
    assert batch["labels"].tolist() == [[*said[0], end], [IGNORED, IGNORED, *said[1], end]]
    packed = reader.packer.pack(prompts)
    for row, mask, prompt, answer in zip(
        batch["input_ids"], batch["attention_mask"], packed, said, strict=True
    ):
        assert row[mask == 1].tolist() == [*prompt.ids.tolist(), *answer, end]


def test_the_loss_is_the_negative_log_probability_of_the_answers(reader: Reader) -> None:
    prompts = [Prompt("a.png", "one", "b.png", "which?"), Prompt(None, None, "c.png", "is it?")]
    answers = AnswerSet(("yes", "1"))
    scores = reader.score(prompts, answers)
    batch = AnswerCollator(reader.packer)([Example(prompts[0], "yes"), Example(prompts[1], "1")])
    labels = batch.pop("labels")
    with torch.inference_mode():
        logits = reader.model(**batch, logits_to_keep=labels.shape[1] + 1).logits[:, :-1]
    expected = -(scores[0, 0] + scores[1, 1]) / 2
    assert float(answer_loss(logits, labels)) == pytest.approx(expected, abs=1e-4)


def test_training_learns_and_the_best_adapter_can_be_loaded(
    tune: Tune, load_reader: Callable[..., Reader], tmp_path: Path, family: str
) -> None:
    report = tune(tmp_path, family=family)
    steps = [entry["step"] for entry in report.evaluations]
    assert (report.steps, report.train_examples, report.val_examples) == (5, 6, 6)
    assert steps == [2, 4, 5]
    assert report.best_loss == min(entry["loss"] for entry in report.evaluations)
    assert json.loads((tmp_path / "report.json").read_text())["best_step"] == report.best_step
    assert not list(tmp_path.rglob("*.pt*"))
    plain = load_reader(family)
    tuned = load_reader(family, adapter=tmp_path / "adapter")
    assert tuned.key != plain.key
    answers = AnswerSet(("0", "1", "2"))
    prompts = [
        Prompt(f"{record}.png", text, f"{image}.png", "which?")
        for image in "abc"
        for record, text in (("c", "one"), ("d", "another text"))
    ]
    gold = np.repeat(range(3), 2)
    before, after = (
        reader.score(prompts, answers)[range(6), gold].mean() for reader in (plain, tuned)
    )
    assert after > before
    # The end of the turn is part of the loss but not of these scores.
    assert -after <= report.best_loss + 1e-4


def test_in_bfloat16_an_adapter_stays_beside_the_weights(
    tune: Tune, load_reader: Callable[..., Reader], tmp_path: Path
) -> None:
    tune(tmp_path, stage1__max_steps=1)
    adapter = tmp_path / "adapter"
    for name, tensor in (adapted := weights(tmp_path)).items():
        adapted[name] = torch.ones_like(tensor) / 8
    save_file(adapted, adapter / "adapter_model.safetensors")
    answers, prompts = AnswerSet(("yes", "no")), [Prompt("a.png", "one", "b.png", "which?")]
    merged = load_reader("qwen2_vl", adapter).score(prompts, answers)
    beside = load_reader("qwen2_vl", adapter, backbone__dtype="bfloat16")
    plain = load_reader("qwen2_vl", backbone__dtype="bfloat16")
    assert beside.model.dtype == torch.bfloat16
    assert any("lora" in name for name, _ in beside.model.named_parameters())
    error = np.abs(beside.score(prompts, answers) - merged).max()
    assert 20 * error < np.abs(plain.score(prompts, answers) - merged).max()


@pytest.mark.parametrize("quantised", ["8bit", "4bit"])
def test_a_quantised_reader_is_trained_and_its_adapter_stays_beside_it(
    tmp_path: Path, image_root: Path, quantised: str
) -> None:
    pytest.importorskip("bitsandbytes")
    base = save_reader(tmp_path / "base", "qwen2_vl", hidden=64)
    config = make_config("qwen2_vl", **STAGE1, backbone__quantisation=quantised)
    data = (SAMPLES, RECORDS, CANDIDATES, image_root)
    report = finetune_reader(config, base, *data, tmp_path / "run")
    losses = [entry["loss"] for entry in report.evaluations]
    assert losses[-1] < losses[0]
    adapter = tmp_path / "run" / "adapter"
    plain = Reader.load(config, base, None, image_root)
    tuned = Reader.load(config, base, adapter, image_root)
    assert tuned.key != plain.key
    assert any("lora" in name for name, _ in tuned.model.named_parameters())
    answers, gold = AnswerSet(("0", "1", "2")), np.repeat(range(3), 2)
    prompts = [example.prompt for example in make_examples(config, *data[:3], "val")]
    before, after = (
        reader.score(prompts, answers)[range(6), gold].mean() for reader in (plain, tuned)
    )
    assert after > before


TOWERS = {
    "qwen2_vl": ("language_model.layers.1.mlp.down_proj", "visual.blocks.1.attn.qkv"),
    "qwen2_5_vl": ("language_model.layers.1.mlp.down_proj", "visual.blocks.1.attn.qkv"),
    "qwen3_vl": ("language_model.layers.1.mlp.down_proj", "visual.blocks.1.attn.qkv"),
    "pixtral": ("language_model.layers.1.mlp.down_proj", "vision_tower.transformer.layers.1"),
}


@pytest.mark.parametrize("adapted", [True, False])
def test_the_vision_tower_is_adapted_if_asked_and_nothing_between_the_towers(
    tune: Tune, tmp_path: Path, adapted: bool
) -> None:
    for family, (language, vision) in TOWERS.items():
        tune(tmp_path / family, family=family, stage1__max_steps=1, stage1__lora_vision=adapted)
        names = list(weights(tmp_path / family))
        assert any(language in name for name in names)
        assert any(vision in name for name in names) == adapted
        assert any(vision.split(".")[0] in name for name in names) == adapted
        assert not any(
            part in name for name in names for part in ("merger", "projector", "lm_head")
        )


@pytest.mark.parametrize(("step", "crash"), [(4, False), (3, True)])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    tune: Tune, tmp_path: Path, step: int, crash: bool
) -> None:
    whole = tune(tmp_path / "whole")
    stop = StopAt(step, crash)
    if crash:
        with pytest.raises(KeyboardInterrupt):
            tune(tmp_path / "parts", stop)
        # A checkpoint whose writing was interrupted must not be taken.
        shutil.copytree(
            tmp_path / "parts/checkpoints/checkpoint-2", tmp_path / "parts/checkpoints/checkpoint-3"
        )
        (tmp_path / "parts/checkpoints/checkpoint-3/trainer_state.json").write_text("{")
    else:
        assert tune(tmp_path / "parts", stop).steps == 4
    assert not (tmp_path / "parts" / "adapter").exists()
    resumed = tune(tmp_path / "parts")
    assert resumed == whole
    expected = weights(tmp_path / "whole")
    for name, tensor in weights(tmp_path / "parts").items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


def test_a_run_that_was_moved_after_its_last_step_still_ends_with_the_best_adapter(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Validation gets worse and worse: the first checkpoint is the best.
    losses = itertools.cycle([1.0, 2.0, 3.0])
    monkeypatch.setattr("jomed.reading.trainer.mean_loss", lambda _: {"loss": next(losses)})

    class EndOfTraining(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_train_end(self, *_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

    whole = tune(tmp_path / "whole")
    assert whole.best_step == 2
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "here", EndOfTraining())
    (tmp_path / "here").rename(tmp_path / "there")
    assert tune(tmp_path / "there") == whole
    expected = weights(tmp_path / "whole")
    for name, tensor in weights(tmp_path / "there").items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize("vision", [True, False])
def test_activations_computed_twice_give_the_same_adapter(
    tune: Tune, tmp_path: Path, family: str, vision: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = []
    monkeypatch.setattr(
        "torch.utils.checkpoint.CheckpointFunction.apply", lambda *_: again.append("reentrant")
    )
    reports = {}
    for twice in (False, True):
        options = {"stage1__lora_vision": vision, "stage1__gradient_checkpointing": twice}
        reports[twice] = tune(tmp_path / str(twice), family=family, **options)
    assert again == []
    for kind in ("training", "evaluations"):
        plain, saved = ([e["loss"] for e in getattr(reports[key], kind)] for key in (False, True))
        assert saved == pytest.approx(plain, rel=1e-6)
    expected = weights(tmp_path / "False")
    assert any(bool(tensor.any()) for name, tensor in expected.items() if "lora_B" in name)
    for name, tensor in weights(tmp_path / "True").items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)


def test_checkpointing_keeps_fewer_activations(
    image_root: Path, reader_folders: dict[str, Path], family: str
) -> None:
    kept = {}
    for twice in (False, True):
        config = make_config(family, stage1__gradient_checkpointing=twice)
        model, packer = _adapted(config, reader_folders[family], image_root)
        batch = AnswerCollator(packer)([Example(Prompt("a.png", "one", "b.png", "which?"), "1")])
        labels, sizes = batch.pop("labels"), []
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: sizes.append(tensor.numel()) or tensor,
            lambda tensor: tensor,
        )
        with hooks:
            model.train()(**batch, logits_to_keep=labels.shape[1] + 1)
        kept[twice] = sum(sizes)
    assert kept[True] < 0.7 * kept[False]


def test_a_complete_run_is_only_read(tune: Tune, tmp_path: Path) -> None:
    report = tune(tmp_path, stage1__max_steps=1)
    assert tune(tmp_path, StopAt(1, crash=True), stage1__max_steps=1) == report
    with pytest.raises(FinetuneError, match="another run"):
        tune(tmp_path, stage1__max_steps=2)
