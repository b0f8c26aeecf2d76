"""ROCO: radiology figures and captions of PubMed Central articles."""

import os
from collections.abc import Iterator
from pathlib import Path

from jomed.catalogue import CorpusConfig
from jomed.data.sources import MissingData, clean_text, locate, read_table, text_problem
from jomed.records import Record, Skipped
from jomed.settings import DataConfig

SPLITS = ("train", "validation", "test")
"""An index may hold all three; folders of other figures ("non-radiology") are not read."""

_MARK = "radiology/captions.txt"


def load(root: Path, corpus: CorpusConfig, settings: DataConfig) -> Iterator[Record | Skipped]:
    """Read the radiology captions of all splits, in the order of the files.

    The group is the article, so that figures of one article are known to
    belong together; the licence is that of the article. A split that is not there is reported.
    Raises DataError when no split is there.
    """
    marks = [f"{split}/{_MARK}" for split in SPLITS]
    marks += [f"data/{mark}" for mark in marks]
    home = locate(root, marks, corpus.title, corpus.url).parents[2]
    for split in SPLITS:
        if (home / split / _MARK).is_file():
            yield from _rows(home / split / "radiology", root, corpus, settings.min_text_chars)
        else:
            yield Skipped(corpus.name, split, "missing split", f"no {_MARK} in its folder")


def _rows(
    folder: Path, root: Path, corpus: CorpusConfig, min_text_chars: int
) -> Iterator[Record | Skipped]:
    places = _places(folder, corpus.url)
    images = _images(folder)
    prefix = (folder / "images").relative_to(root).as_posix()
    with (folder / "captions.txt").open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:  # no CSV reader: captions hold unbalanced quotes
            name, _, caption = line.partition("\t")
            name = name.strip()
            if not name:
                continue
            text = clean_text(caption)
            pmc_name, licence = places.get(name, ("", ""))
            image = next((file for file in (f"{name}.jpg", pmc_name) if file in images), None)
            problem = text_problem(text, min_text_chars)
            if problem:
                yield Skipped(corpus.name, name, problem, f"{len(text)} characters")
            elif image is None:
                tried = " or ".join(filter(None, (f"{name}.jpg", pmc_name)))
                yield Skipped(corpus.name, name, "missing image", f"no {tried} in {prefix}")
            else:
                yield Record(
                    record_id=f"{corpus.name}:{name}",
                    source=corpus.name,
                    image=f"{prefix}/{image}",
                    text=text,
                    group=pmc_name.partition("_")[0] or name,
                    licence=licence or "unknown",
                    access=corpus.access,
                    image_sha="",
                    image_phash="",
                )


def _places(folder: Path, url: str) -> dict[str, tuple[str, str]]:
    """ROCO name -> (PMC file name, licence). Trees of before 2022 name images by the former."""
    path = folder / "licences.txt"
    if not path.is_file():
        raise MissingData(f"{path} is missing: it holds the licences. Get it from {url}.")
    table = read_table(path, ["roco_id", "pmc_id", "cc"])
    pairs = zip(table["pmc_id"], table["cc"], strict=True)
    return dict(zip(table["roco_id"], pairs, strict=True))


def _images(folder: Path) -> set[str]:
    path = folder / "images"
    return set(os.listdir(path)) if path.is_dir() else set()
