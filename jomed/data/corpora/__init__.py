"""Corpora of image-text pairs that an index is built from, one module per data set."""

from collections.abc import Iterator
from pathlib import Path

from jomed.catalogue import BenchmarkConfig, CorpusConfig
from jomed.data.corpora import mimic_cxr, pmc_oa, roco, rocov2, table, training_split
from jomed.records import Record, Skipped
from jomed.settings import DataConfig

_LOADERS = {
    "roco": roco.load,
    "rocov2": rocov2.load,
    "pmc_oa": pmc_oa.load,
    "mimic_cxr": mimic_cxr.load,
    "table": table.load,
}


def load_corpus(
    corpus: CorpusConfig, root: Path, settings: DataConfig, benchmark: BenchmarkConfig
) -> Iterator[Record | Skipped]:
    """Yield one corpus, row by row; only "training_split" looks at the benchmark.

    No image is opened: the hashes are empty (see `merge`). Raises DataError when the data set as a
    whole is missing or broken, at the latest with the last row.
    """
    if corpus.loader == "training_split":
        return training_split.load(root, settings, benchmark)
    return _LOADERS[corpus.loader](root, corpus, settings)
