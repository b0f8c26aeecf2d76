"""Benchmarks, one module per on-disk format."""

from pathlib import Path

from jomed.catalogue import BenchmarkConfig
from jomed.config import RunConfig
from jomed.data.benchmarks import medmnist, vindr_pcxr, vqa_rad
from jomed.records import Sample, Skipped
from jomed.settings import DataConfig

_LOADERS = {"medmnist": medmnist.load, "vindr_pcxr": vindr_pcxr.load, "vqa_rad": vqa_rad.load}


def load_benchmark(config: RunConfig, root: Path) -> tuple[list[Sample], list[Skipped]]:
    """The samples of the run's benchmark below the data root, and what was left out and why.

    Order: train, val, test, each in the order of its files. Raises DataError when the data set as a
    whole is missing or broken.
    """
    return load_samples(root, config.benchmark, config.data)


def load_samples(
    root: Path, benchmark: BenchmarkConfig, settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """The same from the two sections that matter."""
    return _LOADERS[benchmark.loader](root, benchmark, settings)
