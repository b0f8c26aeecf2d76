"""Whether an index finds what it should, and what a faster search would cost in recall."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from jomed.artifacts import artifact
from jomed.config import RunConfig
from jomed.retrieval.approximate import IvfSearch, build_ivf, recall_at
from jomed.retrieval.encoders import FloatArray
from jomed.retrieval.exact import ExactSearch
from jomed.retrieval.index import Index
from jomed.retrieval.shards import IntArray, Shards
from jomed.settings import HEAD_NAMES

MOST_QUERIES = 256
NEIGHBOURS = 10
RECORDS_PER_CELL = 39
"""Below this many vectors per cell faiss calls the training of an IVF index unsound."""


def self_retrieval(index: Index) -> pd.DataFrame:
    """Whether a stored vector, taken as the query, finds its own record with the highest score.

    Columns head, queries, found_first (share; records with equal vectors count as found).
    """
    rows = _spread(index.size)
    shares = []
    for head in HEAD_NAMES:
        queries = index.vectors(head, rows)
        best = index.search(queries, head, 1)[0][:, 0]
        own = np.einsum("nd,nd->n", queries, queries)
        shares.append((head, len(rows), float(np.mean(own >= best - 1e-6))))
    return pd.DataFrame(shares, columns=["head", "queries", "found_first"])


def search_trials(config: RunConfig) -> pd.DataFrame:
    """Exact search and IVF with more and more probed cells, on spread image vectors as queries.

    Columns setting, head, latency_ms (per query, one batch) and recall (share of the exact
    neighbours found). Needs faiss. The trial indexes are thrown away.
    """
    shards = Shards.open(artifact(config, "index").require())
    queries = shards.vectors("image", _spread(shards.count))
    cells = min(config.index.ivf_cells, max(1, shards.count // RECORDS_PER_CELL))
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for head in HEAD_NAMES
            for row in _trials(shards, head, queries, cells, Path(folder))
        ]
    return pd.DataFrame(rows, columns=["setting", "head", "latency_ms", "recall"])


def _trials(
    shards: Shards, head: str, queries: FloatArray, cells: int, folder: Path
) -> Iterator[tuple[str, str, float, float]]:
    k = min(NEIGHBOURS, shards.count)
    exact = ExactSearch(shards)
    latency, wanted = _timed(lambda: exact.search(queries, head, k)[1])
    yield "exact", head, latency / len(queries), 1.0
    probes = 1
    while probes <= cells:
        path = folder / f"{head}.{probes}.faiss"
        build_ivf(shards, head, cells, probes, path)
        search = IvfSearch(shards, head, path)
        latency, found = _timed(lambda search=search: search.probed(queries, k))  # type: ignore[misc]
        setting = f"IVF, {probes} of {cells} cells"
        yield setting, head, latency / len(queries), recall_at(found, wanted)
        probes *= 4


def _timed(run: Callable[[], IntArray]) -> tuple[float, IntArray]:
    """Milliseconds of the second run (the first one warms up), and its result."""
    run()
    start = time.perf_counter()
    result = run()
    return 1000 * (time.perf_counter() - start), result


def _spread(count: int) -> IntArray:
    return np.linspace(0, count - 1, min(count, MOST_QUERIES)).round().astype(np.int64)
