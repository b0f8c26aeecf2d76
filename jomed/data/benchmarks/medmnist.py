"""MedMNIST: one npz file with images and labels of three splits."""

import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from jomed.catalogue import BenchmarkConfig
from jomed.data.npz import read_array
from jomed.data.sources import DataError, MissingData, file_md5
from jomed.records import SPLITS, Sample, Skipped
from jomed.settings import DataConfig

SMALLEST = 28
"""Image side in pixels of the file without a size in its name."""


def load(
    root: Path, benchmark: BenchmarkConfig, _settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """Read any size of a single-label set; label i is said as `benchmark.answers[i]`.

    The file does not name patients, so each image is its own group. Where the benchmark gives an
    MD5 sum the file must have it, and in any case images of `benchmark.size`. Raises DataError for
    a file that is missing, broken, another one than expected or not in this format.
    """
    address = _address(benchmark)
    path = root / address
    _check_file(path, benchmark)
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for split in SPLITS:
        labels = _read_labels(path, split, benchmark)
        for place, label in enumerate(labels.tolist()):
            sample_id = f"{benchmark.name}:{split}/{place}"
            if not 0 <= label < len(benchmark.answers):
                detail = f"{label} is not in 0..{len(benchmark.answers) - 1}"
                skipped.append(Skipped(benchmark.name, sample_id, "unknown label", detail))
                continue
            samples.append(
                Sample(
                    sample_id=sample_id,
                    benchmark=benchmark.name,
                    split=split,
                    image=f"{address}::{split}_images/{place}",
                    question=benchmark.question or "",
                    answer=benchmark.answers[label],
                    answer_type="label",
                    question_type="",
                    group=sample_id,
                    image_sha="",
                    image_phash="",
                )
            )
    return samples, skipped


def _address(benchmark: BenchmarkConfig) -> str:
    """The file of the chosen size; that of 28 px has no size in its name."""
    path = PurePosixPath(benchmark.path)
    larger = benchmark.size != SMALLEST
    return str(path.with_stem(f"{path.stem}_{benchmark.size}") if larger else path)


def _md5(benchmark: BenchmarkConfig) -> str | None:
    return (benchmark.md5 or {}).get(benchmark.size)


def _source(benchmark: BenchmarkConfig) -> str:
    known = _md5(benchmark)
    md5 = f" (MD5 {known})" if known else ""
    return f"{PurePosixPath(_address(benchmark)).name} from {benchmark.url}{md5}"


def _check_file(path: Path, benchmark: BenchmarkConfig) -> None:
    if not path.is_file():
        raise MissingData(f"{path} is missing; download {_source(benchmark)} to that place.")
    known = _md5(benchmark)
    if known and (md5 := file_md5(path)) != known:
        raise DataError(
            f"{path} has MD5 {md5}, not that of the official file: a broken download or another "
            f"file. Download {_source(benchmark)}, or, if this file is the one you mean, set "
            "benchmark.md5 to null."
        )


def _read_labels(path: Path, split: str, benchmark: BenchmarkConfig) -> np.ndarray:
    """Labels (N,) int of one split, whose images are uint8 (N, S, S) or (N, S, S, 3)."""
    try:
        images, labels = (read_array(path, f"{split}_{part}") for part in ("images", "labels"))
    except KeyError as error:
        raise DataError(f"{path} is not a MedMNIST file: {error}.") from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read ({error}): a truncated download? Delete it and download "
            f"{_source(benchmark)} again."
        ) from error
    depth = images.shape[3:]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or depth not in ((), (3,)):
        raise DataError(
            f"{path}: {split}_images is {images.dtype} {images.shape}, not uint8 images."
        )
    side = benchmark.size
    if len(images) and images.shape[1:3] != (side, side):
        height, width = images.shape[1:3]
        raise DataError(
            f"{path}: {split}_images are {height} x {width} pixels, but benchmark.size is {side}. "
            f"Set it to the size of the file, or put {_source(benchmark)} in its place."
        )
    if labels.size != len(images):
        raise DataError(
            f"{path}: {len(images)} {split} images but labels of shape {labels.shape}; "
            "each image needs exactly one label."
        )
    if labels.dtype.kind not in "iuf" or (labels % 1 != 0).any():
        raise DataError(f"{path}: {split}_labels is {labels.dtype}, not all of it whole numbers.")
    return labels.reshape(-1).astype(int)
