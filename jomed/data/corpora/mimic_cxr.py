"""MIMIC-CXR: frontal radiographs (MIMIC-CXR-JPG) and the report of their study (MIMIC-CXR)."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from jomed.data.corpora.reports import ARCHIVE, ReportFiles, report_text
from jomed.data.sources import DataError, MissingData, divide, locate, read_table, text_problem
from jomed.records import Record, Skipped
from jomed.settings import DataConfig

SOURCE = "mimic_cxr"
URL = "https://physionet.org/content/mimic-cxr-jpg/"
REPORTS_URL = "https://physionet.org/content/mimic-cxr/"
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0"
SPLIT = "train"
"""The one split that enters an index: the others stay free for benchmarks."""

_TABLES = "mimic-cxr-2.0.0-{}.csv"  # so called in release 2.1.0 as well
_PLAIN_OR_GZIP = ("", ".gz")


def load(root: Path, settings: DataConfig) -> tuple[list[Record], list[Skipped]]:
    """Read the training images whose view is one of `settings.mimic_views`, in table order.

    The text is the findings section, else the impression. Every such image of a study becomes a
    record with the same text; the group is the patient. `image_sha` stays empty. Raises DataError
    when tables are missing or no report at all is found.
    """
    marks = [_TABLES.format("metadata") + suffix for suffix in _PLAIN_OR_GZIP]
    home = locate(root, marks, "MIMIC-CXR-JPG", URL).parent
    try:
        with ReportFiles.find(root) as reports:
            records, skipped = divide(_rows(home, root, settings, reports))
    except zipfile.BadZipFile as error:
        raise DataError(
            f"{ARCHIVE} below {root} is broken ({error}); download it again from {REPORTS_URL}."
        ) from error
    if not records and any(item.reason == "missing report" for item in skipped):
        raise DataError(
            f"MIMIC-CXR-JPG is in {home}, but no report below {root} belongs to it. Put {ARCHIVE} "
            f"of MIMIC-CXR ({REPORTS_URL}) there, packed or unpacked."
        )
    return records, skipped


def _rows(
    home: Path, root: Path, settings: DataConfig, reports: ReportFiles
) -> Iterator[Record | Skipped]:
    keys = ["dicom_id", "subject_id", "study_id"]
    metadata = read_table(_table(home, "metadata"), [*keys, "viewposition"])
    split_table = read_table(_table(home, "split"), ["dicom_id", "split"])
    splits = dict(zip(split_table["dicom_id"], split_table["split"], strict=True))
    texts: dict[str, str | None] = {}
    prefix = f"{home.relative_to(root).as_posix()}/".removeprefix("./")
    columns = [metadata[name] for name in (*keys, "viewposition")]
    for dicom, subject, study, view in zip(*columns, strict=True):
        split, view = splits.get(dicom, "").strip(), view.strip().upper()
        image = f"{prefix}files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"
        if split != SPLIT:
            yield Skipped(SOURCE, dicom, "other split", split or "not in the split table")
        elif view not in settings.mimic_views:
            yield Skipped(SOURCE, dicom, "other view", view or "blank ViewPosition")
        elif not (root / image).is_file():
            yield Skipped(SOURCE, dicom, "missing image", image)
        else:
            if study not in texts:
                report = reports.read(subject, study)
                texts[study] = None if report is None else report_text(report)
            text = texts[study]
            problem = _problem(text, settings.min_text_chars)
            if text is None or problem:
                yield Skipped(SOURCE, dicom, problem, f"study s{study}")
                continue
            yield Record(
                record_id=f"{SOURCE}:{dicom}",
                source=SOURCE,
                image=image,
                text=text,
                group=f"p{subject}",
                licence=LICENCE,
                access="credentialed",
                image_sha="",
            )


def _problem(text: str | None, minimum: int) -> str:
    if text is None:
        return "missing report"
    problem = text_problem(text, minimum)
    return "report without findings and impression" if problem == "empty text" else problem


def _table(home: Path, name: str) -> Path:
    paths = [home / (_TABLES.format(name) + suffix) for suffix in _PLAIN_OR_GZIP]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise MissingData(f"{paths[1]} is missing; it is part of MIMIC-CXR-JPG ({URL}).")
    return found
