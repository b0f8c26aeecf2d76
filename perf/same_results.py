"""Comparing what two runs of one configuration left, bit by bit."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import numpy as np
import pandas as pd

from jomed.artifacts import artifact, score_table_path
from jomed.config import RunConfig
from jomed.reading.score_files import KEY, KINDS, open_file


def differences(one: RunConfig, other: RunConfig) -> Iterator[dict[str, object]]:
    """Each part of the result: whether both runs have the same, and the largest difference."""
    for name, read in READ.items():
        first, second = read(one), read(other)
        common, alone = first.keys() & second.keys(), len(first.keys() ^ second.keys())
        gap = max((_gap(first[key], second[key]) for key in common), default=0.0)
        yield {
            "what": name,
            "parts": len(first),
            "in one run only": alone,
            "largest difference": gap,
            "equal": bool(common) and not alone and gap == 0,
        }


def _gap(one: object, other: object) -> float:
    """Largest difference of two arrays; of anything else 0 or infinity."""
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return 0.0 if one == other else float("inf")
    if one.tobytes() == other.tobytes():
        return 0.0
    if one.shape != other.shape or one.dtype.kind != "f":
        return float("inf")
    return float(np.abs(one.astype(np.float64) - other).max()) or float("inf")


def _stage(config: RunConfig, stage: str, weights: str, log: str) -> dict[object, object]:
    """Tensors by name and the lines of a log by number."""
    from safetensors.numpy import load_file

    folder = artifact(config, stage).require()
    return {**load_file(folder / weights), **dict(enumerate((folder / log).open()))}


def _values(config: RunConfig) -> dict[object, object]:
    names = ", ".join(f"(SELECT name FROM names WHERE id = {column})" for column in KEY)
    found: dict[object, object] = {}
    with closing(open_file(score_table_path(config), create=False)) as connection:
        for kind in KINDS:
            for *key, value in connection.execute(f"SELECT {names}, value FROM {kind}"):
                found[kind, *key] = np.frombuffer(value, "<f4") if kind == "scores" else value
    return found


def _predictions(config: RunConfig) -> dict[object, object]:
    folder = artifact(config, "evaluation").require()
    return {
        (path.name, column): values.to_numpy() if values.dtype.kind == "f" else values.tolist()
        for path in sorted(folder.glob("*.parquet"))
        for column, values in pd.read_parquet(path).items()
    }


_HEAD = ("head.safetensors", "log.jsonl")
READ: Mapping[str, Callable[[RunConfig], dict[object, object]]] = {
    "adapter and report of stage 1": lambda config: _stage(
        config, "reader", "adapter/adapter_model.safetensors", "report.json"
    ),
    "text head and its log": lambda config: _stage(config, "head_text", *_HEAD),
    "image head and its log": lambda config: _stage(config, "head_image", *_HEAD),
    "score table": _values,
    "predictions": _predictions,
}
