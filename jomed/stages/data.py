"""Stages 01 and 02: corpora to records, benchmark files to samples."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from jomed.artifacts import Artifact, artifact, data_root
from jomed.catalogue import BenchmarkConfig, CorpusConfig
from jomed.config import RunConfig
from jomed.data.benchmarks import load_benchmark
from jomed.data.hashes import HashLog
from jomed.data.merge import CorpusCounts, merge_corpora
from jomed.data.sources import DataError, file_md5
from jomed.progress import track
from jomed.records import (
    DUPLICATE_SCHEMA,
    RECORD_SCHEMA,
    SAMPLE_SCHEMA,
    SKIPPED_SCHEMA,
    Duplicate,
    Record,
    Skipped,
    read_frame,
    row_writer,
    write_rows,
)

_TABLES = {
    "records": (Record, RECORD_SCHEMA),
    "skipped": (Skipped, SKIPPED_SCHEMA),
    "duplicates": (Duplicate, DUPLICATE_SCHEMA),
}


@dataclass(frozen=True, slots=True)
class Corpora:
    """Merged records with everything that was left out, and counts per source."""

    records: pd.DataFrame
    skipped: pd.DataFrame
    duplicates: pd.DataFrame
    counts: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of a benchmark, all splits, with everything that was left out."""

    samples: pd.DataFrame
    skipped: pd.DataFrame


def prepare_corpora(config: RunConfig) -> Corpora:
    """Read and merge the profile's corpora (artefact `corpus`)."""
    made = artifact(config, "corpus")
    tables = _own_tables(config, config.corpora)
    if made.is_complete():
        _require_same(made, tables)
    else:
        access = ", ".join(config.access)
        with made.resuming(profile=config.profile, access=access, tables=tables) as folder:
            _write_corpora(config, folder)
    return read_corpora(config)


def _own_tables(
    config: RunConfig, parts: Sequence[CorpusConfig | BenchmarkConfig]
) -> dict[str, str]:
    """MD5 sums of the tables of one's own data, which are edited as published data are not."""
    paths = [part.path for part in parts if part.loader == "table" and part.path is not None]
    root = data_root(config) if paths else None
    return {path: file_md5(root / path) for path in paths if root and (root / path).is_file()}


def _require_same(made: Artifact, tables: Mapping[str, str]) -> None:
    written = made.manifest()["provenance"].get("tables", {})
    changed = [path for path, md5 in tables.items() if written.get(path) != md5]
    if changed:
        raise DataError(
            f"{', '.join(changed)} has changed since {made.path} was made. Delete that folder, and "
            "what was made from it, or set runs_dir to a new one."
        )


def _write_corpora(config: RunConfig, folder: Path) -> None:
    """Write all tables anew; an interrupted call leaves the image hashes, which take the time."""
    counts, log = CorpusCounts(), folder / "hashes.jsonl"
    with ExitStack() as stack:
        add = {
            cls: stack.enter_context(row_writer(folder / f"{name}.parquet", schema))
            for name, (cls, schema) in _TABLES.items()
        }
        items = merge_corpora(config, data_root(config), HashLog(log))
        for item in track(items, "reading records"):
            add[type(item)](item)
            counts.add(item)
    counts.table(config.data.corpora).to_parquet(folder / "counts.parquet")
    log.unlink()


def read_corpora(config: RunConfig) -> Corpora:
    """The finished artefact `corpus`; MissingArtifact where it is not there."""
    folder = artifact(config, "corpus").require()
    return Corpora(
        read_frame(folder / "records.parquet", RECORD_SCHEMA),
        read_frame(folder / "skipped.parquet", SKIPPED_SCHEMA),
        read_frame(folder / "duplicates.parquet", DUPLICATE_SCHEMA),
        pd.read_parquet(folder / "counts.parquet"),
    )


def prepare_samples(config: RunConfig) -> Samples:
    """Read the benchmark's files (artefact `samples`)."""
    made = artifact(config, "samples")
    tables = _own_tables(config, [config.benchmark])
    if made.is_complete():
        _require_same(made, tables)
    else:
        samples, skipped = load_benchmark(config, data_root(config))
        access = ", ".join(config.access)
        with made.writing(profile=config.profile, access=access, tables=tables) as folder:
            write_rows(folder / "samples.parquet", samples, SAMPLE_SCHEMA)
            write_rows(folder / "skipped.parquet", skipped, SKIPPED_SCHEMA)
    return read_samples(config)


def read_samples(config: RunConfig) -> Samples:
    """The finished artefact `samples`; MissingArtifact where it is not there."""
    folder = artifact(config, "samples").require()
    return Samples(
        read_frame(folder / "samples.parquet", SAMPLE_SCHEMA),
        read_frame(folder / "skipped.parquet", SKIPPED_SCHEMA),
    )
