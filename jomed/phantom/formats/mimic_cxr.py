"""Synthetic MIMIC-CXR: the JPEG project's tables and images, the other project's reports."""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from jomed.phantom.formats import (
    SPLITS,
    check_splits,
    plant,
    save_jpeg,
    some,
    tally,
    to_gray,
    truncate_jpeg,
)
from jomed.phantom.items import Planted, RecordItem

IMAGE_FOLDER = "mimic-cxr-jpg-2.1.0.physionet.org"
REPORT_FOLDER = "mimic-cxr-2.1.0.physionet.org"
_SPLIT_NAMES = {"train": "train", "val": "validate", "test": "test"}
_LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
_LABEL_VALUES = ("", "", "", "", "0.0", "1.0", "-1.0")
_VIEWS = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral", "": ""}

_NO_REPORT, _NO_VIEW = "study without a report", "blank ViewPosition"
_MISSING, _CORRUPT = "missing image", "corrupt image"
_NO_SECTION = "report without findings or impression"
_NO_LABELS, _UNCERTAIN = "study without a label row", "uncertain label"
_FAULTS = (_NO_REPORT, _NO_SECTION, _NO_VIEW, _MISSING, _CORRUPT)
_ODDITIES = {**dict.fromkeys(_FAULTS, 1), _NO_LABELS: 1}
_OTHER_SPLIT = "image outside the training split"
_BROKEN = (*_FAULTS, _OTHER_SPLIT)
_LATERAL, _EVERY_LATERAL = "lateral image beside a frontal one", 6

_HEAD = (
    " EXAMINATION:  CHEST ({view})\n \n"
    " INDICATION:  ___ year old with an invented cough  // please compare\n \n"
    " TECHNIQUE:  Chest radiograph.\n \n"
    " COMPARISON:  None.\n \n"
)
_TITLE = f"{'FINAL REPORT':^77}".rstrip() + "\n"
_WET = " WET READ: ___ ___ ___ 9:30 PM\n Invented first look, see below.\n"
_RULE = f" {'_' * 78}\n"
_FORMS = {
    "report with findings and impression": (
        _TITLE + _HEAD + " FINDINGS: \n \n{text}\n \n IMPRESSION: \n \n As described above.\n"
    ),
    "report with findings only": _TITLE + _HEAD + " FINDINGS: \n \n{text}\n",
    "report with impression only": _TITLE + _HEAD + " IMPRESSION: \n \n{text}\n",
    "report with joint findings and impression": (
        _TITLE + _HEAD + " FINDINGS AND IMPRESSION: \n \n{text}\n"
    ),
    "report with a wet read": _WET + _RULE + _TITLE + _HEAD + " FINDINGS: \n \n{text}\n",
    "report with an empty impression": (
        _TITLE + _HEAD + " FINDINGS: \n \n{text}\n \n IMPRESSION: \n \n"
    ),
    "report with an addendum": (
        _TITLE + _HEAD + " FINDINGS: \n \n Superseded.\n \n FINDINGS: \n \n{text}\n"
    ),
    "report with findings under the view": _TITLE + " CHEST, PA AND LATERAL:\n{text}\n",
}
_FORM_ORDER = (0, 1, 2, 0, 3, 0, 4, 1, 5, 0, 6, 7)
_HISTORY_ONLY = _TITLE + " HISTORY:  Invented cough.\n \n{text}\n"


@dataclass(frozen=True)
class _Study:
    """Ids, view and report form of one item; `kind` is what is wrong with it."""

    subject: str
    study: str
    split: str
    view: str
    form: str
    kind: str

    @property
    def folder(self) -> str:
        return f"files/p{self.subject[:2]}/p{self.subject}"


def write(root: Path, items: Sequence[RecordItem], seed: int, plain: bool = False) -> Planted:
    """Write `items` below `root`, images and reports in two folders; one study per item.

    `group` is the patient number; ids start with 1099, images are 8-bit luminance. Only the
    training split enters an index, so items of other splits count as broken. So do five training
    items: a study without a report, one whose report has neither findings nor impression, an image
    without a view, a missing and a truncated image. Every sixth study has a lateral image, which
    is no item, beside its frontal one. Reports come in the forms of `notes`; all have the text, and
    no other finding, in the sections that count. Labels are drawn at random. `plain` leaves the
    tables unpacked. Raises ValueError when a patient is in two splits.
    """
    check_splits((item.split for item in items), SPLITS, "MIMIC-CXR")
    _check_patients(items)
    rng = np.random.default_rng(seed)
    train = [place for place, item in enumerate(items) if item.split == "train"]
    odd = {train[chosen]: kind for chosen, kind in plant(rng, len(train), _ODDITIES).items()}
    counts: Counter[str] = Counter()
    tables: dict[str, list[dict[str, str]]] = defaultdict(list)
    for place, item in enumerate(items):
        kind = odd.get(place, "") if item.split == "train" else _OTHER_SPLIT
        study = _study(place, item, kind)
        _write_report(root / REPORT_FOLDER, study, item.text, tables)
        _write_image(root / IMAGE_FOLDER, study, item.image, study.view, tables, rng)
        counts.update([kind, *([] if kind in _BROKEN else [study.form])])
        if place % _EVERY_LATERAL == 0:
            mirrored = np.ascontiguousarray(item.image[:, ::-1])
            _write_image(root / IMAGE_FOLDER, study, mirrored, "LATERAL", tables, rng)
            counts[_LATERAL] += 1
        if kind != _NO_LABELS:
            row = _label_row(study, rng)
            counts[_UNCERTAIN] += list(row.values()).count("-1.0")
            tables["labels"].append(row)
    _write_tables(root, tables, plain)
    return tally(len(items), counts, _BROKEN)


def _check_patients(items: Sequence[RecordItem]) -> None:
    split_of: dict[int, str] = {}
    for item in items:
        if split_of.setdefault(item.group, item.split) != item.split:
            raise ValueError(
                f"patient {item.group} is in {split_of[item.group]} and {item.split}; "
                "the splits of MIMIC-CXR are patient-disjoint"
            )


def _study(place: int, item: RecordItem, kind: str) -> _Study:
    subject = 10_990_000 + item.group if item.group < 10_000 else 99_000_000 + item.group
    view = "" if kind == _NO_VIEW else ("PA", "AP")[place % 2]
    form = list(_FORMS)[_FORM_ORDER[place % len(_FORM_ORDER)]]
    split = _SPLIT_NAMES[item.split]
    return _Study(str(subject), str(59_990_000 + place), split, view, form, kind)


def _write_report(
    folder: Path, study: _Study, text: str, tables: Mapping[str, list[dict[str, str]]]
) -> None:
    name = f"{study.folder}/s{study.study}.txt"
    ids = {"subject_id": study.subject, "study_id": study.study}
    tables["studies"].append({**ids, "path": name})
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if study.kind == _NO_REPORT:
        return
    lines = textwrap.fill(text, 79, initial_indent=" ", subsequent_indent=" ")
    form = _HISTORY_ONLY if study.kind == _NO_SECTION else _FORMS[study.form]
    report = form.format(text=lines, view=study.view or "AP")
    path.write_text(report, encoding="utf-8", newline="\n")


def _write_image(
    folder: Path,
    study: _Study,
    image: np.ndarray,
    view: str,
    tables: Mapping[str, list[dict[str, str]]],
    rng: np.random.Generator,
) -> None:
    random = rng.bytes(16).hex()
    dicom = "-".join(["deadbeef", *(random[start : start + 8] for start in range(0, 32, 8))])
    ids = {"dicom_id": dicom, "subject_id": study.subject, "study_id": study.study}
    name = f"{study.folder}/s{study.study}/{dicom}"
    path = folder / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    frontal = view != "LATERAL"
    if not (frontal and study.kind == _MISSING):
        save_jpeg(path, to_gray(image))
    if frontal and study.kind == _CORRUPT:
        truncate_jpeg(path)
    tables["records"].append({**ids, "path": f"{name}.dcm"})
    tables["split"].append({**ids, "split": study.split})
    tables["metadata"].append(
        {
            **ids,
            "PerformedProcedureStepDescription": "CHEST (PA AND LAT)",
            "ViewPosition": view,
            "Rows": str(image.shape[0]),
            "Columns": str(image.shape[1]),
            "StudyDate": f"2180{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
            "StudyTime": some(rng, ("93015.5", "235959.125", "15.0", "120000.0")),
            "ProcedureCodeSequence_CodeMeaning": "CHEST (PA AND LAT)",
            "ViewCodeSequence_CodeMeaning": _VIEWS[view],
            "PatientOrientationCodeSequence_CodeMeaning": some(rng, ("Erect", "Recumbent", "")),
        }
    )


def _label_row(study: _Study, rng: np.random.Generator) -> dict[str, str]:
    values = rng.choice(_LABEL_VALUES, size=len(_LABELS)).tolist()
    ids = {"subject_id": study.subject, "study_id": study.study}
    return ids | dict(zip(_LABELS, values, strict=True))


def _write_tables(root: Path, tables: Mapping[str, list[dict[str, str]]], plain: bool) -> None:
    """Write the csv files; the column order of the split table differs from the others."""
    images, reports = root / IMAGE_FOLDER, root / REPORT_FOLDER
    split = pd.DataFrame(tables["split"])[["dicom_id", "study_id", "subject_id", "split"]]
    labels = pd.DataFrame(tables["labels"])
    test = labels[labels["study_id"].isin(split.loc[split["split"] == "test", "study_id"])]
    test = test.drop(columns="subject_id").rename(columns={"Lung Opacity": "Airspace Opacity"})
    records = pd.DataFrame(tables["records"])[["subject_id", "study_id", "dicom_id", "path"]]
    files = {
        images / "mimic-cxr-2.0.0-split.csv.gz": split,
        images / "mimic-cxr-2.0.0-metadata.csv.gz": pd.DataFrame(tables["metadata"]),
        images / "mimic-cxr-2.0.0-chexpert.csv.gz": labels,
        images / "mimic-cxr-2.0.0-negbio.csv.gz": labels,
        images / "mimic-cxr-2.1.0-test-set-labeled.csv": test,
        reports / "cxr-record-list.csv.gz": records,
        reports / "cxr-study-list.csv.gz": pd.DataFrame(tables["studies"]),
    }
    for packed, table in files.items():
        path = packed.with_suffix("") if plain and packed.suffix == ".gz" else packed
        gzip = {"method": "gzip", "mtime": 0} if path.suffix == ".gz" else None
        table.to_csv(path, index=False, compression=gzip, lineterminator="\n")
    names = "".join(f"{path[:-4]}.jpg\n" for path in records["path"])
    (images / "IMAGE_FILENAMES").write_text(names, encoding="utf-8", newline="\n")
