"""Settings and images for the tests of this folder."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from jomed.catalogue import BenchmarkConfig
from jomed.config import read_corpus
from jomed.data.benchmarks import load_benchmark
from jomed.data.corpora import load_corpus
from jomed.data.sources import divide
from jomed.records import Record, Sample, Skipped
from jomed.settings import DataConfig, SampleLimits


def data_config(**changes: Any) -> DataConfig:
    values: dict[str, Any] = {
        "root": None,
        "world": None,
        "corpora": ("roco",),
        "min_text_chars": 5,
        "mimic_views": ("PA", "AP"),
        "mimic_splits": ("train",),
        "mimic_text": "findings_or_impression",
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
        "obtain": "Ask.",
        "expected": None,
        "question": "What grade?",
        "answers": ("0", "1", "2"),
        "label_names": ("none", "mild", "severe"),
        "paper_column": "Retina",
    }
    return BenchmarkConfig(**(values | changes))


def run_config(benchmark: BenchmarkConfig, data: DataConfig) -> Any:
    """The sections of a run that loaders look at."""
    corpora = tuple(read_corpus(name) for name in data.corpora)
    runtime = SimpleNamespace(threads=2)
    return SimpleNamespace(data=data, benchmark=benchmark, corpora=corpora, runtime=runtime)


def load_samples(
    root: Path, benchmark: BenchmarkConfig, settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    return load_benchmark(run_config(benchmark, settings), root)


def load_records(
    name: str, root: Path, settings: DataConfig, benchmark: BenchmarkConfig | None = None
) -> tuple[list[Record], list[Skipped]]:
    corpus = read_corpus(name)
    return divide(load_corpus(corpus, root, settings, benchmark or benchmark_config()))


def picture(seed: int, size: int = 8) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save_jpeg(path: Path, seed: int = 0, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).convert(mode).save(path, "JPEG", quality=95)


def jpeg(seed: int = 0, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    picture(seed).convert(mode).save(file, "JPEG", quality=95)
    return file.getvalue()


def save_parquet(
    path: Path, rows: list[tuple[bytes | None, str | None, str | None]], group: int = 2
) -> None:
    """Rows of (image, question, answer), `group` of them per row group; some images have a name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images, questions, answers = zip(*rows, strict=True)
    cells = [
        {"bytes": image, "path": f"{place}.jpg" if place % 2 else None}
        for place, image in enumerate(images)
    ]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = [pa.array(cells, kind), *(pa.array(c, pa.string()) for c in (questions, answers))]
    table = pa.Table.from_arrays(columns, names=["image", "question", "answer"])
    pq.write_table(table, path, row_group_size=group)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])


def reasons(skipped: list[Skipped]) -> dict[str, str]:
    return {item.item: item.reason for item in skipped}
