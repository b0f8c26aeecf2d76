"""One index out of several corpora: every image opened once, every loss accounted for."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from jomed.config import RunConfig
from jomed.data.corpora import load_corpus
from jomed.data.hashes import UNREADABLE, HashLog, is_near, with_hashes
from jomed.records import Duplicate, Record, Skipped

Item = Record | Skipped | Duplicate
REPEATED = "repeated record id"

_DROPPED: dict[str, tuple[str, ...]] = {
    "keep": (),
    "drop_exact": ("exact",),
    "drop_near": ("exact", "near"),
}


def merge_corpora(config: RunConfig, root: Path, log: HashLog | None = None) -> Iterator[Item]:
    """Yield the records of `config.data.corpora`, in that order, and all that was left out.

    Every image is opened, in `config.runtime.threads` threads, which fills in its hashes and finds
    the broken ones. A record that has text and image of an earlier one is a duplicate as well;
    `config.data.duplicates` decides whether it is also a record. Memory grows by a few hundred
    bytes per record. An interrupted run goes on with the hashes of its `log`. Raises DataError when
    a data set as a whole is missing or broken.
    """
    finder = _DuplicateFinder(_DROPPED[config.data.duplicates])
    for item in with_hashes(_unique_ids(config, root), root, config.runtime.threads, log):
        if isinstance(item, Skipped):
            yield item
            continue
        duplicate = finder.find(item)
        if duplicate is not None:
            yield duplicate
        if duplicate is None or not duplicate.dropped:
            yield item


class CorpusCounts:
    """Counts per source of what `merge_corpora` yields.

    Columns: loaded (with a usable text and an image file), skipped (before that), repeated (id
    already taken), unreadable (image), exact and near (duplicates that were dropped), records.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, item: Item) -> None:
        """Count one item."""
        self._counts[item.source, _column(item)] += 1

    def table(self, sources: tuple[str, ...]) -> pd.DataFrame:
        """One row per source; loaded = repeated + unreadable + exact + near + records."""
        after = ["repeated", "unreadable", "exact", "near", "records"]
        rows = []
        for source in sources:
            counts = {column: self._counts[source, column] for column in ("skipped", *after)}
            loaded = sum(counts[column] for column in after)
            rows.append({"source": source, "loaded": loaded, **counts})
        return pd.DataFrame(rows)


def _column(item: Item) -> str:
    if isinstance(item, Record):
        return "records"
    if isinstance(item, Duplicate):
        return item.kind if item.dropped else "kept duplicates"
    return {REPEATED: "repeated", UNREADABLE: "unreadable"}.get(item.reason, "skipped")


def _unique_ids(config: RunConfig, root: Path) -> Iterator[Record | Skipped]:
    seen: set[str] = set()
    for corpus in config.corpora:
        for item in load_corpus(corpus, root, config.data, config.benchmark):
            if isinstance(item, Skipped):
                yield item
            elif item.record_id in seen:
                yield Skipped(item.source, item.record_id, REPEATED, item.image)
            else:
                seen.add(item.record_id)
                yield item


class _DuplicateFinder:
    """Remembers image hashes and ids of all records so far, by text."""

    def __init__(self, dropped: tuple[str, ...]) -> None:
        self._dropped = dropped
        self._by_text: dict[bytes, list[tuple[str, int, str]]] = {}

    def find(self, record: Record) -> Duplicate | None:
        """The duplicate that `record` is, if any: an exact one, else the first near one."""
        key = hashlib.blake2b(record.text.encode(), digest_size=8).digest()
        earlier = self._by_text.setdefault(key, [])
        bits = int(record.image_phash, 16)
        copies = {"exact": [name for sha, _, name in earlier if sha == record.image_sha]}
        copies["near"] = [name for _, other, name in earlier if is_near(bits, other)]
        if not copies["exact"]:
            earlier.append((record.image_sha, bits, record.record_id))
        for kind, names in copies.items():
            if names:
                dropped = kind in self._dropped
                return Duplicate(record.record_id, record.source, names[0], kind, dropped)
        return None
