"""Reads an export with LLaMA-Factory's own code, in an interpreter that has it installed.

Called in the export's folder with a training YAML and a JSON file, which then says what settings
and examples became.
"""

import json
import sys
from pathlib import Path

import yaml
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer


def main() -> None:
    settings = yaml.safe_load(Path(sys.argv[1]).read_text())
    model, data, training, finetuning, _ = get_train_args(settings)
    module = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data)
    found = get_dataset(template, model, data, training, stage="sft", **module)
    # The template's standing first turn, which the published chat templates have, too.
    standing = template.default_system
    system = template.format_system.apply(content=standing) if standing else []
    tokenizer = module["tokenizer"]
    summary = {
        "steps": training.max_steps,
        "examples_per_step": training.per_device_train_batch_size
        * training.gradient_accumulation_steps,
        "rank": finetuning.lora_rank,
        "alpha": finetuning.lora_alpha,
        "target": finetuning.lora_target,
        "frozen_tower": finetuning.freeze_vision_tower,
        "pixels": model.image_max_pixels,
        "system": tokenizer("".join(system), add_special_tokens=False)["input_ids"],
        **{
            split: [
                {name: example[name] for name in ("input_ids", "labels")}
                | {"images": [str(image) for image in example["images"]]}
                for example in found[f"{kind}_dataset"]
            ]
            for split, kind in (("train", "train"), ("val", "eval"))
        },
    }
    Path(sys.argv[2]).write_text(json.dumps(summary))


if __name__ == "__main__":
    main()
