"""From a few names and the YAML files under params/ to one frozen, checked RunConfig."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError, model_validator

from jomed.catalogue import BackboneConfig, BenchmarkConfig, CorpusConfig, EncoderConfig
from jomed.params import (
    ConfigError,
    apply_override,
    explain,
    flatten,
    load_matrix,
    nearest,
    project_root,
    read_params,
    validate,
)
from jomed.settings import Count, DataConfig, ProfileConfig

__all__ = [
    "ConfigError",
    "RunConfig",
    "configure",
    "load_config",
    "load_matrix",
    "project_root",
    "with_overrides",
]

PARAMETERS = (
    *("profile", "benchmark", "backbone", "encoder", "seed"),
    *("overrides", "runs_dir", "matrix"),
)
# What decides a result. Where it runs, how it is captioned and where it is kept do not.
HASHED = (
    "profile",
    "seed",
    "benchmark",
    "backbone",
    "encoder",
    "corpora",
    "data",
    "index",
    "prompt",
    "stage1",
    "stage2",
    "inference",
    # Where answers are kept and asked for does not count; see jomed.stages.closing for the answers.
    "closing.method",
    "closing.model",
    "evaluation",
)
_IPYTHON_NAMES = frozenset({"In", "Out", "exit", "quit", "get_ipython"})
_PARTS: dict[str, tuple[str, type[BaseModel]]] = {
    "benchmark": ("benchmarks", BenchmarkConfig),
    "backbone": ("backbones", BackboneConfig),
    "encoder": ("encoders", EncoderConfig),
}


class RunConfig(ProfileConfig):
    """Everything that one run depends on; ``overrides`` is the JSON text of what was overridden."""

    profile: str
    seed: Count
    benchmark: BenchmarkConfig
    backbone: BackboneConfig
    encoder: EncoderConfig
    corpora: tuple[CorpusConfig, ...]
    runs_dir: Path
    matrix: str
    overrides: str

    @model_validator(mode="after")
    def _tiny_models_can_be_trained(self) -> Self:
        source = self.data.world is not None or "training_split" in self.data.corpora
        for model in (self.backbone, self.encoder):
            if model.tiny is not None and not source:
                raise ValueError(
                    f"{model.name!r} is pre-trained on the synthetic world or on the benchmark's "
                    f"training split, and profile {self.profile!r} has neither (data.world, "
                    "data.corpora): choose a published model"
                )
        return self

    def section_hash(self, *names: str) -> str:
        """First 12 hex digits of the SHA-256 of the named sections, e.g. "data", "data.world".

        ``data.root`` never counts: where the data lie differs from machine to machine.
        """
        values = self.model_dump(mode="json")
        del values["data"]["root"]
        chosen = {}
        for name in sorted(set(names)):
            value: Any = values
            for part in name.split("."):
                value = value[part]
            chosen[name] = value
        text = json.dumps(chosen, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def access(self) -> tuple[str, ...]:
        """Access levels of the data that go in, "open" only where all are: a drawn world is."""
        if self.data.root is None:
            return ("open",)
        levels = {self.benchmark.access, *(corpus.access for corpus in self.corpora)}
        return tuple(sorted(levels - {"open"})) or ("open",)

    @property
    def run_name(self) -> str:
        """Benchmark, backbone and seed: the name of the run among those of its profile.

        Overridden settings add "+" and 6 hex digits, so that no table of the plain run is replaced.
        """
        mark = f"+{hashlib.sha256(self.overrides.encode()).hexdigest()[:6]}"
        name = f"{self.benchmark.name}.{self.backbone.name}.s{self.seed}"
        return name + (mark if self.overrides else "")

    @property
    def hash(self) -> str:
        """Hash of the whole configuration, without runtime, captions and storage."""
        return self.section_hash(*HASHED)


def load_config(
    profile: str = "phantom",
    benchmark: str = "retina",
    backbone: str = "tiny_qwen2vl",
    encoder: str = "tiny_clip",
    seed: int = 0,
    overrides: Mapping[str, object] | str | None = None,
    runs_dir: str | Path | None = None,
    matrix: str | None = None,
) -> RunConfig:
    """Read the named YAML files, apply the profile's overrides, then the caller's.

    ``overrides`` maps dotted keys to values, {"stage2.steps": 10, "backbone.token_budget": 4096},
    or is the same as JSON or YAML text. ``runs_dir`` falls back to $JOMED_RUNS, then to runs/; a
    relative one starts at the folder of params/. ``matrix`` names an entry of params/matrix.yaml
    and falls back to the profile's name. Raises ConfigError.
    """
    names = {"benchmark": benchmark, "backbone": backbone, "encoder": encoder}
    callers = flatten(overrides, "overrides")
    values, files, origin = _read_all(profile, names, callers)
    parts: dict[str, Any] = {
        part: validate(
            model, {**values.pop(part), "name": names[part]}, files[part], f"{part}.", origin
        )
        for part, (_, model) in _PARTS.items()
    }
    sections = dict(validate(ProfileConfig, values, files["profile"], "", origin))
    try:
        return RunConfig(
            **{**sections, **parts, "data": _with_root(sections["data"])},
            corpora=tuple(read_corpus(name) for name in sections["data"].corpora),
            profile=profile,
            seed=seed,
            runs_dir=project_root() / str(runs_dir or os.environ.get("JOMED_RUNS") or "runs"),
            matrix=profile if matrix is None else matrix,
            overrides=json.dumps(callers, sort_keys=True, default=str) if callers else "",
        )
    except ValidationError as error:
        raise ConfigError(explain(error, RunConfig, f"profile {profile!r}")) from None


def read_corpus(name: str) -> CorpusConfig:
    """The corpus of params/corpora/NAME.yaml. Raises ConfigError."""
    file, values = read_params("corpora", name)
    return validate(CorpusConfig, {**values, "name": name}, file)


def with_overrides(config: RunConfig, changes: Mapping[str, object]) -> RunConfig:
    """The same run with some dotted keys changed, {"stage2.loss": "emdr2"}. Raises ConfigError."""
    return load_config(
        profile=config.profile,
        benchmark=config.benchmark.name,
        backbone=config.backbone.name,
        encoder=config.encoder.name,
        seed=config.seed,
        overrides={**json.loads(config.overrides or "{}"), **changes},
        runs_dir=config.runs_dir,
        matrix=config.matrix,
    )


def _read_all(
    profile: str, names: Mapping[str, str], callers: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """The overridden values, the file of each part, and where each overridden key came from."""
    profile_file, values = read_params("profiles", profile)
    files = {"profile": profile_file}
    for part, (folder, _) in _PARTS.items():
        files[part], values[part] = read_params(folder, names[part])
        if "name" in values[part]:
            raise ConfigError(f"{files[part]}: 'name' is the name of the file; remove it")
    own = flatten(values.pop("overrides", None), profile_file)
    origin: dict[str, str] = {}
    for source, changes in ((profile_file, own), ("overrides", callers)):
        for key, value in changes.items():
            if key in (*PARAMETERS, *(f"{part}.name" for part in _PARTS)):
                raise ConfigError(f"{source}: {key!r} is a parameter or a name, not an override")
            apply_override(values, key, value, source)
            origin[key] = source
    return values, files, origin


def _with_root(data: DataConfig) -> DataConfig:
    """Put the value of the environment variable in the place of a root like $JOMED_DATA."""
    if data.root is None or not data.root.startswith("$"):
        return data
    return data.model_copy(update={"root": os.environ.get(data.root[1:]) or data.root})


def configure(namespace: Mapping[str, object]) -> RunConfig:
    """Build the RunConfig from a notebook's namespace: call ``configure(globals())``.

    Every plain value in the namespace has to be a parameter, so that a misspelt one is an error
    and not a silent default. Raises ConfigError.
    """
    plain = (str, int, float, bool, list, dict, tuple, type(None))
    chosen: dict[str, Any] = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_") and name not in _IPYTHON_NAMES and isinstance(value, plain)
    }
    for name in chosen:
        if name not in PARAMETERS:
            raise ConfigError(f"unknown parameter {name!r}{nearest(name, PARAMETERS)}")
    # What a notebook does not name is that of the first run of its matrix.
    complete = {"benchmark", "backbone", "encoder", "seed"} <= set(chosen)
    matrix = chosen.get("matrix") or chosen.get("profile") or "phantom"
    first = {} if complete else load_matrix(matrix)[0]
    return load_config(**{**first, **chosen})
