"""What corpora of published figures share: a record of a row."""

from dataclasses import dataclass

from jomed.catalogue import CorpusConfig
from jomed.data.corpora.image_files import ImageFiles
from jomed.data.names import spellings
from jomed.data.sources import clean_text, text_problem
from jomed.records import Record, Skipped


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of a caption file: `place` is "FILE, line N", `files` names its image, best first."""

    name: str
    place: str
    caption: str
    files: tuple[str, ...]
    group: str
    licence: str


def to_record(
    figure: Figure, images: ImageFiles, corpus: CorpusConfig, min_text_chars: int
) -> Record | Skipped:
    """The record of a figure, or why there is none."""
    text = clean_text(figure.caption)
    problem = text_problem(text, min_text_chars)
    if problem:
        detail = f"{figure.place}: {len(text)} characters"
        return Skipped(corpus.name, figure.name, problem, detail)
    names = (spelt for file in figure.files for spelt in spellings(file))
    found = ((images.folder(name), name) for name in names)
    image = next((f"{folder}{name}" for folder, name in found if folder is not None), None)
    if image is None:
        detail = f"{figure.place}: no {' or '.join(figure.files)}"
        return Skipped(corpus.name, figure.name, "missing image", detail)
    return Record(
        record_id=f"{corpus.name}:{figure.name}",
        source=corpus.name,
        image=image,
        text=text,
        group=figure.group,
        licence=figure.licence,
        access=corpus.access,
        image_sha="",
        image_phash="",
    )
