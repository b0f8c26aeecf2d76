"""One index out of several corpora: every image opened once, every loss accounted for."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from jomed.config import RunConfig
from jomed.data.corpora import load_corpus
from jomed.data.hashes import with_hashes
from jomed.records import Record, Skipped


@dataclasses.dataclass(frozen=True, slots=True)
class CorpusReport:
    """What became of the corpora.

    `records`: what an index is built from, in the order of the corpora and of their files.
    `skipped`: everything left out, with the reason.
    `duplicates`: record_id, source, duplicate_of (the first record with the same image and text).
    `counts`: one row per source: loaded (with a usable text and an image file), skipped (before
    that), repeated (id already taken), unreadable (image), duplicates, records.
    """

    records: list[Record]
    skipped: list[Skipped]
    duplicates: pd.DataFrame
    counts: pd.DataFrame


def load_corpora(config: RunConfig, root: Path) -> CorpusReport:
    """Load and merge the corpora of `config.data.corpora`, in that order.

    Every image is opened, in `config.runtime.threads` threads, which fills in `image_sha` and finds
    the broken ones. Records with the same image and text as an earlier one are duplicates;
    `config.data.duplicates` decides whether they stay. Raises DataError when a data set as a whole
    is missing or broken.
    """
    records: list[Record] = []
    skipped: list[Skipped] = []
    for name in config.data.corpora:
        found, left_out = load_corpus(name, root, config.data, config.benchmark)
        records += found
        skipped += left_out
    unique, repeated = _unique_ids(records)
    hashed, unreadable = with_hashes(unique, root, config.runtime.threads)
    duplicates = _duplicates(hashed)
    kept = hashed
    if config.data.duplicates == "drop_exact":
        copies = set(duplicates["record_id"])
        kept = [record for record in hashed if record.record_id not in copies]
    columns = {
        "loaded": Counter(record.source for record in records),
        "skipped": Counter(item.source for item in skipped),
        "repeated": Counter(item.source for item in repeated),
        "unreadable": Counter(item.source for item in unreadable),
        "duplicates": Counter(duplicates["source"]),
        "records": Counter(record.source for record in kept),
    }
    counts = [
        {"source": name, **{column: count[name] for column, count in columns.items()}}
        for name in config.data.corpora
    ]
    return CorpusReport(kept, skipped + repeated + unreadable, duplicates, pd.DataFrame(counts))


def _unique_ids(records: Sequence[Record]) -> tuple[list[Record], list[Skipped]]:
    kept: list[Record] = []
    skipped: list[Skipped] = []
    seen: set[str] = set()
    for record in records:
        if record.record_id in seen:
            reason = "repeated record id"
            skipped.append(Skipped(record.source, record.record_id, reason, record.image))
        else:
            seen.add(record.record_id)
            kept.append(record)
    return kept, skipped


def _duplicates(records: Sequence[Record]) -> pd.DataFrame:
    """record_id, source and first record of each that repeats an earlier image with its text."""
    first: dict[tuple[str, str], str] = {}
    rows = []
    for record in records:
        original = first.setdefault((record.image_sha, record.text), record.record_id)
        if original != record.record_id:
            rows.append((record.record_id, record.source, original))
    return pd.DataFrame(rows, columns=["record_id", "source", "duplicate_of"], dtype=str)
