"""Settings and images for the tests of this folder."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jomed.catalogue import BenchmarkConfig
from jomed.records import Skipped
from jomed.settings import DataConfig, SampleLimits


def data_config(**changes: Any) -> DataConfig:
    values: dict[str, Any] = {
        "root": None,
        "world": None,
        "corpora": ("roco",),
        "min_text_chars": 5,
        "mimic_views": ("PA", "AP"),
        "duplicates": "keep",
        "record_text": None,
        "sample_limits": SampleLimits(train=None, val=None, test=None),
        "val_share": 0.5,
    }
    return DataConfig(**(values | changes))


def benchmark_config(**changes: Any) -> BenchmarkConfig:
    values: dict[str, Any] = {
        "name": "retina",
        "title": "RetinaMNIST",
        "loader": "medmnist",
        "task": "single_label",
        "path": "medmnist/retinamnist.npz",
        "md5": None,
        "url": "https://example.org/data",
        "licence": "CC BY 4.0",
        "access": "open",
        "question": "What grade?",
        "answers": ("0", "1", "2"),
        "label_names": ("none", "mild", "severe"),
        "paper_column": "Retina",
    }
    return BenchmarkConfig(**(values | changes))


def picture(seed: int, size: int = 8) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save_jpeg(path: Path, seed: int = 0, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).convert(mode).save(path, "JPEG", quality=95)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])


def reasons(skipped: list[Skipped]) -> dict[str, str]:
    return {item.item: item.reason for item in skipped}
