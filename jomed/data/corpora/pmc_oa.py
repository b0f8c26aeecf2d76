"""PMC-OA: subfigures and captions of PubMed Central articles, one line of JSON each."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from jomed.catalogue import CorpusConfig
from jomed.data.archives import list_members
from jomed.data.corpora.figures import Figure, to_record
from jomed.data.corpora.image_files import SUFFIXES, ImageFiles, list_folders
from jomed.data.sources import DataError, MissingData, locate, parse_json
from jomed.records import Record, Skipped
from jomed.settings import DataConfig

CAPTION_FILES = ("pmc_oa.jsonl", "pmc_oa.jsonl?download=true")
ARCHIVES = ("images.zip", "images.zip?download=true")
IMAGE_FOLDER = "caption_T060_filtered_top4_sep_v0_subfigures"


def load(root: Path, corpus: CorpusConfig, settings: DataConfig) -> Iterator[Record | Skipped]:
    """Read the caption file line by line, in its order.

    Images are taken from a folder or, without unpacking it, from the archive. The record id is the
    image name; a second row with that name gets "#2". The group is the article, whose licence is
    not part of the set. Raises DataError without captions or images.
    """
    captions = locate(root, CAPTION_FILES, corpus.title, corpus.url)
    images = _images(captions.parent, root, corpus.url)
    for place, row in _lines(captions):
        name = row.get("image") if isinstance(row, dict) else None
        caption = row.get("caption") if isinstance(row, dict) else None
        if not isinstance(name, str) or not isinstance(caption, str):
            detail = "not a JSON object with image and caption"
            yield Skipped(corpus.name, f"line {place}", "unreadable row", detail)
            continue
        figure = Figure(
            name=name.rpartition(".")[0] or name,
            place=f"line {place}",
            caption=caption,
            files=(name,),
            group=name.partition("_")[0],
            licence="per article",
        )
        record = to_record(figure, images, corpus, settings.min_text_chars)
        if isinstance(record, Record):
            count = images.count(record.image.rpartition("::")[2].rpartition("/")[2])
            if count > 1:
                record = replace(record, record_id=f"{record.record_id}#{count}")
        yield record


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, parsed row) of every line that is not blank; None where it is broken."""
    with path.open("rb") as lines:  # bytes: a line ends at \n only, and is decoded once
        for place, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            try:
                yield place, parse_json(line)
            except ValueError:
                yield place, None


def _images(home: Path, root: Path, url: str) -> ImageFiles:
    """The images in every place where people put them: folders first, then the archive."""
    folders = [home / IMAGE_FOLDER, home / "images" / IMAGE_FOLDER, home / "images", home]
    archives = [path for path in (home / name for name in ARCHIVES) if path.is_file()]
    packed = (pair for path in archives for pair in _list_archive(path, root, url))
    images = ImageFiles(chain(list_folders(folders, root), packed))
    if not len(images):
        raise MissingData(
            f"PMC-OA has no images: no {IMAGE_FOLDER} or images.zip in {home} ({url})."
        )
    return images


def _list_archive(archive: Path, root: Path, url: str) -> Iterator[tuple[str, str]]:
    address = archive.relative_to(root).as_posix()
    try:
        for member in list_members(archive):
            folder, slash, name = member.name.rpartition("/")
            if name.lower().endswith(SUFFIXES):
                yield f"{address}::{folder}{slash}", name
    except BadZipFile as error:
        raise DataError(f"{archive} is not a whole zip file; download it again ({url}).") from error
