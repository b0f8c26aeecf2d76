"""Question sets as Parquet files with the columns image, question and answer.

That is how Hugging Face publishes them: an image is a struct whose field `bytes` holds the file,
repeated in the row of every question about it.
"""

import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jomed.catalogue import BenchmarkConfig
from jomed.data.sources import DataError, MissingData, clean_text
from jomed.records import Sample, Skipped

_COLUMNS = ("question", "answer")
_ROWS_AT_ONCE = 64
_ANNOUNCED = re.compile(r"-of-(\d+)")


def find_shards(home: Path, prefix: str, url: str) -> list[Path]:
    """The files data/PREFIX-*.parquet below `home`, in order; an empty list where there are none.

    Raises DataError when they are not as many as their names announce ("train-00000-of-00002").
    """
    paths = sorted((home / "data").glob(f"{prefix}-*.parquet"))
    for path in paths:
        announced = _ANNOUNCED.search(path.name)
        if announced and int(announced[1]) != len(paths):
            raise DataError(
                f"{path} is one of {int(announced[1])} files, but {len(paths)} begin with "
                f"{prefix}- in its folder. Get all of one release from {url}, and only these."
            )
    return paths


def read_questions(
    root: Path,
    benchmark: BenchmarkConfig,
    prefixes: Mapping[str, str],
    answer_type: Callable[[str, str], str],
) -> tuple[list[Sample], list[Skipped]]:
    """Read all splits; `prefixes` says how the files of each begin, as split -> prefix.

    `answer_type` judges a question and its answer, which the files do not. Questions about one
    image share the group, a hash of the image's bytes, and within a split the address, that of the
    first row with these bytes. Images pass by a few at a time. Raises DataError for files that are
    missing, broken or have other columns.
    """
    home, samples, skipped = root / benchmark.path, list[Sample](), list[Skipped]()
    for split, prefix in prefixes.items():
        addresses: dict[str, str] = {}
        for place, (address, digest, *texts) in enumerate(_rows(home, root, prefix, benchmark.url)):
            sample_id = f"{benchmark.name}:{split}/{place}"
            question, answer = (clean_text("" if t is None else str(t)) for t in texts)
            if not digest or not question or not answer:
                reason = "empty text" if digest else "missing image"
                skipped.append(Skipped(benchmark.name, sample_id, reason, address))
                continue
            samples.append(
                Sample(
                    sample_id=sample_id,
                    benchmark=benchmark.name,
                    split=split,
                    image=addresses.setdefault(digest, address),
                    question=question,
                    answer=answer,
                    answer_type=answer_type(question, answer),
                    question_type="",
                    group=digest,
                    image_sha="",
                    image_phash="",
                )
            )
    return samples, skipped


def warn_of_guesses(benchmark: BenchmarkConfig, guessed: int, total: int, remedy: str) -> None:
    """Say that types of questions are those of `yes_or_no`, where the set has types of its own."""
    warnings.warn(
        f"{benchmark.title}: its Parquet files do not say which questions are closed. {guessed} of "
        f"{total} count as closed if the answer is yes or no, else as open, which differs from the "
        f"published types. {remedy}",
        stacklevel=2,
    )


def _rows(
    home: Path, root: Path, prefix: str, url: str
) -> Iterator[tuple[str, str, object, object]]:
    """(address, digest of the image or "", question, answer) of every row of one split."""
    paths = find_shards(home, prefix, url)
    if not paths:
        raise MissingData(f"{home / 'data' / prefix}-*.parquet is missing; get it from {url}.")
    for path in paths:
        address = path.relative_to(root).as_posix()
        try:
            with pq.ParquetFile(path) as file:
                _check_columns(path, file.schema_arrow)
                for row, values in enumerate(_values(file)):
                    yield f"{address}::{row}", *values
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path} cannot be read ({error}): a truncated download? Get it again from {url}."
            ) from error


def _check_columns(path: Path, schema: pa.Schema) -> None:
    image = schema.field("image").type if "image" in schema.names else pa.null()
    has_bytes = pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
    if not has_bytes or any(name not in schema.names for name in _COLUMNS):
        raise DataError(
            f"{path} has the columns {', '.join(schema.names)}; needed are "
            f"{', '.join(_COLUMNS)} and image, a struct with the field bytes. Another data set?"
        )


def _values(file: pq.ParquetFile) -> Iterator[tuple[str, object, object]]:
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["image.bytes", *_COLUMNS]):
        images = pc.struct_field(batch["image"], "bytes")
        texts = (batch[name].to_pylist() for name in _COLUMNS)
        for image, question, answer in zip(images, *texts, strict=True):
            digest = hashlib.sha256(image.as_buffer()).hexdigest()[:16] if image.is_valid else ""
            yield digest, question, answer
