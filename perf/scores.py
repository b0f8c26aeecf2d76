"""How large the score table becomes, how fast it is filled and how fast pairs are looked up.

    python perf/scores.py               # 5 million pairs x 15 answers; minutes, 1 GB of disk
    python perf/scores.py --scale 0.01  # the same code on a hundredth of the pairs

The table is filled as stage 2 fills it: sample after sample in random order, ten times over, every
time with records that are new to the sample, in blocks of 1024 pairs, one transaction each.
Look-ups use a connection of their own, opened for them; the operating system has the file in its
cache.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from jomed.reading.reader import PROMPTS_AT_ONCE
from jomed.reading.score_checks import file_bytes, find_faults
from jomed.reading.scores import PairKey, ScoreTable

SAMPLES, PER_SAMPLE, RECORDS, ANSWERS = 50_000, 100, 1_000_000, 15
PASSES = 10
LOOKUPS, AT_ONCE = 300, 100
READER, VARIANT = "0123456789abcdef", "fedcba9876543210"
_GIBIBYTE = 2**30


def main(
    scale: Annotated[float, typer.Option(min=0.001, help="Share of the real number.")] = 1.0,
    folder: Annotated[Path | None, typer.Option(help="Where the table is written.")] = None,
) -> None:
    """Fill a table, look pairs up in it, and print one table of results."""
    world = World(scale)
    with tempfile.TemporaryDirectory(dir=folder, prefix="jomed-perf-") as place:
        path = Path(place) / "scores.sqlite"
        seconds = _fill(path, world)
        rows = [
            *_size(path, world.pairs),
            (f"filling {world.pairs:,} pairs: pairs/s", f"{world.pairs / seconds:,.0f}", "", True),
            *_lookups(path, world),
            _verifying(path),
        ]
    table = pd.DataFrame(rows, columns=["what", "measured", "target", "met"])
    print(table.to_string(index=False))


class World:
    """Ids as long as real ones, and which records each sample is paired with."""

    def __init__(self, scale: float) -> None:
        self.rng = np.random.default_rng(0)
        count = int(SAMPLES * scale)
        self.samples = [f"vindr_pcxr:{i * 2654435761 % 2**32:032x}" for i in range(count)]
        self.records = [f"pmc_oa:PMC{i:07d}_Fig{i % 7}.jpg" for i in range(int(RECORDS * scale))]
        self.pairs = len(self.samples) * PER_SAMPLE
        count = len(self.records)
        # Distinct within a sample: a start of its own and a step that no count divides.
        self.first = self.rng.integers(0, count, len(self.samples))
        self.step = self.rng.integers(1, count // PER_SAMPLE, len(self.samples))

    def key(self, sample: int, place: int) -> PairKey:
        """The pair of a sample with the record at one of its PER_SAMPLE places."""
        record = (self.first[sample] + place * self.step[sample]) % len(self.records)
        return self.samples[sample], self.records[record], VARIANT

    def visits(self) -> Iterator[PairKey]:
        """All pairs in the order in which stage 2 would come upon them."""
        share = PER_SAMPLE // PASSES
        for number in range(PASSES):
            for sample in self.rng.permutation(len(self.samples)).tolist():
                for place in range(number * share, (number + 1) * share):
                    yield self.key(sample, place)


def _fill(path: Path, world: World) -> float:
    """Seconds in the table's own code."""
    seconds, visits = 0.0, world.visits()
    with closing(ScoreTable(path, READER)) as table:
        while block := list(islice(visits, PROMPTS_AT_ONCE)):
            values = -world.rng.exponential(5, (len(block), ANSWERS)).astype(np.float32)
            start = time.perf_counter()
            table.put(block, list(values))
            seconds += time.perf_counter() - start
        assert len(table) == world.pairs
    return seconds


def _size(path: Path, pairs: int) -> list[tuple[str, str, str, bool]]:
    size = file_bytes(path)
    limit = _GIBIBYTE * pairs / (SAMPLES * PER_SAMPLE)
    return [
        ("size: MiB", f"{size / 2**20:,.0f}", f"< {limit / 2**20:,.0f}", size < limit),
        ("size: bytes per pair", f"{size / pairs:.0f}", "", True),
    ]


def _lookups(path: Path, world: World) -> list[tuple[str, str, str, bool]]:
    """Milliseconds for 100 pairs, of one sample and of 100 samples, all in the table."""
    rows = []
    draws = world.rng.integers(0, len(world.samples), (LOOKUPS, AT_ONCE))
    places = world.rng.integers(0, PER_SAMPLE, (LOOKUPS, AT_ONCE))
    kinds = {
        "of one sample": [[world.key(s, p) for p in range(AT_ONCE)] for s in draws[:, 0]],
        "at random": [
            [world.key(s, p) for s, p in zip(*row, strict=True)]
            for row in zip(draws, places, strict=True)
        ],
    }
    for title, lookups in kinds.items():
        with closing(ScoreTable(path, READER)) as table:
            times = 1000 * np.array([_timed(table, keys) for keys in lookups])
        label = f"look-up of {AT_ONCE} pairs {title}"
        for name, share in (("median", 0.5), ("95 %", 0.95)):
            wall, busy = np.quantile(times, share, axis=0)
            rows.append((f"{label}, {name}: ms", f"{wall:.2f}", "< 5", bool(wall < 5)))
            rows.append((f"{label}, {name}: ms of processor time", f"{busy:.2f}", "", True))
    return rows


def _timed(table: ScoreTable, keys: list[PairKey]) -> tuple[float, float]:
    """Seconds on the clock and of the processor; the latter is the former on an idle machine."""
    start, busy = time.perf_counter(), time.process_time()
    found = table.get(keys)
    seconds = time.perf_counter() - start, time.process_time() - busy
    assert len(found) == len(set(keys))
    return seconds


def _verifying(path: Path) -> tuple[str, str, str, bool]:
    start = time.perf_counter()
    faults = find_faults(path)
    seconds = time.perf_counter() - start
    return ("`scores verify` of the whole file: s", f"{seconds:.0f}", "no faults", not faults)


if __name__ == "__main__":
    typer.run(main)
