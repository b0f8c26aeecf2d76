"""PMC-OA: subfigures and captions of PubMed Central articles, one line of JSON each."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jomed.catalogue import CorpusConfig
from jomed.data.corpora.figures import IMAGE_SUFFIXES, list_images
from jomed.data.sources import DataError, clean_text, locate, text_problem
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
    seen: dict[str, int] = {}
    for place, row in _lines(captions):
        name = row.get("image") if isinstance(row, dict) else None
        caption = row.get("caption") if isinstance(row, dict) else None
        if not isinstance(name, str) or not isinstance(caption, str):
            detail = "not a JSON object with image and caption"
            yield Skipped(corpus.name, f"line {place}", "unreadable row", detail)
            continue
        text = clean_text(caption)
        problem = text_problem(text, settings.min_text_chars)
        folder = images.get(name)
        if problem or folder is None:
            detail = f"line {place}" + (f", {len(text)} characters" if problem else "")
            yield Skipped(corpus.name, name, problem or "missing image", detail)
            continue
        stem = name.rpartition(".")[0] or name
        seen[stem] = count = seen.get(stem, 0) + 1
        key = f"{corpus.name}:{stem}" if count == 1 else f"{corpus.name}:{stem}#{count}"
        article = name.partition("_")[0]
        yield Record(
            record_id=key,
            source=corpus.name,
            image=folder + name,
            text=text,
            group=article,
            licence="per article",
            access=corpus.access,
            image_sha="",
            image_phash="",
        )


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, parsed row) of every line that is not blank; None where it is broken."""
    with path.open("rb") as lines:  # bytes: a line ends at \n only, and is decoded once
        for place, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            try:
                yield place, json.loads(line)
            except ValueError:
                yield place, None


def _images(home: Path, root: Path, url: str) -> dict[str, str]:
    """File name -> what its address has before it, over every place where people put images."""
    folders = [home / IMAGE_FOLDER, home / "images" / IMAGE_FOLDER, home / "images", home]
    found = list_images(folders, root)
    for archive in (home / name for name in ARCHIVES):
        if archive.is_file():
            _add_archive(found, archive, root, url)
    if not found:
        raise DataError(f"PMC-OA has no images: no {IMAGE_FOLDER} or images.zip in {home} ({url}).")
    return found


def _add_archive(found: dict[str, str], archive: Path, root: Path, url: str) -> None:
    try:
        with zipfile.ZipFile(archive) as members:
            names = members.namelist()
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive} is not a whole zip file; download it again ({url}).") from error
    address = archive.relative_to(root).as_posix()
    prefixes: dict[str, str] = {}  # one string per folder, not one per image
    for member in names:
        folder, slash, name = member.rpartition("/")
        if name.lower().endswith(IMAGE_SUFFIXES):
            prefix = prefixes.setdefault(folder, f"{address}::{folder}{slash}")
            found.setdefault(name, prefix)
