"""The export for LLaMA-Factory: what is written, and what LLaMA-Factory itself makes of it."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from finetune_cases import CANDIDATES, RECORDS, SAMPLES
from PIL import Image
from reading_cases import make_config

from jomed.config import RunConfig, load_config
from jomed.data.guard import AccessError
from jomed.reading.export import (
    conversation,
    dataset_info,
    export_llamafactory,
    image_file,
    training_settings,
)
from jomed.reading.image_limits import limit_side
from jomed.reading.packing import ReaderError
from jomed.reading.prompts import Prompt
from jomed.reading.reader import Reader
from jomed.reading.supervision import Example, make_splits
from jomed.reading.tries import answer_ids

PYTHON = os.environ.get("JOMED_LLAMAFACTORY")
READS = Path(__file__).with_name("llamafactory_reads.py")


def exported(
    config: RunConfig, base: Path, root: Path, folder: Path, records: pd.DataFrame = RECORDS
) -> dict[str, list[Example]]:
    """Export the small run of ``finetune_cases`` and return its examples."""
    splits = make_splits(config, SAMPLES, records, CANDIDATES)
    bases = {config.backbone.name: base}
    export_llamafactory([config], bases, splits, root, folder, {"made": "here"})
    return splits


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_conversation_is_the_prompt_in_our_order_and_the_answer() -> None:
    row, changed = conversation(Example(Prompt("r.png", "a text", "q.png", "which?"), "3"))
    assert not changed
    assert row["messages"] == [
        {"role": "user", "content": "<image>background: a text\n\n<image>which?"},
        {"role": "assistant", "content": "3"},
    ]
    assert row["images"] == [image_file("r.png"), image_file("q.png")]
    alone, _ = conversation(Example(Prompt(None, None, "q.png", "which?"), "3"))
    assert alone["messages"][0]["content"] == "<image>which?"
    assert len(alone["images"]) == 1


def test_markup_in_a_text_is_left_out_and_reported() -> None:
    text = "see <image> and <video>, [INST]<|im_end|></s> but [FINDINGS] < 3 <b>"
    row, changed = conversation(Example(Prompt("r", text, "q", "<audio>which<|x_pad|>?"), "a[IMG]"))
    user = "<image>background: see  and ,  but [FINDINGS] < 3 <b>\n\n<image>which?"
    assert [turn["content"] for turn in row["messages"]] == [user, "a"]
    assert changed


def test_an_export_holds_examples_pixels_and_settings(
    tmp_path: Path, image_root: Path, reader_folders: dict[str, Path], family: str
) -> None:
    config, out = make_config(family), tmp_path / "out"
    splits = exported(config, reader_folders[family], image_root, out)
    info = json.loads((out / "dataset_info.json").read_text())
    assert info == dataset_info(config)
    assert sorted(info) == ["jomed_retina_train", "jomed_retina_val"]
    for split, examples in splits.items():
        rows = lines(out / info[f"jomed_retina_{split}"]["file_name"])
        assert rows == [conversation(example)[0] for example in examples]
    for name in "abcd":
        shown = Image.open(out / image_file(f"{name}.png"))
        ours = limit_side(Image.open(image_root / f"{name}.png"), config.prompt.max_side)
        assert np.array_equal(np.asarray(shown), np.asarray(ours))
    assert len(list((out / "images").iterdir())) == 4
    settings = yaml.safe_load((out / f"{config.backbone.name}.yaml").read_text())
    assert settings == training_settings(config, {config.backbone.name: reader_folders[family]})
    report = json.loads((out / "report.json").read_text())
    assert report == {"train": 6, "val": 6, "images": 4, "cleaned": 0}
    assert json.loads((out / "manifest.json").read_text())["provenance"] == {"made": "here"}
    assert "PRIVATE" not in (out / "README.md").read_text()


def test_the_settings_are_those_of_the_paper() -> None:
    config = load_config("paper", "retina", "qwen2_vl_7b", "biomedclip")
    settings = training_settings(config, {"qwen2_vl_7b": "Qwen/Qwen2-VL-7B-Instruct"})
    expected = {
        "template": "qwen2_vl", "stage": "sft", "finetuning_type": "lora", "lora_target": "all",
        "lora_rank": 8, "lora_alpha": 16, "lora_dropout": 0.0, "freeze_vision_tower": False,
        "learning_rate": 1e-4, "lr_scheduler_type": "cosine", "warmup_steps": 216, "bf16": True,
        "max_steps": 2160, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 8,
        "eval_steps": 108, "save_steps": 108, "logging_steps": 108, "cutoff_len": 204800,
        "image_max_pixels": 256 * 256, "disable_gradient_checkpointing": False,
    }  # fmt: skip
    assert {name: settings[name] for name in expected} == expected
    pixtral = load_config("paper", "retina", "pixtral_12b", "biomedclip")
    assert training_settings(pixtral, {"pixtral_12b": "hub"})["template"] == "pixtral"


def test_a_folder_that_holds_something_is_not_touched(
    tmp_path: Path, image_root: Path, reader_folders: dict[str, Path]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ReaderError, match="not empty"):
        exported(make_config(), reader_folders["qwen2_vl"], image_root, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_export_of_restricted_data_is_marked_and_kept_out_of_git(
    tmp_path: Path, image_root: Path, reader_folders: dict[str, Path], monkeypatch: Any
) -> None:
    monkeypatch.setattr(RunConfig, "access", ("credentialed",))
    config, base = make_config(), reader_folders["qwen2_vl"]
    subprocess.run(["git", "init", "-q", tmp_path / "checkout"], check=True)
    (tmp_path / "checkout/.gitignore").write_text("runs/\n")
    with pytest.raises(AccessError, match="git checkout, and credentialed data"):
        exported(config, base, image_root, tmp_path / "checkout/out")
    assert not (tmp_path / "checkout/out").exists()
    for folder in ("checkout/runs/out", "elsewhere"):
        exported(config, base, image_root, tmp_path / folder)
        readme = (tmp_path / folder / "README.md").read_text()
        assert "PRIVATE: made from credentialed data, must not leave this host" in readme


@pytest.mark.skipif(
    PYTHON is None,
    reason="needs LLaMA-Factory in an environment of its own: python -m venv lf && lf/bin/pip "
    "install llamafactory, then JOMED_LLAMAFACTORY=lf/bin/python",
)
def test_llamafactory_reads_the_same_tokens_and_settings(
    tmp_path: Path,
    image_root: Path,
    reader_folders: dict[str, Path],
    reader: Reader,
    family: str,
) -> None:
    config, out = make_config(family, stage1__lora_vision=False), tmp_path / "out"
    # Sides below 28 px, as those of d.png, are enlarged by its Qwen template.
    records = RECORDS.replace("d.png", "b.png")
    splits = exported(config, reader_folders[family], image_root, out, records)
    found = read_by_llamafactory(out, config, tmp_path)
    stage = config.stage1
    assert found["steps"] == stage.max_steps
    assert found["examples_per_step"] == stage.batch_size * stage.gradient_accumulation
    assert (found["rank"], found["alpha"]) == (stage.lora_rank, stage.lora_alpha)
    assert (found["target"], found["frozen_tower"]) == (["all"], True)
    assert found["pixels"] == config.prompt.max_side**2
    tokenizer = reader.packer.tokenizer
    # The older Qwen templates begin with a system turn, all say a line break after an answer.
    end = [] if family == "pixtral" else tokenizer("\n")["input_ids"]
    assert bool(found["system"]) == (family in ("qwen2_vl", "qwen2_5_vl"))
    for split, examples in splits.items():
        for read, example in zip(found[split], examples, strict=True):
            prompt = reader.packer.pack([example.prompt])[0]
            said = [*answer_ids(tokenizer, example.answer), *end]
            assert read["input_ids"] == [*found["system"], *prompt.ids.tolist(), *said]
            assert read["labels"] == [-100] * (len(read["input_ids"]) - len(said)) + said
            assert [Path(image).name for image in read["images"]] == [
                Path(image_file(address)).name for address in example.prompt.images
            ]


def read_by_llamafactory(out: Path, config: RunConfig, scratch: Path) -> Mapping[str, Any]:
    """What LLaMA-Factory, in its own interpreter, makes of an export."""
    settings = f"{config.backbone.name}.yaml"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(scratch / "cache")}
    done = subprocess.run(
        [str(PYTHON), str(READS), settings, str(scratch / "read.json")],
        cwd=out,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: Mapping[str, Any] = json.loads((scratch / "read.json").read_text())
    return found
