"""A corpus of one's own: one row of a table per image with its text."""

from collections.abc import Iterator
from pathlib import Path

from jomed.catalogue import CorpusConfig
from jomed.data.sources import clean_text, text_problem
from jomed.data.tables import read_rows
from jomed.records import Record, Skipped
from jomed.settings import DataConfig


def load(root: Path, corpus: CorpusConfig, settings: DataConfig) -> Iterator[Record | Skipped]:
    """Read the table at `corpus.path`, whose columns `corpus.columns` names, row by row.

    Without a column for it the id is the line, the group the record itself and the licence that of
    the corpus. Raises DataError for a table that cannot be read (see `read_rows`).
    """
    for row in read_rows(root, corpus):
        if isinstance(row, Skipped):
            yield row
            continue
        text = clean_text(row.cells["text"])
        problem = text_problem(text, settings.min_text_chars)
        if problem:
            yield Skipped(corpus.name, row.key, problem, f"{row.place}: {len(text)} characters")
            continue
        key = f"{corpus.name}:{row.key}"
        yield Record(
            record_id=key,
            source=corpus.name,
            image=row.image,
            text=text,
            group=row.cells.get("group", key),
            licence=row.cells.get("licence", corpus.licence),
            access=corpus.access,
            image_sha="",
            image_phash="",
        )
