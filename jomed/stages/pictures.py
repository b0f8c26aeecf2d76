"""Tiles for the picture grids of the notebooks: records, samples, and neighbours of a query."""

from typing import TYPE_CHECKING

import pandas as pd

from jomed.artifacts import data_root
from jomed.config import RunConfig
from jomed.data.images import open_image
from jomed.records import Record, Sample, rows_of
from jomed.reporting.figures import Tile
from jomed.settings import HEAD_NAMES

if TYPE_CHECKING:
    from jomed.stages.index import Finder  # with torch: seconds for those who show records only


def record_tiles(config: RunConfig, records: pd.DataFrame, per_source: int) -> list[Tile]:
    """The first records of every source, one row per source, with their texts."""
    shown = records.groupby("source", sort=False).head(per_source)
    return [
        _record_tile(config, record, record.source, record.source)
        for record in rows_of(shown, Record)
    ]


def sample_tiles(config: RunConfig, samples: pd.DataFrame, per_split: int) -> list[Tile]:
    """Samples spread over each split, one row per split, with their gold answers."""
    tiles = []
    for split, own in samples.groupby("split", sort=False):
        step = max(1, len(own) // per_split)
        for sample in rows_of(own.iloc[: step * per_split : step], Sample):
            tiles.append(_sample_tile(config, sample, str(split), f"{split}: {sample.answer}"))
    return tiles


def neighbour_tiles(config: RunConfig, finder: "Finder", sample_id: str, count: int) -> list[Tile]:
    """A query and what both untrained heads find for it: one row per head, the query first."""
    samples, records = finder.queries.samples, finder.records
    query = rows_of(samples[samples["sample_id"] == sample_id], Sample)[0]
    tiles = []
    for head in HEAD_NAMES:
        found = finder.find(finder.untrained(head), count)[sample_id]
        chosen = records.set_index("record_id", drop=False).loc[list(found.record_ids)]
        tiles.append(_sample_tile(config, query, head, f"query: {query.answer}"))
        for record, score in zip(rows_of(chosen, Record), found.scores, strict=True):
            tiles.append(_record_tile(config, record, head, f"{head} head, score {score:.2f}"))
    return tiles


def _record_tile(config: RunConfig, record: Record, row: str, title: str) -> Tile:
    image = open_image(record.image, data_root(config))
    return Tile(row, image, title, record.text, record.access)


def _sample_tile(config: RunConfig, sample: Sample, row: str, title: str) -> Tile:
    image = open_image(sample.image, data_root(config))
    text = sample.question if config.benchmark.task == "vqa" else ""
    return Tile(row, image, title, text, config.benchmark.access)
