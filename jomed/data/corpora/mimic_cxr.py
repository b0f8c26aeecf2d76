"""MIMIC-CXR: frontal radiographs (MIMIC-CXR-JPG) and the report of their study (MIMIC-CXR)."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from jomed.catalogue import CorpusConfig
from jomed.data.corpora.reports import ARCHIVE, ReportFiles, report_text
from jomed.data.sources import DataError, MissingData, locate, read_table, text_problem
from jomed.records import Record, Skipped
from jomed.settings import DataConfig

REPORTS_URL = "https://physionet.org/content/mimic-cxr/"

_TABLES = "mimic-cxr-2.0.0-{}.csv"  # so called in release 2.1.0 as well
_PLAIN_OR_GZIP = ("", ".gz")


def load(root: Path, corpus: CorpusConfig, settings: DataConfig) -> Iterator[Record | Skipped]:
    """Read the images of `settings.mimic_splits` and `settings.mimic_views`, in table order.

    The text is what `settings.mimic_text` takes from the report of the study. Every such image of a
    study becomes a record with the same text; the group is the patient. Raises DataError when
    tables are missing or no report at all is found.
    """
    marks = [_TABLES.format("metadata") + suffix for suffix in _PLAIN_OR_GZIP]
    home = locate(root, marks, "MIMIC-CXR-JPG", corpus.url).parent
    try:
        with ReportFiles.find(root) as reports:
            found, unread = 0, 0
            for item in _rows(home, root, corpus, settings, reports):
                found += isinstance(item, Record)
                unread += isinstance(item, Skipped) and item.reason == "missing report"
                yield item
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{ARCHIVE} below {root} is broken ({error}); download it again from {REPORTS_URL}."
        ) from error
    if unread and not found:
        raise MissingData(
            f"MIMIC-CXR-JPG is in {home}, but no report below {root} belongs to it. Put {ARCHIVE} "
            f"of MIMIC-CXR ({REPORTS_URL}) there, packed or unpacked."
        )


def _rows(
    home: Path, root: Path, corpus: CorpusConfig, settings: DataConfig, reports: ReportFiles
) -> Iterator[Record | Skipped]:
    keys = ["dicom_id", "subject_id", "study_id"]
    metadata = read_table(_table(home, "metadata", corpus.url), [*keys, "viewposition"])
    split_table = read_table(_table(home, "split", corpus.url), ["dicom_id", "split"])
    splits = dict(zip(split_table["dicom_id"], split_table["split"], strict=True))
    texts: dict[str, str | None] = {}
    prefix = f"{home.relative_to(root).as_posix()}/".removeprefix("./")
    columns = [metadata[name] for name in (*keys, "viewposition")]
    for dicom, subject, study, view in zip(*columns, strict=True):
        split, view = splits.get(dicom, "").strip(), view.strip().upper()
        image = f"{prefix}files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"
        if split not in settings.mimic_splits:
            yield Skipped(corpus.name, dicom, "other split", split or "not in the split table")
        elif view not in settings.mimic_views and "all" not in settings.mimic_views:
            yield Skipped(corpus.name, dicom, "other view", view or "blank ViewPosition")
        elif not (root / image).is_file():
            yield Skipped(corpus.name, dicom, "missing image", image)
        else:
            if study not in texts:
                report = reports.read(subject, study)
                texts[study] = None if report is None else report_text(report, settings.mimic_text)
            text = texts[study]
            problem = _problem(text, settings.min_text_chars)
            if text is None or problem:
                yield Skipped(corpus.name, dicom, problem, f"study s{study}")
                continue
            yield Record(
                record_id=f"{corpus.name}:{dicom}",
                source=corpus.name,
                image=image,
                text=text,
                group=f"p{subject}",
                licence=corpus.licence,
                access=corpus.access,
                image_sha="",
                image_phash="",
            )


def _problem(text: str | None, minimum: int) -> str:
    if text is None:
        return "missing report"
    problem = text_problem(text, minimum)
    return "report without its section" if problem == "empty text" else problem


def _table(home: Path, name: str, url: str) -> Path:
    paths = [home / (_TABLES.format(name) + suffix) for suffix in _PLAIN_OR_GZIP]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise MissingData(f"{paths[1]} is missing; it is part of MIMIC-CXR-JPG ({url}).")
    return found
