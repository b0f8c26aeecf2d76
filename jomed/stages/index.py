"""Stage 03: records to a search index, and finding candidates in it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from jomed.artifacts import artifact, data_root, stamp
from jomed.config import RunConfig
from jomed.evaluation.fusion import HeadList
from jomed.phantom.models import provide_encoder
from jomed.records import SKIPPED_SCHEMA, read_frame, write_rows
from jomed.retrieval.encoders import Encoder
from jomed.retrieval.head import QueryHead
from jomed.retrieval.index import Index, build_index
from jomed.settings import HEAD_NAMES, HeadName
from jomed.stages.data import read_corpora
from jomed.training.mining import Queries

BATCH = 512


def prepare_index(config: RunConfig, encoder: Encoder) -> Index:
    """Embed all records (artefact `index`); a killed build goes on at its last shard."""
    made = artifact(config, "index")
    if not made.is_complete():
        torch.set_num_threads(config.runtime.threads)
        records = read_corpora(config).records
        with made.resuming(**stamp(config)) as folder:
            skipped = build_index(records, encoder, data_root(config), folder, config.index)
            write_rows(folder / "skipped.parquet", skipped, SKIPPED_SCHEMA)
    return Index.open(made.require())


def skipped_in_index(config: RunConfig) -> pd.DataFrame:
    """Records that the finished index left out, with the reason."""
    return read_frame(artifact(config, "index").require() / "skipped.parquet", SKIPPED_SCHEMA)


class Finder:
    """Finds candidates for samples: encoder, index and the samples' query features together."""

    def __init__(self, config: RunConfig, samples: pd.DataFrame) -> None:
        self.encoder = provide_encoder(config)
        self.records = read_corpora(config).records
        self.index = Index.open(artifact(config, "index").require())
        self.index.require_encoder(self.encoder)
        data = (data_root(config), self.records, self.index)
        self.queries = Queries(samples, self.encoder, *data, config.benchmark.same_groups)
        self._listed: dict[tuple[HeadName, Path | None, int], dict[str, HeadList]] = {}

    def untrained(self, head: HeadName) -> QueryHead:
        """A head as it is before stage 2: exactly the frozen encoder."""
        return QueryHead(self.encoder.image_tower, head, alpha=0.0)

    def trained(self, path: Path) -> QueryHead:
        """A head as stage 2 left it."""
        return QueryHead.load(path, self.encoder.image_tower)

    def embed(self, head: QueryHead) -> np.ndarray:
        """e(x) of all samples, float32 (N, d)."""
        positions = np.arange(len(self.queries.ids))
        with torch.inference_mode():
            parts = [
                self.queries.embed(head, positions[start : start + BATCH]).cpu().numpy()
                for start in range(0, len(positions), BATCH)
            ]
        return np.concatenate(parts)

    def find(self, head: QueryHead, count: int) -> dict[str, HeadList]:
        """The `count` best records of every sample under a head, self-matches excluded."""
        scores, rows = self.index.search(self.embed(head), head.head, count, self.queries.exclude)
        ids = self.index.record_ids
        return {
            sample_id: HeadList(tuple(ids[row] for row in found), tuple(values))
            for sample_id, found, values in zip(
                self.queries.ids, rows.tolist(), scores.tolist(), strict=True
            )
        }

    def listed(self, head: HeadName, weights: Path | None, count: int) -> dict[str, HeadList]:
        """`find` with the head of a weight file, None for the untrained one; searched once.

        Several methods share a head: each head is read, embedded and searched the first time.
        """
        key = (head, weights, count)
        if key not in self._listed:
            found = self.untrained(head) if weights is None else self.trained(weights)
            self._listed[key] = self.find(found, count)
        return self._listed[key]

    def untrained_candidates(self, count: int) -> dict[str, list[str]]:
        """Record ids that both untrained heads bring to each sample (stage 1; each id once)."""
        lists = [self.listed(head, None, count) for head in HEAD_NAMES]
        return {sample_id: joined(sample_id, lists) for sample_id in self.queries.ids}


def joined(sample_id: str, lists: Iterable[Mapping[str, HeadList]]) -> list[str]:
    """The record ids of several heads' lists for one sample, each once, in order."""
    return list(dict.fromkeys(i for found in lists for i in found[sample_id].record_ids))
