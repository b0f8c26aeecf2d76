"""A tiny open_clip model with random weights, and small images and records for it."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import torch
from PIL import Image

from jomed.data.hashes import image_sha
from jomed.retrieval.encoders import Encoder, open_encoder, save_encoder

SIDE = 16
MODEL_CFG: dict[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {
        "image_size": SIDE,
        "patch_size": 8,
        "width": 32,
        "layers": 1,
        "head_width": 16,
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 1,
    },
}
CONFIG = {
    "model_cfg": MODEL_CFG,
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
    },
}


def tiny_model(seed: int = 0) -> open_clip.CLIP:
    torch.manual_seed(seed)
    return open_clip.CLIP(**MODEL_CFG)


def tiny_encoder(folder: Path, seed: int = 0, batch_size: int = 3) -> Encoder:
    save_encoder(tiny_model(seed), CONFIG, folder)
    return open_encoder(folder, "tiny", batch_size)


def draw(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_records(root: Path, count: int) -> pd.DataFrame:
    """Draw `count` images below `root` and return their records."""
    (root / "images").mkdir(parents=True)
    rows = []
    for number in range(count):
        image = draw(number)
        image.save(root / f"images/{number}.png")
        rows.append(
            {
                "record_id": f"roco:{number}",
                "source": "roco",
                "image": f"images/{number}.png",
                "text": f"caption number {number}",
                "group": f"article {number}",
                "licence": "CC BY 4.0",
                "access": "open",
                "image_sha": image_sha(image),
                "image_phash": "",
            }
        )
    return pd.DataFrame(rows)
