"""BRSET: photographs of the retina, several diseases each."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from jomed.catalogue import BenchmarkConfig
from jomed.data.benchmarks.common import apportion, listed, read_flags
from jomed.data.names import spellings
from jomed.data.sources import DataError, MissingData, divide, locate, read_table
from jomed.records import Sample, Skipped
from jomed.settings import DataConfig

TABLES = ("labels_brset.csv", "labels.csv", "dataframe_brset.csv")
FOLDERS = ("fundus_photos", "images", "photos")
SIZES = {"train": 11_386, "val": 1_626, "test": 3_254}
"""Images per split that 70, 10 and 20 % of all 16,266 make; the paper names the first number."""

_DEPTH = 3
_SUFFIX = ".jpg"
_NAME_END = re.compile(r"\.jpe?g$", re.IGNORECASE)


def load(
    root: Path, benchmark: BenchmarkConfig, _settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """Read the label table; the answer lists the label indices in order, e.g. "3, 7".

    An index is a place in `benchmark.label_names`. All of them but the last are columns, with "_"
    for spaces; the last is that of an image whose columns are all 0. The set has no splits:
    `benchmark.split_by` "patient" divides the patients as SIZES, "image" the images, which puts
    eyes of one patient into several splits and therefore warns. The group is the patient. Raises
    DataError for a missing table, column or image folder.
    """
    table = locate(root / benchmark.path, TABLES, benchmark.title, benchmark.url, _DEPTH)
    folder = _image_folder(table.parent, benchmark)
    rows, skipped = divide(_rows(table, folder, benchmark))
    splits = _splits([(image_id, patient) for image_id, patient, *_ in rows], benchmark)
    samples = [
        Sample(
            sample_id=f"{benchmark.name}:{image_id}",
            benchmark=benchmark.name,
            split=splits[image_id],
            image=f"{folder.relative_to(root).as_posix()}/{file}",
            question=benchmark.question or "",
            answer=answer,
            answer_type="labels",
            question_type="",
            group=patient,
            image_sha="",
            image_phash="",
        )
        for image_id, patient, file, answer in rows
    ]
    return samples, skipped


def _image_folder(home: Path, benchmark: BenchmarkConfig) -> Path:
    found = next((home / name for name in FOLDERS if (home / name).is_dir()), None)
    if found is None:
        raise MissingData(
            f"{benchmark.title} has its table in {home}, but no images: put the folder "
            f"{' or '.join(FOLDERS)} of {benchmark.url} beside it."
        )
    return found


def _rows(
    table: Path, folder: Path, benchmark: BenchmarkConfig
) -> Iterator[tuple[str, str, str, str] | Skipped]:
    """(image id, patient id, file name, answer) of every usable row."""
    diseases = [name.lower().replace(" ", "_") for name in benchmark.label_names[:-1]]
    cells_of = read_table(table, ["image_id", "patient_id", *diseases])
    seen: set[str] = set()
    for name, patient, *cells in cells_of.itertuples(index=False, name=None):
        image_id, patient = _NAME_END.sub("", name.strip()), patient.strip()
        flags = read_flags(cells)
        named = spellings(f"{image_id}{_SUFFIX}")
        file = next((one for one in named if (folder / one).is_file()), None)
        if image_id in seen:
            yield Skipped(benchmark.name, image_id, "repeated row", table.name)
        elif flags is None:
            yield Skipped(
                benchmark.name, image_id, "unreadable label", f"not 0 or 1 in {table.name}"
            )
        elif not patient:
            yield Skipped(benchmark.name, image_id, "no patient", f"blank id in {table.name}")
        elif file is None:
            detail = f"{folder.name}/{image_id}{_SUFFIX}"
            yield Skipped(benchmark.name, image_id, "missing image", detail)
        else:
            yield image_id, patient, file, listed([*flags, True not in flags])
        seen.add(image_id)


def _splits(ids: list[tuple[str, str]], benchmark: BenchmarkConfig) -> dict[str, str]:
    """Image id -> split; `ids` are pairs of image and patient."""
    if benchmark.split_by is None:
        raise DataError(
            f"{benchmark.title} is published without splits: say in benchmark.split_by whether to "
            "divide it by patient or by image."
        )
    if benchmark.split_by == "patient":
        split_of = apportion((patient for _, patient in ids), SIZES, benchmark.name)
        return {image_id: split_of[patient] for image_id, patient in ids}
    warnings.warn(
        f"{benchmark.title} is divided by image: most patients of the test split have their other "
        "eye in train, which makes the test easier than it is for a new patient. Set "
        "benchmark.split_by to patient for figures of your own.",
        stacklevel=2,
    )
    return apportion((image_id for image_id, _ in ids), SIZES, benchmark.name)
