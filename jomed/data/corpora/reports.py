"""Radiology reports of MIMIC-CXR: their sections, and the file each one lies in.

The section rules follow the behaviour of the section parser that the publishers of MIMIC-CXR
provide, without its hand-made list of exceptions for single studies.
"""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from jomed.data.sources import clean_text, find_all

ARCHIVE = "mimic-cxr-reports.zip"
_HEADER = re.compile(r"\n ([A-Z ()/,-]+):\s")
_BLANK_LINE = "\n \n"

_VARIANTS = {
    "findings": ("finding", "finidngs", "findngs", "radiographic findings"),
    "impression": (
        *("impressions", "impresson", "imprssion", "impession", "impressoin", "impresion"),
        *("final impression", "conclusion", "conclusions", "summary", "opinion"),
        *("findings and impression", "findings and impressions", "findings and conclusion"),
        *("findings/impression", "findings / impression", "findings, impression"),
        *("impression and findings", "impression/findings"),
    ),
    "comparison": ("comparisons", "comparison exam", "comparison film", "comparison study"),
    "indication": (
        *("indications", "clinical indication", "ndication", "reason for exam"),
        *("reason for examination", "reason for study", "reason for the exam"),
    ),
    "history": ("clinical history", "patient history", "clinical information", "medical history"),
    "examination": ("exam", "study", "type of examination", "procedure"),
    "technique": ("techniques",),
}
_NAMES = {variant: name for name, variants in _VARIANTS.items() for variant in variants}
_CHEST_VIEW = re.compile(
    r"((single|two|frontal|portable|upright|supine|semi-upright|bedside|ap|pa|lateral|and|view|of"
    r"|views|the)[ ,]+)*chest\b(?! ct)"
)
"""Headers such as "CHEST, PA AND LATERAL" stand where other reports have "FINDINGS"."""


def report_sections(text: str) -> list[tuple[str, str]]:
    """Split one report into (name, text) pairs in their order; a name may come twice.

    A header stands at the start of a line, after a space, in capitals, and ends in a colon. What
    stands before the first one is "preamble"; without any, all of it is "full report". Empty
    findings and impressions are left out; a report with neither gives what follows the first blank
    line of its last section as "last_paragraph". Line ends may be CRLF.
    """
    text = text.replace("\r\n", "\n")
    headers = _headers(text)
    if not headers:
        sections = [("full report", text)]
    else:
        ends = [header.start() for header in headers[1:]] + [len(text)]
        sections = [("preamble", text[: headers[0].start()])]
        for header, end in zip(headers, ends, strict=True):
            sections.append((_section_name(header[1]), text[header.end() : end]))
    main = ("findings", "impression")
    sections = [(name, part) for name, part in sections if name not in main or part.strip()]
    if not any(name in main for name, _ in sections) and sections:
        name, last = sections[-1]
        first, found, rest = last.partition(_BLANK_LINE)
        if found:
            sections[-1:] = [(name, first), ("last_paragraph", rest)]
    return [(name, part.strip()) for name, part in sections]


def report_text(text: str, parts: str = "findings_or_impression") -> str:
    """The first section of `parts` ("A_or_B") that a report has, on one line; else "".

    Of several sections with one name the last counts: it is the addendum or the final reading.
    De-identification marks (___) are kept.
    """
    sections = dict(report_sections(text))
    return clean_text(
        next((sections[part] for part in parts.split("_or_") if part in sections), "")
    )


class ReportFiles:
    """The reports of MIMIC-CXR below a data root: unpacked folders, or the archive read in place.

    A context manager, which closes the archive.
    """

    def __init__(self, folders: Iterable[Path], archive: Path | None) -> None:
        self._folders = list(folders)
        self._archive = zipfile.ZipFile(archive) if archive else None
        names = self._archive.namelist() if self._archive else []
        self._members = {name.rpartition("/")[2]: name for name in names}

    @classmethod
    def find(cls, root: Path) -> Self:
        """Look for report folders (any `files`) and the archive, up to two folders deep."""
        archives = find_all(root, [ARCHIVE])
        return cls(find_all(root, ["files"]), archives[0] if archives else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._archive:
            self._archive.close()

    def read(self, subject: str, study: str) -> str | None:
        """The report of a study, or None where there is no file for it."""
        name = f"s{study}.txt"
        for folder in self._folders:
            path = folder / f"p{subject[:2]}" / f"p{subject}" / name
            if path.is_file():
                return path.read_text(encoding="utf-8", errors="replace")
        if self._archive and name in self._members:
            return self._archive.read(self._members[name]).decode("utf-8", errors="replace")
        return None


def _headers(text: str) -> list[re.Match[str]]:
    """Headers in order; one directly below an empty section counts, two on one line do not."""
    found = []
    header = _HEADER.search(text)
    while header:
        found.append(header)
        header = _HEADER.search(text, header.end() - 1)
    return found


def _section_name(header: str) -> str:
    name = clean_text(header).lower()
    if _CHEST_VIEW.match(name):
        return "findings"
    return _NAMES.get(name, name)
