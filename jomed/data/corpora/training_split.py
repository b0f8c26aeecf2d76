"""Records made of a benchmark's own training images: retrieval from the training split."""

from collections.abc import Iterator
from pathlib import Path

from jomed.catalogue import BenchmarkConfig
from jomed.data.benchmarks import list_samples
from jomed.data.sources import DataError
from jomed.records import Record, Skipped
from jomed.settings import DataConfig

SOURCE = "training_split"


def load(
    root: Path, settings: DataConfig, benchmark: BenchmarkConfig
) -> Iterator[Record | Skipped]:
    """One record per training sample, its label said by the template `settings.record_text`.

    Image and group are those of the sample, so that a sample can never be its own evidence:
    whoever searches leaves out records of the query's group. Raises DataError for a benchmark that
    is not single-label and for a template that is missing or has other fields than {label} (what
    the reader answers) and {label_name}.
    """
    if benchmark.task != "single_label":
        raise DataError(
            f"corpus {SOURCE!r} needs a benchmark with one label per image; {benchmark.name} is "
            f"{benchmark.task}. Take it out of data.corpora."
        )
    texts = _texts(settings.record_text, benchmark)
    samples, skipped = list_samples(root, benchmark, settings)
    yield from skipped
    yield from (
        Record(
            record_id=f"{SOURCE}:{sample.sample_id}",
            source=SOURCE,
            image=sample.image,
            text=texts[sample.answer],
            group=sample.group,
            licence=benchmark.licence,
            access=benchmark.access,
            image_sha="",
            image_phash="",
        )
        for sample in samples
        if sample.split == "train"
    )


def _texts(template: str | None, benchmark: BenchmarkConfig) -> dict[str, str]:
    if template is None:
        raise DataError(f"corpus {SOURCE!r} needs data.record_text, the text of its records.")
    pairs = zip(benchmark.answers, benchmark.label_names, strict=True)
    try:
        return {label: template.format(label=label, label_name=name) for label, name in pairs}
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise DataError(
            f"data.record_text {template!r} cannot be filled in ({error}); "
            "its fields are {label} and {label_name}."
        ) from error
