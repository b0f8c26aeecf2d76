"""A benchmark of one's own: one row of a table per image with its answer and split."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from jomed.catalogue import BenchmarkConfig
from jomed.data.benchmarks.common import hold_out_samples, yes_or_no
from jomed.data.sources import clean_text, divide
from jomed.data.tables import TableRow, read_rows
from jomed.params import nearest
from jomed.records import Sample, Skipped
from jomed.settings import DataConfig

SPLITS = {
    "train": "train",
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    "test": "test",
}


def load(
    root: Path, benchmark: BenchmarkConfig, settings: DataConfig
) -> tuple[list[Sample], list[Skipped]]:
    """Read the table at `benchmark.path`, whose columns `benchmark.columns` names.

    A label is one of `benchmark.answers` or `label_names`, or an index where there may be several,
    which ";" or "," separates. Where no row is for validation, `settings.val_share` of the training
    groups are. Without a column for it the group is the image, so that questions about one image
    stay together, and whether a question is closed is guessed, with a warning. Raises DataError
    for a table that cannot be read (see `read_rows`).
    """
    columns = benchmark.columns
    if benchmark.task == "vqa" and columns is not None and columns.answer_type is None:
        warnings.warn(
            f"{benchmark.name} has no column for the answer type: questions with the answer yes or "
            "no are taken to be closed, all others to be open.",
            stacklevel=2,
        )
    samples, skipped = divide(_samples(root, benchmark))
    if not any(sample.split == "val" for sample in samples):
        samples = hold_out_samples(samples, settings.val_share, benchmark.name)
    return samples, skipped


class _RowError(Exception):
    """A row cannot become a sample: reason and detail."""


def _samples(root: Path, benchmark: BenchmarkConfig) -> Iterator[Sample | Skipped]:
    labels = _labels(benchmark)
    seen: set[str] = set()
    for row in read_rows(root, benchmark):
        if isinstance(row, Skipped):
            yield row
            continue
        try:
            if row.key in seen:
                raise _RowError("repeated row", "its id is that of an earlier row")
            yield _sample(row, benchmark, labels)
        except _RowError as error:
            reason, detail = error.args
            yield Skipped(benchmark.name, row.key, reason, f"{row.place}: {detail}")
        seen.add(row.key)


def _labels(benchmark: BenchmarkConfig) -> dict[str, int]:
    """Whatever a label may be called -> its index; what the reader says comes first."""
    places = range(len(benchmark.answers))
    labels = {str(i): i for i in places} if benchmark.task == "multi_label" else {}
    labels |= {benchmark.label_names[i]: i for i in places}
    return labels | {benchmark.answers[i]: i for i in places}


def _sample(row: TableRow, benchmark: BenchmarkConfig, labels: Mapping[str, int]) -> Sample:
    spelt = row.cells["split"].lower()
    split = SPLITS.get(spelt)
    if split is None:
        raise _RowError("unknown split", f"{spelt!r}{nearest(spelt, SPLITS)}")
    question = clean_text(row.cells.get("question", benchmark.question or ""))
    if not question:
        raise _RowError("empty text", "no question")
    if benchmark.task == "vqa":
        answer, answer_type = _free_answer(question, row.cells)
    else:
        answer, answer_type = _label_answer(row.cells["answer"], benchmark, labels)
    return Sample(
        sample_id=f"{benchmark.name}:{row.key}",
        benchmark=benchmark.name,
        split=split,
        image=row.image,
        question=question,
        answer=answer,
        answer_type=answer_type,
        question_type="",
        group=row.cells.get("group", row.image),
        image_sha="",
        image_phash="",
    )


def _label_answer(
    cell: str, benchmark: BenchmarkConfig, labels: Mapping[str, int]
) -> tuple[str, str]:
    single = benchmark.task == "single_label"
    # A label's own name may hold a comma.
    whole = single or cell in labels
    parts = [cell] if whole else cell.split(";" if ";" in cell else ",")
    named = [part.strip() for part in parts if part.strip()]
    if not named:
        raise _RowError("no label", "the answer is empty")
    for name in named:
        if name not in labels:
            raise _RowError("unknown label", f"{name!r}{nearest(name, labels)}")
    places = sorted({labels[name] for name in named})
    if single:
        return benchmark.answers[places[0]], "label"
    return ", ".join(map(str, places)), "labels"


def _free_answer(question: str, cells: Mapping[str, str]) -> tuple[str, str]:
    answer = clean_text(cells["answer"])
    if not answer:
        raise _RowError("empty text", "no answer")
    answer_type = cells.get("answer_type", yes_or_no(question, answer)).lower()
    if answer_type not in ("closed", "open"):
        raise _RowError("unknown answer type", f"{cells['answer_type']!r} is not closed or open")
    return answer, answer_type
