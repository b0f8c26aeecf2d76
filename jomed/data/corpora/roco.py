"""ROCO: radiology figures and captions of PubMed Central articles."""

from collections.abc import Iterator
from pathlib import Path

from jomed.catalogue import CorpusConfig
from jomed.data.corpora.figures import Figure, to_record
from jomed.data.corpora.image_files import ImageFiles, list_folders
from jomed.data.sources import MissingData, locate, read_table
from jomed.records import Record, Skipped
from jomed.settings import DataConfig

SPLITS = ("train", "validation", "test")
"""An index may hold all three; folders of other figures ("non-radiology") are not read."""

NO_LICENCE = "missing licence"
_MARK, _LICENCES = "radiology/captions.txt", "licences.txt"


def load(root: Path, corpus: CorpusConfig, settings: DataConfig) -> Iterator[Record | Skipped]:
    """Read the radiology captions of all splits, in the order of the files.

    The group is the article, so that figures of one article are known to
    belong together; the licence is that of the article. In the published files every name has its
    row of licences: one without, as a file that was cut short leaves them, is skipped, for neither
    its licence nor its article is known. A split that is not there is reported. Raises DataError
    when no split is there.
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
    images = ImageFiles(list_folders([folder / "images"], root))
    path = folder / "captions.txt"
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            # no CSV reader: captions hold unbalanced quotes
            name, _, caption = line.partition("\t")
            name = name.strip()
            if not name:
                continue
            place = f"{folder.parent.name}/{_MARK}, line {number}"
            pmc_name, licence = places.get(name, ("", ""))
            if not pmc_name or not licence:
                detail = f"{place}: no whole row in {_LICENCES}; download that file again"
                yield Skipped(corpus.name, name, NO_LICENCE, detail)
                continue
            figure = Figure(
                name=name,
                place=place,
                caption=caption,
                files=(f"{name}.jpg", pmc_name),
                group=pmc_name.partition("_")[0],
                licence=licence,
            )
            yield to_record(figure, images, corpus, min_text_chars)


def _places(folder: Path, url: str) -> dict[str, tuple[str, str]]:
    """ROCO name -> (PMC file name, licence). Trees of before 2022 name images by the former."""
    path = folder / _LICENCES
    if not path.is_file():
        raise MissingData(f"{path} is missing: it holds the licences. Get it from {url}.")
    table = read_table(path, ["roco_id", "pmc_id", "cc"])
    rows = zip(*(table[name].str.strip() for name in table), strict=True)
    return {name: (pmc_name, licence) for name, pmc_name, licence in rows}
