"""Stage 1: fine-tuning the reader with LoRA on retrieved records (Eq. 1)."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import PrinterCallback, TrainerCallback, set_seed

from jomed.artifacts import atomic_write
from jomed.config import RunConfig
from jomed.reading.adapters import quiet_peft
from jomed.reading.events import event_callbacks
from jomed.reading.families import FAMILIES
from jomed.reading.loading import load_base
from jomed.reading.packing import PromptPacker
from jomed.reading.supervision import Example, make_splits
from jomed.reading.team import join_team, shared
from jomed.reading.trainer import (
    FinetuneError,
    ReaderTrainer,
    StepCollator,
    TrainingStream,
    per_process,
    token_limit,
    training_arguments,
)

ADAPTER = "adapter"
REPORT = "report.json"
_CHECKPOINTS = "checkpoints"
_PLAN = "plan.json"
_STATE = "trainer_state.json"


@dataclasses.dataclass(frozen=True)
class FinetuneReport:
    """What stage 1 did. Losses are -log p(answer | record, sample), mean over examples.

    ``evaluations`` holds {"step", "loss"} on the validation split, ``training`` the mean loss of
    the steps since the entry before; ``best_step`` is the step of the adapter that was kept.
    """

    steps: int
    train_examples: int
    val_examples: int
    adapted_parameters: int
    best_step: int
    best_loss: float
    evaluations: list[dict[str, float]]
    training: list[dict[str, float]]


def finetune_reader(
    config: RunConfig,
    base: Path | str,
    samples: pd.DataFrame,
    records: pd.DataFrame,
    candidates: Mapping[str, Sequence[str]],
    root: Path,
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> FinetuneReport:
    """Fine-tune a reader and leave its best adapter in ``folder``/adapter.

    One training example per (sample, candidate record); ``candidates`` maps the sample ids of
    the training and validation splits to record ids ("" for no record). LoRA on every linear
    layer of language model and vision tower, only the answer and the end of the turn are
    supervised, AdamW, cosine schedule with warm-up (``config.stage1``). The adapter with the
    lowest validation loss is kept. A run that was killed goes on from its last checkpoint in
    ``folder`` to the same result; one that is complete is only read. The report is also written
    to ``folder``/report.json. Several processes call this alike and share every step; the main
    one writes. Raises FinetuneError where ``folder`` holds a different run, the processes cannot
    share a step evenly, an example is too long to be read, or a loss is no finite number.
    """
    team = join_team(config)
    per_process(config, team.num_processes)
    splits = make_splits(config, samples, records, candidates)
    if shared(lambda: _is_finished(folder, _plan(config, splits))):
        return FinetuneReport(**json.loads((folder / REPORT).read_text()))
    trainer = _trainer(config, base, root, folder / _CHECKPOINTS, splits, callbacks)
    last = shared(lambda: _last_checkpoint(folder / _CHECKPOINTS))
    trainer.train(resume_from_checkpoint=last)
    report = _report(trainer, splits)
    # Every process reads the best adapter from its checkpoint.
    team.wait_for_everyone()
    # Stopped early, for instance by a callback: the checkpoints stay and the run can go on.
    if report.steps == config.stage1.max_steps and team.is_main_process:
        trainer.model.save_pretrained(folder / ADAPTER)
        with atomic_write(folder / REPORT) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(report), indent=1) + "\n")
        shutil.rmtree(folder / _CHECKPOINTS)
    return report


def _trainer(
    config: RunConfig,
    base: Path | str,
    root: Path,
    checkpoints: Path,
    splits: Mapping[str, Sequence[Example]],
    callbacks: Sequence[TrainerCallback],
) -> ReaderTrainer:
    set_seed(config.seed)
    stage = config.stage1
    model, packer = _adapted(config, base, root)
    collator = StepCollator(packer, token_limit(model), splits["train"][0])
    for examples in splits.values():
        collator.check_lengths(examples)
    step_size = stage.batch_size * stage.gradient_accumulation
    trainer = ReaderTrainer(
        model=model,
        args=training_arguments(config, checkpoints),
        train_dataset=TrainingStream(splits["train"], config.seed, step_size, stage.max_steps),
        eval_dataset=splits["val"],
        data_collator=collator,
        callbacks=[*callbacks, *event_callbacks(checkpoints.parent)],
    )
    trainer.remove_callback(PrinterCallback)
    if trainer.args.n_gpu > 1:
        raise FinetuneError(
            "several GPUs in one process; start one process per GPU with `accelerate launch -m "
            "jomed finetune ...`, or name one GPU in CUDA_VISIBLE_DEVICES"
        )
    return trainer


def _adapted(config: RunConfig, base: Path | str, root: Path) -> tuple[Any, PromptPacker]:
    model, processor = load_base(config, base)
    if config.backbone.quantisation is not None:
        # What is not quantised (vision tower, head, norms) trains in float32.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    family = FAMILIES[config.backbone.family]
    stage = config.stage1
    settings = LoraConfig(
        r=stage.lora_rank,
        lora_alpha=stage.lora_alpha,
        lora_dropout=stage.lora_dropout,
        target_modules="all-linear",
        exclude_modules=family.not_adapted
        if stage.lora_vision
        else f"{family.not_adapted}|{family.tower}",
    )
    with quiet_peft():
        if stage.gradient_checkpointing:
            # Of the two kinds, only this one gets along with frozen layers and several processes.
            model.gradient_checkpointing_enable({"use_reentrant": False})
        adapted = get_peft_model(model, settings)
    return adapted, PromptPacker(processor, family, root, config.prompt)


def _plan(config: RunConfig, splits: Mapping[str, Sequence[Example]]) -> dict[str, str]:
    """What decides the result of a run, as text; examples by their hash."""
    shown = json.dumps([[str(e) for e in split] for split in splits.values()])
    return {
        "settings": config.section_hash("stage1", "prompt", "backbone", "seed"),
        "examples": hashlib.sha256(shown.encode()).hexdigest()[:16],
    }


def _is_finished(folder: Path, plan: dict[str, str]) -> bool:
    """Whether the folder holds the end of this run; it must not hold another one."""
    _same_plan(folder, plan)
    finished = (folder / REPORT).is_file()
    if finished:
        shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
    return finished


def _same_plan(folder: Path, plan: dict[str, str]) -> None:
    path = folder / _PLAN
    if path.is_file():
        if json.loads(path.read_text()) != plan:
            raise FinetuneError(f"{folder} holds another run (other settings or data); remove it")
        return
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(plan) + "\n")


def _last_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint that was written to its end, and remove any later one."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    while found:
        try:
            # The trainer writes this file last.
            state = json.loads((found[-1] / _STATE).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            shutil.rmtree(found.pop())
        else:
            _keep_best(found[-1], state)
            return str(found[-1])
    return None


def _keep_best(checkpoint: Path, state: dict[str, Any]) -> None:
    """Let a checkpoint name the best one where it lies now: a folder may have been moved."""
    best = state["best_model_checkpoint"]
    here = None if best is None else str(checkpoint.with_name(Path(best).name))
    if here != best:
        with atomic_write(checkpoint / _STATE) as temporary:
            temporary.write_text(json.dumps({**state, "best_model_checkpoint": here}))


def _report(trainer: Any, splits: Mapping[str, Sequence[Example]]) -> FinetuneReport:
    history = trainer.state.log_history
    evaluations = [
        {"step": entry["step"], "loss": entry["eval_loss"]}
        for entry in history
        if "eval_loss" in entry
    ]
    best = min(evaluations, key=lambda entry: entry["loss"])
    trained = [p.numel() for p in trainer.model.parameters() if p.requires_grad]
    return FinetuneReport(
        steps=trainer.state.global_step,
        train_examples=len(splits["train"]),
        val_examples=len(splits["val"]),
        adapted_parameters=int(sum(trained)),
        best_step=int(best["step"]),
        best_loss=best["loss"],
        evaluations=evaluations,
        training=[{"step": e["step"], "loss": e["loss"]} for e in history if "loss" in e],
    )
