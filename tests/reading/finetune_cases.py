"""The small stage-1 run that the tests of fine-tuning share."""

from collections.abc import Sequence
from pathlib import Path

import torch
from reading_cases import record_frame, sample_frame
from safetensors.torch import load_file

SAMPLES = sample_frame(
    *(
        {
            "sample_id": f"{split}{i}",
            "split": split,
            "image": f"{'abcd'[i]}.png",
            "answer": str(i),
        }
        for split in ("train", "val")
        for i in range(3)
    )
)
RECORDS = record_frame(
    {"record_id": "r1", "image": "c.png", "text": "one"},
    {"record_id": "r2", "image": "d.png", "text": "another text"},
)
CANDIDATES: dict[str, Sequence[str]] = {name: ("r1", "r2") for name in SAMPLES["sample_id"]}
STAGE1 = {
    "stage1__max_steps": 5,
    "stage1__batch_size": 2,
    "stage1__gradient_accumulation": 2,
    "stage1__learning_rate": 5e-3,
    "stage1__eval_every": 2,
    "stage1__lora_rank": 4,
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The adapter that a run left in its folder."""
    return load_file(folder / "adapter" / "adapter_model.safetensors")
