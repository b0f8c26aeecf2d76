"""Benchmarks, one module per on-disk format."""

from pathlib import Path

from jomed.catalogue import BenchmarkConfig
from jomed.config import RunConfig
from jomed.data.benchmarks import (
    brset,
    medmnist,
    path_vqa,
    slake,
    table,
    vindr_pcxr,
    vqa_rad,
)
from jomed.data.benchmarks.common import limit
from jomed.data.hashes import with_hashes
from jomed.data.sources import divide
from jomed.progress import track
from jomed.records import Sample, Skipped
from jomed.settings import DataConfig

_LOADERS = {
    "medmnist": medmnist.load,
    "vindr_pcxr": vindr_pcxr.load,
    "brset": brset.load,
    "vqa_rad": vqa_rad.load,
    "slake": slake.load,
    "path_vqa": path_vqa.load,
    "table": table.load,
}


def load_benchmark(config: RunConfig, root: Path) -> tuple[list[Sample], list[Skipped]]:
    """The samples of the run's benchmark below the data root, and what was left out and why.

    Every image is opened, which fills in its hashes and finds the broken ones. Order: train, val,
    test, each in the order of its files. Raises DataError when the data set as a whole is missing
    or broken.
    """
    samples, skipped = list_samples(root, config.benchmark, config.data)
    hashed = with_hashes(samples, root, config.runtime.threads)
    progress = track(hashed, f"opening images of {config.benchmark.title}", total=len(samples))
    kept, unreadable = divide(progress)
    return kept, skipped + unreadable


def list_samples(
    root: Path, benchmark: BenchmarkConfig, settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """The same as listed in the files: no image has been opened, image hashes are empty."""
    samples, skipped = _LOADERS[benchmark.loader](root, benchmark, settings)
    return limit(samples, settings.sample_limits), skipped
