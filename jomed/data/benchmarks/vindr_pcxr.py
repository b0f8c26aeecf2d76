"""VinDr-PCXR: DICOM radiographs of children, several findings each."""

from collections.abc import Iterator
from pathlib import Path

from jomed.catalogue import BenchmarkConfig
from jomed.data.benchmarks.common import hold_out_samples, listed, read_flags
from jomed.data.sources import MissingData, divide, locate, read_table
from jomed.records import Sample, Skipped
from jomed.settings import DataConfig

FOLDERS = ("train", "test")
TABLE = "image_labels_{}.csv"


def load(
    root: Path, benchmark: BenchmarkConfig, settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """Read both label tables; the answer lists the label indices in order, e.g. "3, 7".

    An index is the place of the column in `benchmark.label_names`. The set has no validation split:
    `settings.val_share` of the training images become one. It does not name patients, so each image
    is its own group. The tables may lie in the folders of a release below `benchmark.path`. Raises
    DataError for a missing table or label column.
    """
    tables = [TABLE.format(folder) for folder in FOLDERS]
    home = locate(root / benchmark.path, tables, benchmark.title, benchmark.url).parent
    prefix = home.relative_to(root).as_posix()
    rows, skipped = divide(item for folder in FOLDERS for item in _rows(home, folder, benchmark))
    samples = [
        Sample(
            sample_id=f"{benchmark.name}:{folder}/{image_id}",
            benchmark=benchmark.name,
            split=folder,
            image=f"{prefix}/{folder}/{image_id}.dicom",
            question=benchmark.question or "",
            answer=answer,
            answer_type="labels",
            question_type="",
            group=image_id,
            image_sha="",
            image_phash="",
        )
        for folder, image_id, answer in rows
    ]
    return hold_out_samples(samples, settings.val_share, benchmark.name), skipped


def _rows(
    home: Path, folder: str, benchmark: BenchmarkConfig
) -> Iterator[tuple[str, str, str] | Skipped]:
    """(folder, image id, answer) of every usable row of one table."""
    path = home / TABLE.format(folder)
    if not path.is_file():
        raise MissingData(f"{path} is missing; get {benchmark.title} from {benchmark.url}.")
    columns = [name.lower() for name in benchmark.label_names]
    table = read_table(path, ["image_id", *columns])
    seen: set[str] = set()
    for name, *cells in table.itertuples(index=False, name=None):
        image_id = name.strip()
        flags = read_flags(cells)
        if image_id in seen:
            yield Skipped(benchmark.name, image_id, "repeated row", path.name)
        elif flags is None:
            yield Skipped(
                benchmark.name, image_id, "unreadable label", f"not 0 or 1 in {path.name}"
            )
        elif True not in flags:
            yield Skipped(benchmark.name, image_id, "no label", path.name)
        elif not (home / folder / f"{image_id}.dicom").is_file():
            yield Skipped(benchmark.name, image_id, "missing image", f"{folder}/{image_id}.dicom")
        else:
            yield folder, image_id, listed(flags)
        seen.add(image_id)
