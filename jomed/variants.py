"""The runs of a matrix and of its variants, and which of them ``--only`` means.

A variant is the matrix once more with some settings changed, such as another loss of stage 2.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jomed.config import ConfigError, RunConfig, load_config, load_matrix, with_overrides
from jomed.params import DEFAULT_VARIANT, load_variants, nearest

RUN_KEYS = ("benchmark", "backbone", "encoder", "seed", "variant")
"""What ``--only`` chooses by."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a matrix, its variant ("" for none), and the same place with fewer overrides."""

    config: RunConfig
    variant: str
    plainer: tuple[RunConfig, ...]

    @property
    def values(self) -> dict[str, str]:
        """Its value of every key in RUN_KEYS."""
        named = {key: str(value) for key, value in run_values(self.config).items()}
        return {**named, "variant": self.variant or DEFAULT_VARIANT}


def run_values(config: RunConfig) -> dict[str, Any]:
    """The parameters that tell the runs of a matrix apart, its variant aside."""
    return {
        "benchmark": config.benchmark.name,
        "backbone": config.backbone.name,
        "encoder": config.encoder.name,
        "seed": config.seed,
    }


def matrix_configs(config: RunConfig) -> list[RunConfig]:
    """The configuration of every run of ``config.matrix``, all else as in ``config``."""
    names = ("profile", "runs_dir", "matrix")
    shared: dict[str, Any] = {name: getattr(config, name) for name in names}
    own = json.loads(config.overrides or "{}")
    return [
        load_config(**{**shared, **run, "overrides": {**run.get("overrides", {}), **own}})
        for run in load_matrix(config.matrix)
    ]


def variant_configs(config: RunConfig) -> dict[str, list[RunConfig]]:
    """Every variant of ``config.matrix`` with its runs, in the order of ``matrix_configs``.

    First "default", the plain runs; a matrix without variants has no other.
    """
    runs = matrix_configs(config)
    return {
        name: [with_overrides(run, changes) for run in runs] if changes else runs
        for name, changes in load_variants(config.matrix).items()
    }


def matrix_runs(profile: str, matrix: str) -> list[Run]:
    """All runs of a matrix, the plain ones first. Raises ConfigError."""
    like = load_config(profile, **load_matrix(matrix)[0], matrix=matrix)
    variants = variant_configs(like)
    plain = variants[DEFAULT_VARIANT]
    bare = [
        load_config(profile, runs_dir=run.runs_dir, matrix=matrix, **run_values(run))
        if run.overrides
        else run
        for run in plain
    ]
    return [
        Run(config, "" if name == DEFAULT_VARIANT else name, tuple(plainer))
        for name, configs in variants.items()
        for config, *plainer in zip(configs, bare, plain, strict=True)
    ]


def chosen_runs(runs: Sequence[Run], only: Iterable[str], matrix: str) -> list[Run]:
    """The runs that ``only`` ("benchmark=retina", "variant=emdr2") keeps, all if it is empty.

    Several values of one key are alternatives. Raises ConfigError where it keeps nothing.
    """
    wanted = _selection(only)
    for key, accepted in wanted.items():
        known = {run.values[key] for run in runs}
        for value in sorted(accepted - known):
            hint = nearest(value, known)
            raise ConfigError(f"no run of matrix {matrix!r} has {key}={value}{hint}")
    chosen = [run for run in runs if all(run.values[key] in wanted[key] for key in wanted)]
    if not chosen:
        raise ConfigError(f"no run of matrix {matrix!r} has {_listed(wanted)}")
    return chosen


def _selection(only: Iterable[str]) -> dict[str, set[str]]:
    """Values by key."""
    wanted: dict[str, set[str]] = {}
    for text in only:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--only {text!r}: expected key=value, for example benchmark=retina")
        if key not in RUN_KEYS:
            raise ConfigError(f"--only {text!r}: unknown key {key!r}{nearest(key, RUN_KEYS)}")
        wanted.setdefault(key, set()).add(value)
    return wanted


def _listed(wanted: Mapping[str, set[str]]) -> str:
    return ", ".join(f"{key}={'|'.join(sorted(values))}" for key, values in wanted.items())
