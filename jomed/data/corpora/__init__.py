"""Corpora of image-text pairs that an index is built from, one module per data set."""

from pathlib import Path

from jomed.catalogue import BenchmarkConfig
from jomed.data.corpora import mimic_cxr, pmc_oa, roco, training_split
from jomed.records import Record, Skipped
from jomed.settings import CorpusName, DataConfig

_LOADERS = {"roco": roco.load, "pmc_oa": pmc_oa.load, "mimic_cxr": mimic_cxr.load}


def load_corpus(
    name: CorpusName, root: Path, settings: DataConfig, benchmark: BenchmarkConfig
) -> tuple[list[Record], list[Skipped]]:
    """Load one corpus by name; only "training_split" looks at the benchmark.

    `image_sha` is empty where finding it would mean opening the image (see `merge`). Raises
    DataError when the data set as a whole is missing or broken.
    """
    if name == "training_split":
        return training_split.load(root, settings, benchmark)
    return _LOADERS[name](root, settings)
