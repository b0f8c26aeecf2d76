"""What the speed measurements of the reader work on: a tiny reader in the synthetic world.

Sizes of the phantom profile, with larger images, so that the reader's share of the work is more
like that of a real one: 16 image tokens per image instead of one. Its training is cut short, which
costs accuracy and no time: that it answers with a label and the end of its turn is what counts.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("JOMED_PROGRESS", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pandas as pd
import torch
from published import Library, PublishedReader

from jomed.config import RunConfig, load_config
from jomed.phantom.models import provide_encoder
from jomed.reading import reader as reading
from jomed.reading.answers import AnswerSet
from jomed.reading.reader import Reader
from jomed.reading.rows import Row
from jomed.records import Record, Sample, rows_of
from jomed.retrieval.index import exclusions
from jomed.stages.data import prepare_corpora, prepare_samples, read_corpora, read_samples
from jomed.stages.index import prepare_index
from jomed.stages.reader import prepare_reader
from jomed.stages.retriever import training_answers

SMALL_READER = {
    "prompt.max_side": 28,
    "backbone.tiny.image_size": 112,
    "backbone.images_per_call": 32,  # as for readers of real size
    "backbone.tiny.steps": 60,
    "stage1.max_steps": 60,
    "stage1.eval_every": 60,
    "inference.max_new_tokens": 8,
}
"""How the reader differs from that of the phantom profile."""

RELEASED = {
    "stage2.recipe": "released",
    "stage2.alpha": 0.15,
    "stage2.batch_size": 2,
    "stage2.learning_rate": 1e-4,
    "stage2.warmup_steps": 20,
    "stage2.refresh_every": 10,
    "stage2.eval_every": 100,
    "stage2.patience": 1000,
    "stage2.balanced": False,
}
"""The published settings of stage 2 (the number of candidates is an option of its own)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Models, records and samples of one benchmark, ready to be measured."""

    config: RunConfig
    reader: Reader
    library: Library
    records: pd.DataFrame
    samples: pd.DataFrame
    sets: dict[str, AnswerSet]
    gold: dict[str, int]

    def cold_reader(self) -> Reader:
        """The same reader with nothing in its caches."""
        return self.reader.anew(self.reader.packer.root)

    def published(self) -> PublishedReader:
        """The same model under the published procedure."""
        return PublishedReader(self.reader, self.config)

    def some(self, split: str, count: int) -> pd.DataFrame:
        """The first samples of a split."""
        return self.samples[self.samples["split"] == split].head(count)

    def exclude(self, samples: pd.DataFrame) -> dict[str, set[int]]:
        """Rows that are no evidence for a sample, by sample id."""
        sets = exclusions(samples, self.records, self.library.index.row_of)
        return dict(zip(samples["sample_id"], sets, strict=True))


_clock = time.perf_counter


def now() -> float:
    """Seconds of the clock in use: wall time, or processor time where that was asked for."""
    return _clock()


def make_workload(changes: dict[str, Any], processor_time: bool) -> Workload:
    """Prepare every artefact up to the reader, as the notebooks do, and load it."""
    global _clock
    if processor_time:
        _clock = time.process_time
    # Threads that open images would otherwise run beside the one that computes.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    config = load_config("phantom", "retina", "tiny_qwen2vl", overrides={**SMALL_READER, **changes})
    prepare_corpora(config)
    prepare_samples(config)
    encoder = provide_encoder(config)
    index = prepare_index(config, encoder)
    reader = prepare_reader(config).reader
    records, samples = read_corpora(config).records, read_samples(config).samples
    by_id = {record.record_id: record for record in rows_of(records, Record)}
    ordered = [by_id[record_id] for record_id in index.record_ids]
    library = Library(encoder, index, ordered, reader.packer.root)
    sets, gold = training_answers(config, samples)
    return Workload(config, reader, library, records, samples, sets, gold)


def sample_rows(samples: pd.DataFrame) -> list[Sample]:
    """The rows of a frame of samples as objects."""
    return list(rows_of(samples, Sample))


class Clock:
    """Seconds spent in parts of the library, measured from outside by wrapping its functions.

    Counted are the prompts that are scored, their tokens, and the columns that stand for these in
    the language model, padding included.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.prompts = 0
        self.tokens = 0
        self.columns = 0
        self._inside = False

    @contextmanager
    def on(self, reader: Reader) -> Iterator[None]:
        """Measure forwards of the reader and updates of a head while the context lasts."""
        from jomed.retrieval.head import QueryHead

        core, output = reader.model.model.language_model, reader.model.get_output_embeddings()
        with ExitStack() as stack:
            for part, owner, name in (
                ("reader", reader.model, "get_image_features"),
                ("reader", reader.model.model, "get_rope_index"),
                ("reader", core, "forward"),
                ("reader", output, "forward"),
                ("head", QueryHead, "forward"),
                ("head", torch.Tensor, "backward"),
                ("head", torch.nn.utils, "clip_grad_norm_"),
                ("head", torch.optim.AdamW, "step"),
            ):
                stack.enter_context(self._wrapped(part, owner, name))
            stack.enter_context(self._counted())
            yield

    @contextmanager
    def _counted(self) -> Iterator[None]:
        original = reading.score_batch

        def counting(model: Any, packer: Any, rows: Sequence[Row], features: Any) -> Any:
            self.prompts += sum(len(row.prompts) for row in rows)
            self.tokens += sum(len(prompt.ids) for row in rows for prompt in row.prompts)
            self.columns += len(rows) * max(row.length for row in rows)
            return original(model, packer, rows, features)

        reading.score_batch = counting
        try:
            yield
        finally:
            reading.score_batch = original

    @contextmanager
    def _wrapped(self, part: str, owner: Any, name: str) -> Iterator[None]:
        original, own = getattr(owner, name), name in vars(owner)

        def timed(*arguments: Any, **named: Any) -> Any:
            # A head that is only asked for embeddings finds candidates: no update.
            if self._inside or (name == "forward" and part == "head" and not _learning()):
                return original(*arguments, **named)
            self._inside, start = True, now()
            try:
                return original(*arguments, **named)
            finally:
                self._inside = False
                spent = now() - start
                self.seconds[part] = self.seconds.get(part, 0.0) + spent

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, original) if own else delattr(owner, name)


def _learning() -> bool:
    return torch.is_grad_enabled()


def seconds_of(work: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    start = now()
    work()
    return now() - start


def show(rows: Sequence[tuple[str, str, str, bool]]) -> None:
    """Print the table of a script."""
    table = pd.DataFrame(rows, columns=["what", "measured", "target", "met"])
    print(table.to_string(index=False))


def machine() -> str:
    """What the numbers were taken on: processor, cores, library."""
    text = Path("/proc/cpuinfo").read_text()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    flags = {"avx512f": "AVX-512", "avx2": "AVX2"}
    widest = next((title for flag, title in flags.items() if flag in text), "no AVX2")
    name = names[0] if names else "unknown processor"
    clock = "wall time" if _clock is time.perf_counter else "processor time"
    used = f"one of {os.cpu_count()} cores, one thread, {clock}"
    return f"{name} ({widest}), torch {torch.__version__}, {used}"
