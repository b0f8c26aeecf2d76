"""Stages 01 and 02: corpora to records, benchmark files to samples."""

from dataclasses import dataclass

import pandas as pd

from jomed.artifacts import artifact, data_root
from jomed.config import RunConfig
from jomed.data.benchmarks import load_benchmark
from jomed.data.merge import load_corpora
from jomed.records import (
    RECORD_SCHEMA,
    SAMPLE_SCHEMA,
    SKIPPED_SCHEMA,
    read_frame,
    write_rows,
)


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
    if not made.is_complete():
        report = load_corpora(config, data_root(config))
        with made.writing(profile=config.profile) as folder:
            write_rows(folder / "records.parquet", report.records, RECORD_SCHEMA)
            write_rows(folder / "skipped.parquet", report.skipped, SKIPPED_SCHEMA)
            report.duplicates.to_parquet(folder / "duplicates.parquet")
            report.counts.to_parquet(folder / "counts.parquet")
    return read_corpora(config)


def read_corpora(config: RunConfig) -> Corpora:
    """The finished artefact `corpus`; MissingArtifact where it is not there."""
    folder = artifact(config, "corpus").require()
    return Corpora(
        read_frame(folder / "records.parquet", RECORD_SCHEMA),
        read_frame(folder / "skipped.parquet", SKIPPED_SCHEMA),
        pd.read_parquet(folder / "duplicates.parquet"),
        pd.read_parquet(folder / "counts.parquet"),
    )


def prepare_samples(config: RunConfig) -> Samples:
    """Read the benchmark's files (artefact `samples`)."""
    made = artifact(config, "samples")
    if not made.is_complete():
        samples, skipped = load_benchmark(config, data_root(config))
        with made.writing(profile=config.profile) as folder:
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
