"""ROCOv2: radiology figures and captions of PubMed Central articles, one CSV file per split."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from jomed.catalogue import CorpusConfig
from jomed.data.corpora.figures import Figure, to_record
from jomed.data.corpora.image_files import ImageFiles, list_folders
from jomed.data.sources import DataError, locate
from jomed.data.tables import csv_table
from jomed.records import Record, Skipped
from jomed.settings import DataConfig

SPLITS = ("train", "valid", "test")
LICENCES = "license_information.csv"

_CAPTIONS = "{}_captions.csv"
_IMAGE_FOLDERS = ("{0}", "{0}_images/{0}", "{0}_images")  # as people unpack the archives
_ARTICLE_COLUMNS = ("pmcid", "pmc_id")
_LICENCE_COLUMNS = ("license", "licence", "attribution")


def load(root: Path, corpus: CorpusConfig, settings: DataConfig) -> Iterator[Record | Skipped]:
    """Read the captions of all splits, in the order of the files.

    Group and licence are those of the article where the licence file says which it is. Its columns
    are not documented, so they are looked up by their likely names. Where there are none the
    licence is "unknown", as a guessed one would be worse than none, and the figure is a group of
    its own. A split that is not there is reported. Raises DataError when no split is there or a
    file is no such table.
    """
    below = root / (corpus.path or "")
    marks = [_CAPTIONS.format(split) for split in SPLITS]
    home = locate(below, marks, corpus.title, corpus.url).parent
    rights = _rights(home / LICENCES)
    for split, mark in zip(SPLITS, marks, strict=True):
        if not (home / mark).is_file():
            yield Skipped(corpus.name, split, "missing split", f"no {mark} beside the others")
            continue
        folders = [home / name.format(split) for name in _IMAGE_FOLDERS]
        images = ImageFiles(list_folders(folders, root))
        for item in _figures(home / mark, rights, corpus):
            if isinstance(item, Skipped):
                yield item
            else:
                yield to_record(item, images, corpus, settings.min_text_chars)


def _figures(
    path: Path, rights: Mapping[str, tuple[str, str]], corpus: CorpusConfig
) -> Iterator[Figure | Skipped]:
    header, names, rows = csv_table(path)
    columns = {name.lower(): name for name in names}
    if not {"id", "caption"} <= columns.keys():
        found = ", ".join(names)
        raise DataError(f"{header} has no columns ID and Caption, but {found}: see {corpus.url}.")
    for line, row in rows:
        place = f"{path.name}, line {line}"
        if isinstance(row, str):
            yield Skipped(corpus.name, f"line {line}", "unreadable row", f"{place}: {row}")
            continue
        name = row[columns["id"]].strip()
        article, licence = rights.get(name, ("", ""))
        yield Figure(
            name=name,
            place=place,
            caption=row[columns["caption"]],
            files=(f"{name}.jpg",),
            group=article or name,
            licence=licence or "unknown",
        )


def _rights(path: Path) -> dict[str, tuple[str, str]]:
    """ID -> (article, licence), each "" where the file has no column for it."""
    if not path.is_file():
        return {}
    _, names, rows = csv_table(path)
    columns = {name.lower(): name for name in names}
    article = next((columns[name] for name in _ARTICLE_COLUMNS if name in columns), "")
    licence = next((columns[name] for name in _LICENCE_COLUMNS if name in columns), "")
    return {
        # "CC BY [Author et al. (2020)]": who is to be named stays in the file
        row[columns["id"]].strip(): (
            row.get(article, "").strip(),
            row.get(licence, "").partition("[")[0].strip(),
        )
        for _, row in rows
        if "id" in columns and not isinstance(row, str)
    }
