"""Disk, GPU memory, reader passes and hours of planned runs, before anything has run."""

from collections.abc import Sequence
from dataclasses import dataclass

from jomed.artifacts import artifact
from jomed.config import ConfigError, RunConfig, project_root
from jomed.estimate import (
    Assumptions,
    Gpu,
    PromptSize,
    encoder_shape,
    prompt_size,
    reader_shape,
    stage_flops,
    stage_hours,
)
from jomed.footprint import adapted_parameters, scoring_memory, training_memory
from jomed.params import nearest, parse_yaml, validate
from jomed.settings import HEAD_NAMES
from jomed.shapes import ReaderShape
from jomed.sizes import record_count, sample_counts
from jomed.workload import SampleCounts, Workload, trained_heads, workload

GPUS_FILE = "params/gpus.yaml"
FLOAT_BYTES = 4
HALF_BYTES = 2


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one run takes, ``runs`` times with other seeds; None where something is not known.

    ``hours`` are those of stage 1, stage 2 and evaluation. Memory is in bytes on the device: while
    scoring, and in stage 1 without and with gradient checkpointing. ``disk`` is in bytes: score
    table, adapter and heads.
    """

    config: RunConfig
    runs: int
    counts: SampleCounts | None
    load: Workload | None
    hours: tuple[float, float, float] | None
    memory: tuple[int, int, int] | None
    disk: int | None

    @property
    def name(self) -> str:
        """Benchmark and reader."""
        return f"{self.config.benchmark.name}.{self.config.backbone.name}"


@dataclass(frozen=True, slots=True)
class Shared:
    """Work that several runs share: its name, its bytes on disk, and what could not be counted."""

    name: str
    disk: int | None
    unknown: tuple[str, ...] = ()


def read_gpus() -> tuple[Assumptions, dict[str, Gpu]]:
    """The stated assumptions and the GPUs of params/gpus.yaml. Raises ConfigError."""
    values = parse_yaml((project_root() / GPUS_FILE).read_text(encoding="utf-8"), GPUS_FILE)
    if set(values) != {"assumptions", "gpus"}:
        raise ConfigError(f"{GPUS_FILE}: expected the keys assumptions and gpus")
    gpus = {
        name: validate(Gpu, facts, GPUS_FILE, f"gpus.{name}.")
        for name, facts in values["gpus"].items()
    }
    return validate(Assumptions, values["assumptions"], GPUS_FILE, "assumptions."), gpus


def gpu_named(name: str, gpus: dict[str, Gpu]) -> Gpu:
    """One of the GPUs; ConfigError, naming the nearest, if there is none of that name."""
    if name not in gpus:
        raise ConfigError(f"no GPU {name!r} in {GPUS_FILE}{nearest(name, gpus)}")
    return gpus[name]


def forecasts(
    configs: Sequence[RunConfig], assumptions: Assumptions, gpu: Gpu | None, rate: float | None
) -> list[Forecast]:
    """One forecast for all runs that differ in their seed only, in the order of the runs.

    ``rate`` is a measured number of scoring passes per second; it goes before the GPU's peak.
    """
    alike: dict[tuple[str, ...], list[RunConfig]] = {}
    for config in configs:
        parts = (config.benchmark, config.backbone, config.encoder)
        alike.setdefault(tuple(part.name for part in parts), []).append(config)
    return [_forecast(runs[0], len(runs), assumptions, gpu, rate) for runs in alike.values()]


def _forecast(
    config: RunConfig, runs: int, assumptions: Assumptions, gpu: Gpu | None, rate: float | None
) -> Forecast:
    counts = sample_counts(config, assumptions)
    shape = reader_shape(config.backbone)
    if counts is None:
        return Forecast(config, runs, None, None, None, None, None)
    found = record_count(config, counts)
    load = workload(config, counts, None if found.unknown else found.known, assumptions.drift)
    if shape is None:
        return Forecast(config, runs, counts, load, None, None, None)
    size = prompt_size(config, shape, counts.answers, assumptions)
    flops = stage_flops(config, shape, size, load, assumptions.tokens_per_answer)
    # A measured rate counts every pass by its FLOPs relative to those of a scoring pass.
    stated = _stated_speed(config, assumptions, gpu)
    speed = stated if rate is None else rate * flops.scoring_pass
    return Forecast(
        config,
        runs,
        counts,
        load,
        None if speed is None else stage_hours(flops, speed),
        _memory(config, shape, size),
        _disk(config, shape, counts, load, assumptions),
    )


def _stated_speed(config: RunConfig, assumptions: Assumptions, gpu: Gpu | None) -> float | None:
    """FLOPs per second of published readers in bfloat16: no peak says how fast a tiny one is."""
    backbone = config.backbone
    if gpu is None or backbone.tiny is not None or backbone.dtype != "bfloat16":
        return None
    return gpu.peak_tflops * 1e12 * assumptions.utilisation


def _memory(config: RunConfig, shape: ReaderShape, size: PromptSize) -> tuple[int, int, int] | None:
    """None for a tiny reader, which needs no GPU."""
    if config.backbone.tiny is not None:
        return None
    plain, checkpointed = (
        training_memory(config.backbone, shape, size, config.stage1, again)
        for again in (False, True)
    )
    return scoring_memory(config.backbone, shape), plain, checkpointed


def _disk(
    config: RunConfig,
    shape: ReaderShape,
    counts: SampleCounts,
    load: Workload,
    assumptions: Assumptions,
) -> int | None:
    encoder = encoder_shape(config.encoder)
    if encoder is None:
        return None
    row = assumptions.bytes_per_score_key + FLOAT_BYTES * counts.answers
    table = (load.pairs.likely + load.scored) * row
    table += load.generated * (assumptions.bytes_per_score_key + config.inference.max_new_tokens)
    heads = trained_heads(config) * encoder.image_parameters
    adapter = adapted_parameters(shape, config.stage1)
    return round(table) + FLOAT_BYTES * (heads + adapter)


def shared_work(configs: Sequence[RunConfig], assumptions: Assumptions) -> list[Shared]:
    """Corpus and index of each data set, and the files of published readers, each once."""
    found: dict[str, Shared] = {}
    for config in configs:
        path, backbone = artifact(config, "index").path, config.backbone
        if str(path) not in found:
            found[str(path)] = _index(config, assumptions)
        if backbone.tiny is None and backbone.name not in found:
            shape = reader_shape(backbone)
            disk = None
            if shape is not None:  # as published, in bfloat16, whatever they are loaded in
                disk = HALF_BYTES * (shape.language_parameters + shape.vision_parameters)
            found[backbone.name] = Shared(f"files of {backbone.title}", disk)
    return list(found.values())


def _index(config: RunConfig, assumptions: Assumptions) -> Shared:
    records = record_count(config, sample_counts(config, assumptions))
    encoder = encoder_shape(config.encoder)
    name = f"corpus and index of {records.known:,} records, {config.encoder.title}"
    if encoder is None:
        return Shared(name, None, (f"{config.encoder.name}: no shape",))
    vectors = len(HEAD_NAMES) * encoder.dim * HALF_BYTES
    disk = records.known * (assumptions.bytes_per_record + vectors)
    return Shared(name, disk, tuple(f"records of {corpus}" for corpus in records.unknown))
