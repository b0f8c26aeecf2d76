"""Forecasts as aligned lines of text, and as CSV."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from jomed.config import ConfigError, RunConfig
from jomed.estimate import Assumptions, Gpu
from jomed.forecast import Forecast, Shared, forecasts, gpu_named, read_gpus, shared_work

GB = 10**9
UNKNOWN = "?"
HEADER = (
    "benchmark.reader",
    "runs",
    "train/val/test",
    "stage 1",
    "stage 2 (least-most)",
    "evaluation",
    "hours",
    "GPU GB",
    "disk",
)


def forecast_report(
    configs: Sequence[RunConfig], gpu: str | None, rate: float | None, file: Path | None
) -> list[str]:
    """The lines to print about planned runs; their numbers go into the CSV ``file``, if given.

    ``gpu`` is a name in params/gpus.yaml, ``rate`` a measured number of scored pairs per second.
    Raises ConfigError.
    """
    if rate is not None and not 0 < rate < math.inf:
        raise ConfigError(f"--rate {rate:g}: give the scored pairs per second, more than 0")
    assumptions, gpus = read_gpus()
    chosen = None if gpu is None else gpu_named(gpu, gpus)
    rows = forecasts(configs, assumptions, chosen, rate)
    if file is not None:
        try:
            write_csv(file, rows)
        except OSError as error:
            raise ConfigError(f"--csv {file}: {error.strerror}; name another file") from None
    return forecast_lines(rows, shared_work(configs, assumptions), assumptions, chosen, rate)


def forecast_lines(
    rows: Sequence[Forecast],
    shared: Sequence[Shared],
    assumptions: Assumptions,
    gpu: Gpu | None,
    rate: float | None,
) -> list[str]:
    """The forecasts as a table with what they rest on and their sums, a line each."""
    cells = [HEADER, *(_cells(row, gpu) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    table = [_aligned(line, widths) for line in cells]
    return [
        "Estimated, not measured. Per run; stage 1, stage 2 and evaluation in reader passes:",
        *table,
        *_sums(rows, shared),
        *_notes(rows, assumptions, gpu, rate),
    ]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = [
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join([first, *others])


def _cells(row: Forecast, gpu: Gpu | None) -> tuple[str, ...]:
    counts, load, runs = row.counts, row.load, str(row.runs)
    if counts is None or load is None:
        return (row.name, runs, "not known", *[UNKNOWN] * 6)
    pairs = load.pairs
    return (
        row.name,
        runs,
        f"{counts.train}/{counts.val}/{counts.test}",
        short(load.examples + load.checks),
        f"{short(pairs.likely)} ({short(pairs.least)}-{short(pairs.most)})",
        short(load.scored + load.generated),
        UNKNOWN if row.hours is None else "+".join(_hours(each) for each in row.hours),
        _memory(row, gpu),
        UNKNOWN if row.disk is None else size_text(row.disk),
    )


def _memory(row: Forecast, gpu: Gpu | None) -> str:
    if row.memory is None:
        return "-" if row.config.backbone.tiny is not None else UNKNOWN
    limit = None if gpu is None else gpu.memory_gb
    return "/".join(f"{gb}{'!' * (limit is not None and gb > limit)}" for gb in in_gb(row.memory))


def in_gb(sizes: Iterable[int]) -> list[int]:
    """Bytes in GB, rounded up: what is needed has to be there."""
    return [-(-size // GB) for size in sizes]


def short(count: int) -> str:
    """A count with three digits: 950, 27.3k, 8.03M."""
    return _scaled(count, (("G", 10**9), ("M", 10**6), ("k", 10**3), ("", 1)))


def size_text(size: int) -> str:
    """A number of bytes with three digits, in kB, MB or GB (10^3, 10^6, 10^9)."""
    return _scaled(size, ((" GB", GB), (" MB", 10**6), (" kB", 10**3)))


def _scaled(value: int, units: Sequence[tuple[str, int]]) -> str:
    rounded = float(f"{value:.3g}")  # first, so that 999,999 is 1M and not 1000k
    unit, limit = next((pair for pair in units if rounded >= pair[1]), units[-1])
    return f"{rounded / limit:.3g}{unit}"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}"


def _sums(rows: Sequence[Forecast], shared: Sequence[Shared]) -> list[str]:
    runs = sum(row.runs for row in rows)
    forwards = sum(row.runs * row.load.forwards for row in rows if row.load is not None)
    lines = [f"All {runs} runs: {short(forwards)} reader passes{_left_out(rows, 'load')}"]
    timed = [row for row in rows if row.hours is not None]
    if timed:
        hours = sum(row.runs * sum(row.hours) for row in timed if row.hours is not None)
        lines.append(f"  {_hours(hours)} hours on one GPU{_left_out(rows, 'hours')}")
    disk = sum(row.runs * row.disk for row in rows if row.disk is not None)
    lines.append(f"  {size_text(disk)} of disk for their results{_left_out(rows, 'disk')}")
    for work in shared:
        lacks = f", without the {' and '.join(work.unknown)} (not known)" if work.unknown else ""
        size = "not known" if work.disk is None else size_text(work.disk)
        lines.append(f"  once: {size} for {work.name}{lacks}")
    whole = disk + sum(work.disk for work in shared if work.disk is not None)
    open_end = any(work.unknown or work.disk is None for work in shared)
    least = "at least " if open_end or any(row.disk is None for row in rows) else ""
    return [*lines, f"  {least}{size_text(whole)} of disk in all, data sets apart"]


def _left_out(rows: Sequence[Forecast], what: str) -> str:
    names = [row.name for row in rows if getattr(row, what) is None]
    return f", without {', '.join(names)} (not known)" if names else ""


def _notes(
    rows: Sequence[Forecast], assumptions: Assumptions, gpu: Gpu | None, rate: float | None
) -> list[str]:
    lines = [
        f"Stage 2: every sample's first candidates, and {assumptions.drift:.0%} new ones at each "
        "later look-up, which is a guess; once there are samples, their counts are taken.",
        "Prompts have the largest size that the limits allow. Not counted: data sets, embedding "
        "of records, search, training of the heads.",
        "GPU memory (GB): scoring / stage 1 / stage 1 with gradient checkpointing.",
    ]
    if rate is not None:
        lines.append(
            f"Hours (stage 1 + stage 2 + evaluation): from the given rate, {rate:g} scored pairs/s "
            "for every reader."
        )
    elif gpu is not None:
        lines.append(
            f"Hours (stage 1 + stage 2 + evaluation): {assumptions.utilisation:.0%} of the dense "
            f"bfloat16 peak of {gpu.title}, {gpu.peak_tflops:g} TFLOP/s ({gpu.source}); of tiny "
            "readers, and from a measurement: --rate."
        )
    else:
        lines.append("Hours: name a GPU (--gpu) or give a measured rate (--rate).")
    too_large = gpu is not None and any(
        gb > gpu.memory_gb for row in rows if row.memory is not None for gb in in_gb(row.memory)
    )
    if gpu is not None and too_large:
        lines.append(f"! does not fit: {gpu.title} has {gpu.memory_gb} GB.")
    return lines


CSV_COLUMNS = (
    *("benchmark", "backbone", "runs", "train", "val", "test", "counted"),
    *("stage1_examples", "stage1_checks", "stage2_least", "stage2_likely", "stage2_most"),
    *("scored", "generated", "hours_stage1", "hours_stage2", "hours_evaluation"),
    *("scoring_bytes", "training_bytes", "checkpointed_bytes", "disk_bytes"),
)


def write_csv(path: Path, rows: Sequence[Forecast]) -> None:
    """Write the forecasts, a line each, per run; what is not known stays empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        writer.writerows(_values(row) for row in rows)


def _values(row: Forecast) -> list[object]:
    counts, load = row.counts, row.load
    return [
        row.config.benchmark.name,
        row.config.backbone.name,
        row.runs,
        *([""] * 4 if counts is None else [counts.train, counts.val, counts.test, counts.counted]),
        *([""] * 7 if load is None else [load.examples, load.checks, load.pairs.least]),
        *([] if load is None else [load.pairs.likely, load.pairs.most, load.scored]),
        *([] if load is None else [load.generated]),
        *(row.hours or [""] * 3),
        *(row.memory or [""] * 3),
        "" if row.disk is None else row.disk,
    ]
