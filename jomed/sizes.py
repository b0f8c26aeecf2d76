"""How many samples and records a run has: counted where they are finished, else as published."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jomed.artifacts import artifact
from jomed.config import RunConfig
from jomed.estimate import Assumptions
from jomed.workload import SampleCounts, published_counts


@dataclass(frozen=True, slots=True)
class Records:
    """Records of an index: how many are ``known``, and the corpora whose number is not."""

    known: int
    unknown: tuple[str, ...]


def sample_counts(config: RunConfig, assumptions: Assumptions) -> SampleCounts | None:
    """Counts of the finished samples, else of the publisher or the drawn world, else None."""
    made = artifact(config, "samples")
    if made.is_complete():
        return _finished_counts(config, made.path / "samples.parquet", assumptions)
    task = config.benchmark.task
    answers = float(assumptions.answers_per_set.get(task, len(config.benchmark.answers)))
    # Which questions are open is not published: as if all were.
    return published_counts(config, _published_sizes(config), float(task == "vqa"), answers)


def _published_sizes(config: RunConfig) -> dict[str, int] | None:
    published, world = config.benchmark.expected, config.data.world
    if published is None or world is None:
        return None if published is None else {str(name): n for name, n in published.items()}
    # Imported here: drawing takes libraries that no plan of real data needs.
    from jomed.phantom.world import QUESTIONS_PER_IMAGE

    each = QUESTIONS_PER_IMAGE if config.benchmark.task == "vqa" else 1
    drawn = {"train": each * world.train, "val": each * world.val, "test": each * world.test}
    if "val" not in published:
        drawn["train"] += drawn.pop("val")
    return drawn


def _finished_counts(config: RunConfig, path: Path, assumptions: Assumptions) -> SampleCounts:
    # Imported here: it takes a moment, and a plan may find nothing finished.
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = pq.read_table(
        path, columns=["split", "answer", "answer_type"]
    ).to_pydict()
    rows = list(zip(columns["split"], columns["answer"], columns["answer_type"], strict=True))
    sizes = {split: columns["split"].count(split) for split in ("train", "val", "test")}
    answers = {
        "single_label": len(config.benchmark.answers),
        "multi_label": len({answer for split, answer, _ in rows if split == "train"}),
        "vqa": assumptions.answers_per_set.get("vqa", 0),
    }[config.benchmark.task]
    asked = sum(split == "test" and kind == "open" for split, _, kind in rows)
    return SampleCounts(**sizes, open_test=asked, answers=answers, counted=True)


def record_count(config: RunConfig, counts: SampleCounts | None) -> Records:
    """Records of the finished corpus, else what corpora or world are said to hold."""
    made = artifact(config, "corpus")
    if made.is_complete():
        import pyarrow.parquet as pq

        return Records(pq.ParquetFile(made.path / "records.parquet").metadata.num_rows, ())
    known, unknown = 0, []
    for corpus in config.corpora:
        size = corpus.expected
        if corpus.loader == "training_split":
            size = None if counts is None else counts.train
        elif config.data.world is not None:
            size = config.data.world.records
        known += size or 0
        unknown += [] if size else [corpus.name]
    return Records(known, tuple(unknown))
