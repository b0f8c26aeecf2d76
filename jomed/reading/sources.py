"""Where a reader's parts lie: a folder of one's own, or a published model in the hub's cache."""

import json
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from jomed.config import RunConfig, project_root
from jomed.reading.families import FAMILIES
from jomed.reading.packing import ReaderError

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_FETCHED = ["*.json", "*.jinja", "*.txt", "*.model", "*.safetensors"]
_INDEX = "model.safetensors.index.json"
# What has to be there, any one of the files.
_PARTS = {
    "settings of the model": ("config.json",),
    "weights as safetensors": ("model.safetensors", _INDEX),
    "settings of the image processor": ("preprocessor_config.json", "processor_config.json"),
    "tokenizer": ("tokenizer.json", "vocab.json", "tokenizer.model"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A folder with all parts of a reader; ``published`` is ``id@commit``, None for one's own."""

    folder: Path
    published: str | None
    remedy: str
    """What to do where a part is missing or broken."""


def named_model(model_id: str) -> Path | str:
    """Return the folder that a ``model_id`` names, or the hub id that it is.

    As with ``data.root``, ``$NAME`` at its start is the value of an environment variable and a
    relative folder starts at the project's. Raises ReaderError where it is neither.
    """
    name, _, below = model_id.partition("/")
    path = model_id
    if name.startswith("$"):
        if not os.environ.get(name[1:]):
            raise ReaderError(
                f"model_id {model_id!r}: the environment variable {name[1:]} is not set; set it "
                "to the folder below which the model lies"
            )
        path = os.path.join(os.environ[name[1:]], below)
    folder = project_root() / Path(path).expanduser()
    if folder.is_dir():
        return folder
    if path != model_id or not _HUB_ID.fullmatch(model_id):
        raise ReaderError(
            f"model_id {model_id!r}: no such folder ({folder}), and no hub id (owner/name) either"
        )
    return model_id


def find_source(config: RunConfig, base: Path | str) -> Source:
    """Return the complete parts of a reader, fetched first where they are published and absent.

    ``base`` is a folder (a Path, or a str that names one) or a hub id, which is read at the
    backbone's revision, and from the local cache alone when HF_HUB_OFFLINE is set. Raises
    ReaderError that names what is missing and how to get it.
    """
    if Path(base).is_dir():
        if config.backbone.revision is not None:
            raise ReaderError(f"{base}: a folder has no revision; set backbone.revision to null")
        source = Source(Path(base), None, "copy all files of the published model there")
    elif isinstance(base, Path):
        raise ReaderError(f"{base}: no such folder; give a reader's folder or a hub id")
    else:
        source = _published(config, base)
    _check_parts(source, config.backbone.family)
    return source


def _published(config: RunConfig, name: str) -> Source:
    revision = config.backbone.revision
    at = "" if revision is None else f" --revision {revision}"
    remedy = f"download it where there is a network: hf download {name}{at}"
    if revision is None and config.label is None:
        warnings.warn(
            f"{config.backbone.name}: backbone.revision is null, so the newest {name} is read; "
            "pin it to a commit before a run that counts",
            stacklevel=2,
        )
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    try:
        # Files in folders of a repository are other forms of the same weights.
        folder = snapshot_download(
            name,
            revision=revision,
            local_files_only=offline,
            allow_patterns=_FETCHED,
            ignore_patterns=["*/*"],
        )
    except (OSError, ValueError) as error:
        where = "not in the cache, and HF_HUB_OFFLINE is set" if offline else f"{error}"
        raise ReaderError(f"{name}{at}: {where}; {remedy}") from error
    return Source(Path(folder), f"{name}@{Path(folder).name}", remedy)


def _check_parts(source: Source, family: str) -> None:
    for part, names in _PARTS.items():
        if not any((source.folder / name).is_file() for name in names):
            raise ReaderError(
                f"{source.published or source.folder}: no {part} ({' or '.join(names)})"
                f"{_other_weights(source.folder) if 'weights' in part else ''}; {source.remedy}"
            )
    index = source.folder / _INDEX
    if index.is_file() and not (source.folder / "model.safetensors").is_file():
        shards = sorted(set(_read(index, source)["weight_map"].values()))
        absent = [name for name in shards if not (source.folder / name).is_file()]
        if absent:
            raise ReaderError(
                f"{source.published or source.folder}: {len(absent)} of {len(shards)} files of "
                f"weights are missing ({absent[0]}); {source.remedy}"
            )
    kind = _read(source.folder / "config.json", source).get("model_type")
    wanted = FAMILIES[family].model_class.config_class.model_type
    if kind != wanted:
        raise ReaderError(
            f"{source.published or source.folder} is a model of type {kind!r}, and "
            f"backbone.family {family!r} reads {wanted!r}"
        )


def _read(path: Path, source: Source) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ReaderError(f"{path} cannot be read ({error}); {source.remedy}") from error


def _other_weights(folder: Path) -> str:
    pickled = sorted(
        path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth"}
    )
    if not pickled:
        return ""
    return f", only {pickled[0]}, which may run code when it is read and is never opened"
