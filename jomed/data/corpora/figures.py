"""What corpora of published figures share: finding the images, and a record of a row."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jomed.catalogue import CorpusConfig
from jomed.data.sources import clean_text, text_problem
from jomed.records import Record, Skipped

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of a caption file: `place` is "FILE, line N", `files` names its image, best first."""

    name: str
    place: str
    caption: str
    files: tuple[str, ...]
    group: str
    licence: str


def list_images(folders: Iterable[Path], root: Path) -> dict[str, str]:
    """File name -> its folder from the data root on, "a/b/", of all images in these folders.

    Where several folders have a name the first wins; folders that are not there hold nothing.
    """
    found: dict[str, str] = {}
    for folder in folders:
        if folder.is_dir():
            prefix = f"{folder.relative_to(root).as_posix()}/".removeprefix("./")
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.lower().endswith(IMAGE_SUFFIXES) and entry.is_file():
                        found.setdefault(entry.name, prefix)
    return found


def to_record(
    figure: Figure, images: Mapping[str, str], corpus: CorpusConfig, min_text_chars: int
) -> Record | Skipped:
    """The record of a figure, or why there is none; `images` is what `list_images` returns."""
    text = clean_text(figure.caption)
    problem = text_problem(text, min_text_chars)
    if problem:
        detail = f"{figure.place}: {len(text)} characters"
        return Skipped(corpus.name, figure.name, problem, detail)
    file = next((file for file in figure.files if file in images), None)
    if file is None:
        detail = f"{figure.place}: no {' or '.join(figure.files)}"
        return Skipped(corpus.name, figure.name, "missing image", detail)
    return Record(
        record_id=f"{corpus.name}:{figure.name}",
        source=corpus.name,
        image=images[file] + file,
        text=text,
        group=figure.group,
        licence=figure.licence,
        access=corpus.access,
        image_sha="",
        image_phash="",
    )
