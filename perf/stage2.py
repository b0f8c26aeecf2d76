"""How fast stage 2 trains a head, against the published procedure on the same work.

    python perf/stage2.py                                # all measurements, at most ten minutes
    python perf/stage2.py --samples 8 --epochs 2         # a quick look
    python perf/stage2.py --head image                   # candidates' images instead of captions

Both sides train the same head from the same weights with the same reader, samples, batches and
candidates, by the released loss, in one process with one thread. The library is measured as its
users run it, validations included; of the published procedure only the training steps are.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from published import PublishedStage2
from workload import RELEASED, Clock, Workload, machine, make_workload, now, sample_rows, show

from jomed.config import with_overrides
from jomed.data.images import open_image
from jomed.reading.scores import ScoreTable
from jomed.reading.scoring import Pair, score_pairs, table_key
from jomed.training import LOG_FILE
from jomed.training.retriever import train_head
from jomed.training.sampling import SampleStream

ROUNDS = 3
"""Runs of the first epoch, which is short; their median counts."""
_MEGABYTE = 2**20


def main(
    samples: Annotated[int, typer.Option(min=2, help="Training samples.")] = 60,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    candidates: Annotated[int, typer.Option(min=5, help="A multiple of 5.")] = 50,
    head: Annotated[str, typer.Option(help="text or image")] = "text",
    processor_time: Annotated[bool, typer.Option(help="For a machine that is busy.")] = False,
    child: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure everything and print one table."""
    work = make_workload({**RELEASED, "stage2.candidates": candidates}, processor_time)
    task = Task(work, head, work.some("train", samples), work.some("val", 1))
    if child is not None:
        task.train(child)
        print(json.dumps({"peak": _peak_bytes()}))
        return
    print(f"{machine()}; {samples} samples, {candidates} candidates, {head} head")
    task.warm_up()
    firsts = sorted((task.train(1) for _ in range(ROUNDS)), key=lambda run: run.seconds)
    ours = task.train(epochs)
    theirs = task.published(epochs)
    options = [f"--samples={samples}", f"--candidates={candidates}", f"--head={head}"]
    peaks = {n: _measured_apart(n, options) for n in sorted({1, epochs})}
    show([*_speed(firsts, ours, theirs), *_sameness(ours, theirs), *_cost(firsts, ours, peaks)])


@dataclass(frozen=True, slots=True)
class Trained:
    """One training run: wall time, losses by step, pairs by (sample, record), and what it cost.

    `epochs` holds the seconds of each epoch where they were taken, `asked` the pairs in the order
    in which the training asked for them, `read` the prompts, their tokens and the columns of the
    language model that stood for these (of the published side full forwards times prompts alone).
    """

    seconds: float
    losses: list[float]
    asked: list[tuple[str, str]]
    read: tuple[int, ...]
    stored: int
    parts: dict[str, float]
    epochs: list[float]


@dataclass(frozen=True, slots=True)
class Task:
    """One head and the samples it learns from, for both sides."""

    work: Workload
    head: Any
    train_samples: pd.DataFrame
    val_samples: pd.DataFrame

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in which every sample is seen once."""
        return len(self.train_samples) // self.work.config.stage2.batch_size

    def warm_up(self) -> None:
        """Read every file once and let both sides run, so that neither pays for being first."""
        for address in [*self.train_samples["image"], *self.work.records["image"]]:
            open_image(address, self.work.library.root)
        few = Task(self.work, self.head, self.train_samples.head(4), self.val_samples.head(1))
        few.train(1)
        few.published(1)

    def train(self, epochs: int) -> Trained:
        """The library: a new score table, a reader with cold caches, `train_head`."""
        work, steps = self.work, epochs * self.steps_per_epoch
        config = with_overrides(work.config, {"stage2.steps": steps})
        reader, clock, asked = work.cold_reader(), Clock(), list[Pair]()
        samples = pd.concat([self.train_samples, self.val_samples])
        with tempfile.TemporaryDirectory(prefix="jomed-perf-") as place, clock.on(reader):
            start = now()
            with closing(ScoreTable(Path(place) / "scores.sqlite", table_key(reader))) as table:

                def score(pairs: Sequence[Pair]) -> list[np.ndarray]:
                    asked.extend(pairs)
                    data = (samples, work.records)
                    return score_pairs(reader, table, *data, pairs, work.sets, config)

                library, folder = work.library, Path(place) / "head"
                models = (library.index, library.encoder)
                rest = (score, work.gold, library.root, folder)
                train_head(config, self.head, *models, samples, work.records, *rest)
                seconds, stored = now() - start, len(table)
            log = pd.read_json(folder / LOG_FILE, lines=True)
        losses = log["loss"].dropna().tolist()
        read = (clock.prompts, clock.tokens, clock.columns)
        return Trained(seconds, losses, asked, read, stored, clock.seconds, [])

    def published(self, epochs: int) -> Trained:
        """The published procedure on the same batches."""
        work, steps = self.work, epochs * self.steps_per_epoch
        config, reader = work.config, work.published()
        answers = next(iter(work.sets.values())).answers
        exclude = work.exclude(self.train_samples)
        run = PublishedStage2(
            config, reader, work.library, exclude, work.gold, answers, self.head, steps
        )
        rows = sample_rows(self.train_samples)
        stream, size = SampleStream(len(rows), config.seed), config.stage2.batch_size
        losses, times = [], []
        for epoch in range(epochs):
            start = now()
            for step in range(epoch * self.steps_per_epoch, (epoch + 1) * self.steps_per_epoch):
                losses.append(run.step([rows[place] for place in stream.batch(step, size)]))
            times.append(now() - start)
        return Trained(sum(times), losses, run.visited, (reader.forwards,), 0, {}, times)


Row = tuple[str, str, str, bool]


def _speed(firsts: Sequence[Trained], ours: Trained, theirs: Trained) -> list[Row]:
    first, count = statistics.median(run.seconds for run in firsts), len(theirs.epochs)
    once, all_epochs = theirs.epochs[0] / first, theirs.seconds / ours.seconds
    return [
        ("published, first epoch: s", f"{theirs.epochs[0]:.1f}", "", True),
        (f"published, {count} epochs: s", f"{theirs.seconds:.1f}", "", True),
        ("library, first epoch: s", f"{first:.2f}", "", True),
        (f"library, {count} epochs: s", f"{ours.seconds:.2f}", "", True),
        ("first epoch: times as fast", f"{once:.1f}", ">= 5", once >= 5),
        (f"{count} epochs: times as fast", f"{all_epochs:.1f}", ">= 30", all_epochs >= 30),
    ]


def _sameness(ours: Trained, theirs: Trained) -> list[Row]:
    apart = float(np.abs(np.subtract(ours.losses, theirs.losses)).max())
    span = f"{min(theirs.losses):.3f} to {max(theirs.losses):.3f}"
    pairs, visits = set(theirs.asked), len(theirs.asked)
    same = pairs <= set(ours.asked)
    return [
        ("losses: steps compared", f"{len(ours.losses)}", "", True),
        ("losses: range", span, "", True),
        ("losses: largest difference", f"{apart:.1e}", "<= 1e-4", apart <= 1e-4),
        ("published: pairs read", f"{visits}", "", True),
        ("published: full forwards, times prompts", f"{theirs.read[0]}", "", True),
        ("published: distinct pairs", f"{len(pairs)}", "all of them the library's too", same),
    ]


def _cost(firsts: Sequence[Trained], ours: Trained, peaks: dict[int, float]) -> list[Row]:
    distinct = len(set(ours.asked))
    prompts, tokens, columns = ours.read
    once = distinct == prompts == ours.stored
    shared = f"{columns:,}, {columns / tokens:.0%}"
    growth = max(peaks.values()) / peaks[1] - 1
    rows = [
        ("library: distinct pairs", f"{distinct}", "", True),
        ("library: prompts through the reader", f"{prompts}", "the same", once),
        ("library: tokens of these prompts", f"{tokens:,}", "", True),
        ("library: columns of the language model", shared, "", True),
    ]
    for title, run in (("first epoch", firsts[0]), ("all epochs", ours)):
        share = 1 - sum(run.parts.values()) / run.seconds
        shown = ", ".join(f"{name} {value:.2f} s" for name, value in sorted(run.parts.items()))
        rows.append((f"{title}: spent in", shown, "", True))
        rows.append((f"{title}: overhead", f"{share:.1%}", "< 15%", share < 0.15))
    for epochs, peak in peaks.items():
        rows.append((f"peak memory, {epochs} epochs: MiB", f"{peak / _MEGABYTE:.0f}", "", True))
    rows.append(("peak memory: growth with epochs", f"{growth:.1%}", "none", growth < 0.02))
    return rows


def _measured_apart(epochs: int, options: Sequence[str]) -> float:
    command = [sys.executable, __file__, "--child", str(epochs), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1])["peak"])


def _peak_bytes() -> int:
    """Peak memory of this process. The one that getrusage gives begins with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


if __name__ == "__main__":
    typer.run(main)
