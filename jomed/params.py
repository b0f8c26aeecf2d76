"""Reading the YAML files under params/, dotted overrides, and errors that name file and key."""

import copy
import difflib
import functools
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

Model = TypeVar("Model", bound=BaseModel)

DEFAULT_VARIANT = "default"
"""The name of a matrix's plain runs among its variants."""
_MATRICES = "params/matrix.yaml"
_VARIANT = re.compile(rf"(?!{DEFAULT_VARIANT}$)[A-Za-z0-9][A-Za-z0-9_.-]*")


class ConfigError(ValueError):
    """A setting is unknown, missing or wrong; the message names the file, the key and a remedy."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number (as JSON does) and refuses repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; a key that occurs twice is an error and not a silent choice."""
        keys = [key.value for key, _ in node.value]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise ConfigError(f"line {node.start_mark.line + 1}: repeated key {repeated[0]!r}")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def project_root() -> Path:
    """The folder that holds params/: $JOMED_ROOT, else above the working folder, else ours."""
    if os.environ.get("JOMED_ROOT"):
        return Path(os.environ["JOMED_ROOT"]).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "params" / "profiles").is_dir():
            return folder
    return Path(__file__).resolve().parent.parent


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """The mapping that a YAML or JSON text holds; anything else raises ConfigError."""
    # A matrix reads the same few files for each of its runs: parsing them was most of the time.
    return copy.deepcopy(_parsed(text, source))


@functools.cache
def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        values = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ConfigError) as error:
        raise ConfigError(f"{source}: not readable as YAML: {error}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{source}: expected a mapping of names to values")
    return values


def params_in(folder: str) -> list[str]:
    """Names of the files in params/folder, in alphabetical order."""
    return sorted(path.stem for path in (project_root() / "params" / folder).glob("*.yaml"))


def read_params(folder: str, name: str) -> tuple[str, dict[str, Any]]:
    """Path (relative to the project) and content of params/folder/name.yaml.

    Raises ConfigError, naming the nearest file, if there is none of that name.
    """
    root, names = project_root(), params_in(folder)
    if name not in names:
        raise ConfigError(f"no {name!r} in {root / 'params' / folder}{nearest(str(name), names)}")
    source = f"params/{folder}/{name}.yaml"
    return source, parse_yaml((root / source).read_text(encoding="utf-8"), source)


def load_matrix(name: str) -> list[dict[str, Any]]:
    """The runs of a matrix in params/matrix.yaml as keyword arguments of ``load_config``.

    Order: benchmark, backbone, seed; variants are those of ``load_variants``. Raises ConfigError
    for an unknown or malformed matrix.
    """
    entry = _matrix(name)
    overrides = flatten(entry.get("overrides"), f"{_MATRICES}: {name}.overrides")
    shared = {"overrides": overrides} if overrides else {}
    return [
        {
            "benchmark": benchmark,
            "backbone": backbone,
            "encoder": entry["encoder"],
            "seed": seed,
            **shared,
        }
        for benchmark in entry["benchmarks"]
        for backbone in entry["backbones"]
        for seed in entry["seeds"]
    ]


def load_variants(name: str) -> dict[str, dict[str, Any]]:
    """The variants of a matrix: name -> overrides of its runs, first "default", which has none.

    Raises ConfigError for an unknown or malformed matrix.
    """
    named = _matrix(name).get("variants", {})
    where = f"{_MATRICES}: {name}.variants"
    if not isinstance(named, dict):
        raise ConfigError(f"{where} must map the name of each variant to its overrides")
    variants: dict[str, dict[str, Any]] = {DEFAULT_VARIANT: {}}
    for variant, changes in named.items():
        variants[str(variant)] = flatten(changes, f"{where}.{variant}")
        if not _VARIANT.fullmatch(str(variant)) or not variants[str(variant)]:
            raise ConfigError(
                f"{where}.{variant}: needs a name of letters, digits, '_', '.' and '-', not "
                f"{DEFAULT_VARIANT!r}, and at least one override such as stage2.loss: emdr2"
            )
    return variants


def _matrix(name: str) -> dict[str, Any]:
    file = project_root() / "params" / "matrix.yaml"
    matrices = parse_yaml(file.read_text(encoding="utf-8"), _MATRICES)
    if name not in matrices:
        raise ConfigError(f"{_MATRICES}: no matrix {name!r}{nearest(name, matrices)}")
    entry = matrices[name]
    wanted, optional = {"benchmarks", "backbones", "encoder", "seeds"}, {"overrides", "variants"}
    if not isinstance(entry, dict) or not wanted <= set(entry) <= wanted | optional:
        raise ConfigError(
            f"{_MATRICES}: {name!r} must have the keys {sorted(wanted)} and may have "
            f"{sorted(optional)}"
        )
    return entry


def flatten(overrides: Mapping[str, object] | str | None, source: str) -> dict[str, Any]:
    """Overrides as {"a.b": value}, from dotted or nested mappings, or from their JSON/YAML text."""
    if overrides is None or overrides == "":
        return {}
    if isinstance(overrides, str):
        overrides = parse_yaml(overrides, source)
    if not isinstance(overrides, Mapping):
        raise ConfigError(f"{source}: overrides must map dotted keys to values")
    flat: dict[str, Any] = {}
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{below}": item for below, item in flatten(value, source).items()}
        else:
            flat[str(key)] = value
    return flat


def apply_override(values: dict[str, Any], key: str, value: object, source: str) -> None:
    """Set the dotted ``key`` in nested mappings; a null on the way becomes a mapping."""
    *parents, last = key.split(".")
    for depth, parent in enumerate(parents):
        if values.get(parent) is None:
            values[parent] = {}
        values = values[parent]
        if not isinstance(values, dict):
            raise ConfigError(f"{source}: {'.'.join(parents[: depth + 1])!r} has no keys below it")
    values[last] = value


def validate(
    model: type[Model],
    values: Mapping[str, Any],
    source: str,
    prefix: str = "",
    origin: Mapping[str, str] | None = None,
) -> Model:
    """``values`` as a ``model``; ConfigError with ``source``, dotted key and nearest valid name.

    ``prefix`` stands before every key; ``origin`` says which keys came from somewhere else.
    """
    try:
        # Strict models take a list for a tuple only from JSON, which is also all that YAML holds.
        return model.model_validate_json(TypeAdapter(Any).dump_json(dict(values)))
    except ValidationError as error:
        raise ConfigError(explain(error, model, source, prefix, origin)) from None


def explain(
    error: ValidationError,
    model: type[BaseModel],
    source: str,
    prefix: str = "",
    origin: Mapping[str, str] | None = None,
) -> str:
    """One line per problem of a ValidationError: where, which key, what, and the nearest name."""
    lines = []
    for problem in error.errors():
        key = (prefix + ".".join(str(part) for part in problem["loc"])).strip(".")
        where = next(
            (
                whence
                for changed, whence in (origin or {}).items()
                if f"{key}.".startswith(f"{changed}.") or f"{changed}.".startswith(f"{key}.")
            ),
            source,
        )
        if problem["type"] == "extra_forbidden":
            *parents, last = problem["loc"]
            what = f"unknown key {key!r}{nearest(str(last), _keys_at(model, parents))}"
        elif problem["type"] == "missing":
            what = f"missing key {key!r}"
        else:
            got = "" if problem["type"] == "value_error" else f" (got {problem['input']!r})"
            what = f"{key + ': ' if key else ''}{problem['msg'].removeprefix('Value error, ')}{got}"
        lines.append(f"{where}: {what}")
    return "\n".join(lines)


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: the nearest valid name, or all of them."""
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; valid: {', '.join(sorted(names))}"


def _keys_at(model: type[BaseModel], path: Iterable[object]) -> list[str]:
    for part in path:
        annotation = model.model_fields[str(part)].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
