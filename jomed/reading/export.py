"""Stage 1 for LLaMA-Factory: the same examples, pixels and settings in the files that it reads."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from jomed.config import RunConfig
from jomed.data.guard import require_untracked
from jomed.data.images import open_image
from jomed.progress import track
from jomed.reading.image_limits import limit_side
from jomed.reading.packing import ReaderError
from jomed.reading.prompts import prompt_messages
from jomed.reading.supervision import Example
from jomed.settings import PromptConfig, Stage1Config
from jomed.storage import Artifact

TEMPLATES = {
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_vl",
    "qwen3_vl": "qwen3_vl_nothink",
    "pixtral": "pixtral",
}
"""LLaMA-Factory's name of each reader family's chat template."""

_IMAGE = "<image>"
# What LLaMA-Factory counts as a placeholder, or a tokenizer reads as markup (see PromptPacker).
_MARKUP = re.compile(
    r"<image>|<video>|<audio>|<\|[a-z_]+\|>|<(?:/?s|unk|pad)>"
    r"|\[/?(?:INST|IMG|IMG_BREAK|IMG_END|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|TOOL_CONTENT"
    r"|PREFIX|MIDDLE|SUFFIX)\]"
)
_UNCUT = 204_800
"""Tokens at which LLaMA-Factory cuts: the published setting, far above any prompt of ours."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written; ``cleaned`` examples had markup in a text, which was left out."""

    train: int
    val: int
    images: int
    cleaned: int


def export_llamafactory(
    configs: Sequence[RunConfig],
    bases: Mapping[str, Path | str],
    splits: Mapping[str, Sequence[Example]],
    root: Path,
    folder: Path,
    provenance: Mapping[str, object],
) -> ExportReport:
    """Write the examples of stage 1 and one training YAML per backbone to a new ``folder``.

    ``configs`` differ in their backbone only; ``bases`` gives the folder or hub id of each by
    name. Images are written as PNG within our own size limit, so that both see the same pixels.
    The folder appears whole, with ``provenance`` in its manifest, or not at all. Raises
    AccessError where data that are not open would lie in a git checkout, ReaderError for a family
    without a template or a folder that is not empty.
    """
    config = configs[0]
    require_untracked(folder, config.access)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ReaderError(f"{folder} is not empty; name a new folder for the export")
    trainings = {one.backbone.name: training_settings(one, bases) for one in configs}
    made = Artifact(folder, "export for LLaMA-Factory", "Run the export again.")
    with made.writing(**provenance) as unfinished:
        addresses = {a: None for many in splits.values() for e in many for a in e.prompt.images}
        _write_images(addresses, root, config.prompt, unfinished)
        cleaned = sum(
            _write_examples(examples, unfinished / f"{split}.jsonl")
            for split, examples in splits.items()
        )
        _write_json(dataset_info(config), unfinished / "dataset_info.json")
        for name, settings in trainings.items():
            text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
            (unfinished / f"{name}.yaml").write_text(text, encoding="utf-8")
        report = ExportReport(len(splits["train"]), len(splits["val"]), len(addresses), cleaned)
        _write_json(asdict(report), unfinished / "report.json")
        (unfinished / "README.md").write_text(_readme(config, report, list(trainings)))
    return report


def conversation(example: Example) -> tuple[dict[str, Any], bool]:
    """Return one example as LLaMA-Factory's messages and images, and whether a text had markup.

    User turn in the order of the method: record image, ``background: {text}``, query image,
    question; assistant turn: the answer.
    """
    turns = prompt_messages(example.prompt)[0]["content"]
    texts = [turn["text"] for turn in turns if turn["type"] == "text"]
    clean = {text: _MARKUP.sub("", text) for text in (*texts, example.answer)}
    user = "".join(_IMAGE if turn["type"] == "image" else clean[turn["text"]] for turn in turns)
    row = {
        "messages": [
            {"role": "user", "content": user},
            {"role": "assistant", "content": clean[example.answer]},
        ],
        "images": [image_file(address) for address in example.prompt.images],
    }
    return row, any(text != kept for text, kept in clean.items())


def image_file(address: str) -> str:
    """Return the name of an image in the export: its address as a hash, for any address."""
    return f"images/{hashlib.sha256(address.encode()).hexdigest()[:20]}.png"


def dataset_info(config: RunConfig) -> dict[str, Any]:
    """Return what LLaMA-Factory has to know about the two files of examples."""
    shape = {
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }
    return {
        _dataset(config, split): {"file_name": f"{split}.jsonl", **shape}
        for split in ("train", "val")
    }


def training_settings(config: RunConfig, bases: Mapping[str, Path | str]) -> dict[str, Any]:
    """Return ``config.stage1`` as arguments of ``llamafactory-cli train``, for one process.

    With N processes divide ``gradient_accumulation_steps`` by N, as our own trainer does.
    """
    stage, backbone = config.stage1, config.backbone
    if backbone.family not in TEMPLATES:
        raise ReaderError(
            f"{backbone.name}: LLaMA-Factory has no template for {backbone.family!r}; "
            f"export for one of {', '.join(TEMPLATES)}"
        )
    bits = {"8bit": {"quantization_bit": 8}, "4bit": {"quantization_bit": 4}, None: {}}
    return {
        "model_name_or_path": str(bases[backbone.name]),
        "model_revision": backbone.revision or "main",
        "template": TEMPLATES[backbone.family],
        **_data_settings(config),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "all",
        "lora_rank": stage.lora_rank,
        "lora_alpha": stage.lora_alpha,
        "lora_dropout": stage.lora_dropout,
        "freeze_vision_tower": not stage.lora_vision,
        "freeze_multi_modal_projector": True,
        "disable_gradient_checkpointing": not stage.gradient_checkpointing,
        "use_reentrant_gc": False,
        "output_dir": f"trained/{backbone.name}",
        "bf16": backbone.dtype == "bfloat16",
        **bits[backbone.quantisation],
        "seed": config.seed,
        "report_to": "none",
        **_schedule(stage),
    }


def _schedule(stage: Stage1Config) -> dict[str, Any]:
    return {
        "max_steps": stage.max_steps,
        "per_device_train_batch_size": stage.batch_size,
        "per_device_eval_batch_size": stage.batch_size,
        "gradient_accumulation_steps": stage.gradient_accumulation,
        "learning_rate": stage.learning_rate,
        "weight_decay": stage.weight_decay,
        "optim": "adamw_torch",
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(stage.warmup_ratio * stage.max_steps),
        **dict.fromkeys(("logging_steps", "eval_steps", "save_steps"), stage.eval_every),
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
    }


def _data_settings(config: RunConfig) -> dict[str, Any]:
    return {
        "dataset_dir": ".",
        "media_dir": ".",
        "dataset": _dataset(config, "train"),
        "eval_dataset": _dataset(config, "val"),
        "cutoff_len": _UNCUT,
        # The images are within the limit already: neither bound must change one.
        "image_max_pixels": config.prompt.max_side**2,
        "image_min_pixels": 1,
        "overwrite_cache": True,
    }


def _dataset(config: RunConfig, split: str) -> str:
    return f"jomed_{config.benchmark.name}_{split}"


def _write_images(addresses: Iterable[str], root: Path, limits: PromptConfig, folder: Path) -> None:
    (folder / "images").mkdir()
    for address in track(list(addresses), "images for LLaMA-Factory"):
        image = limit_side(open_image(address, root), limits.max_side, limits.max_pixels)
        image.save(folder / image_file(address))


def _write_examples(examples: Iterable[Example], path: Path) -> int:
    """Write one JSON object per line; return how many examples had markup in a text."""
    rows = [conversation(example) for example in examples]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row, _ in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return sum(changed for _, changed in rows)


def _write_json(value: object, path: Path) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _readme(config: RunConfig, report: ExportReport, backbones: Sequence[str]) -> str:
    levels = " and ".join(config.access)
    warning = f"**PRIVATE: made from {levels} data, must not leave this host.**\n\n"
    commands = "\n".join(f"    llamafactory-cli train {name}.yaml" for name in backbones)
    return f"""# Stage 1 of {config.run_name} for LLaMA-Factory

{"" if levels == "open" else warning}{report.train} training and {report.val} validation examples, \
{report.images} images; {report.cleaned} examples had markup in a text, which was left out.

In this folder:

{commands}

With N processes divide `gradient_accumulation_steps` by N. Three things differ from our own
training: LLaMA-Factory's loss is a mean over tokens, ours over examples (the same where all
answers have as many tokens); its Qwen template supervises the line break after the answer; and it
enlarges images with a side below 28 px for Qwen.
"""
