"""Stage 1: fine-tuning the reader with LoRA on retrieved records (Eq. 1)."""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import PrinterCallback, TrainerCallback, TrainingArguments, set_seed

from jomed.artifacts import atomic_write
from jomed.config import RunConfig
from jomed.reading.adapters import quiet_peft
from jomed.reading.events import event_callbacks
from jomed.reading.families import FAMILIES
from jomed.reading.loading import load_base
from jomed.reading.options import resolve_device
from jomed.reading.packing import PromptPacker
from jomed.reading.supervision import AnswerCollator, Example, ReaderTrainer, make_examples

ADAPTER = "adapter"
REPORT = "report.json"
_CHECKPOINTS = "checkpoints"
_PLAN = "plan.json"


class FinetuneError(RuntimeError):
    """Stage 1 cannot start or go on; the message says why and what to do."""


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
    to ``folder``/report.json. Raises FinetuneError where ``folder`` holds a different run.
    """
    splits = {
        split: make_examples(config, samples, records, candidates, split)
        for split in ("train", "val")
    }
    _same_plan(folder, _plan(config, splits))
    if (folder / REPORT).is_file():
        shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
        return FinetuneReport(**json.loads((folder / REPORT).read_text()))
    trainer = _trainer(config, base, root, folder / _CHECKPOINTS, splits, callbacks)
    trainer.train(resume_from_checkpoint=_last_checkpoint(folder / _CHECKPOINTS))
    report = _report(trainer, splits)
    # Stopped early, for instance by a callback: the checkpoints stay and the run can go on.
    if report.steps == config.stage1.max_steps and trainer.is_world_process_zero():
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
    model, packer = _adapted(config, base, root)
    trainer = ReaderTrainer(
        model=model,
        args=_arguments(config, checkpoints),
        train_dataset=splits["train"],
        eval_dataset=splits["val"],
        data_collator=AnswerCollator(packer),
        callbacks=[*callbacks, *event_callbacks(checkpoints.parent)],
    )
    trainer.remove_callback(PrinterCallback)
    if trainer.args.n_gpu > 1:
        raise FinetuneError(
            "several GPUs in one process; start one process per GPU with `accelerate launch`, or "
            "name one GPU in CUDA_VISIBLE_DEVICES"
        )
    return trainer


def _adapted(config: RunConfig, base: Path | str, root: Path) -> tuple[Any, PromptPacker]:
    model, processor = load_base(config, base)
    if config.backbone.quantisation is not None:
        # What is not quantised (vision tower, head, norms) trains in float32.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    family = FAMILIES[config.backbone.family]
    adapt = config.stage1.lora_vision
    excluded = family.not_adapted if adapt else f"{family.not_adapted}|{family.tower}"
    settings = LoraConfig(
        r=config.stage1.lora_rank,
        lora_alpha=config.stage1.lora_alpha,
        lora_dropout=config.stage1.lora_dropout,
        target_modules="all-linear",
        exclude_modules=excluded,
    )
    with quiet_peft():
        adapted = get_peft_model(model, settings)
    return adapted, PromptPacker(processor, family, root, config.prompt)


def _arguments(config: RunConfig, checkpoints: Path) -> TrainingArguments:
    stage = config.stage1
    on_cpu = resolve_device(config).type == "cpu"
    every = {"logging_steps": stage.eval_every, "eval_steps": stage.eval_every}
    return TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=stage.max_steps,
        per_device_train_batch_size=stage.batch_size,
        per_device_eval_batch_size=stage.batch_size,
        gradient_accumulation_steps=stage.gradient_accumulation,
        learning_rate=stage.learning_rate,
        weight_decay=stage.weight_decay,
        optim="adamw_torch",
        lr_scheduler_type="cosine",
        # A whole number of steps: the library reads shares below 1 only.
        warmup_steps=round(stage.warmup_ratio * stage.max_steps),
        bf16=not on_cpu and config.backbone.dtype == "bfloat16",
        use_cpu=on_cpu,
        eval_strategy="steps",
        save_strategy="steps",
        save_steps=stage.eval_every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        prediction_loss_only=True,
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
        seed=config.seed,
        data_seed=config.seed,
        report_to=[],
        log_level="error",
        disable_tqdm=os.environ.get("JOMED_PROGRESS") == "0",
        **every,
    )


def _plan(config: RunConfig, splits: Mapping[str, Sequence[Example]]) -> dict[str, str]:
    """What decides the result of a run, as text; examples by their hash."""
    shown = json.dumps([[str(e) for e in split] for split in splits.values()])
    return {
        "settings": config.section_hash("stage1", "prompt", "backbone", "seed"),
        "examples": hashlib.sha256(shown.encode()).hexdigest()[:16],
    }


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
            json.loads((found[-1] / "trainer_state.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            shutil.rmtree(found.pop())
        else:
            return str(found[-1])
    return None


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
