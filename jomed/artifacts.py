"""The artefact of every stage, named by what it depends on, and the stamp of a run."""

import platform
import shlex
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jomed.config import HASHED, ConfigError, RunConfig, project_root
from jomed.storage import Artifact, MissingArtifact, atomic_write

__all__ = [
    "Artifact",
    "MissingArtifact",
    "artifact",
    "atomic_write",
    "data_root",
    "score_table_path",
    "short_stamp",
    "stage_notebooks",
    "stamp",
]

_CORPUS = ("data", "corpora")
_INDEX = (*_CORPUS, "encoder", "index")
_READER = (*_INDEX, "benchmark", "backbone", "prompt", "stage1", "seed")
# The answer sets, and with them the loss, depend on how many wrong answers come from where.
_HEAD = (*_READER, "stage2", "inference.distractors", "closing.method", "closing.model")
# Stage -> the notebook that makes it, the sections that can change it, what its label names.
_STAGES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "world": ("01_prepare_corpora", ("data.world",), ()),
    "corpus": ("01_prepare_corpora", _CORPUS, ()),
    "samples": ("02_prepare_benchmarks", ("data", "benchmark"), ("benchmark",)),
    "encoder": ("03_build_index", ("encoder", "data.world"), ("encoder",)),
    "index": ("03_build_index", _INDEX, ("encoder",)),
    # Its tokenizer is made for the words of every benchmark, its images have the prompt's size.
    "backbone": ("04_train_reader", ("backbone", "data.world", "prompt"), ("backbone",)),
    "reader": ("04_train_reader", _READER, ("benchmark", "backbone", "seed")),
    "head_text": ("05_train_retriever", _HEAD, ("benchmark", "backbone", "seed")),
    "head_image": ("05_train_retriever", _HEAD, ("benchmark", "backbone", "seed")),
    "evaluation": ("06_evaluate", HASHED, ("benchmark", "backbone", "seed")),
}
# What is made from the benchmark's own training images where there are records of them.
_FROM_TRAINING = ("corpus", "encoder", "index", "backbone")
_PACKAGES = ("jomed", "torch", "transformers", "peft", "open_clip_torch", "numpy", "pillow")


def artifact(config: RunConfig, stage: str) -> Artifact:
    """The artefact of a stage at runs_dir/profile/stage/label-hash.

    Stages: world, corpus, samples, encoder, index, backbone, reader, head_text, head_image,
    evaluation. The hash covers every setting that can change the content, those of earlier stages
    included. Raises ConfigError for the world of a profile that has none.
    """
    notebook, sections, labels = _STAGES[stage]
    if stage == "world" and config.data.world is None:
        raise ConfigError(f"profile {config.profile!r} reads real data: data.world is null")
    if stage in _FROM_TRAINING and "training_split" in config.data.corpora:
        sections, labels = (*sections, "data", "benchmark"), ("benchmark", *labels)
    names = {
        "benchmark": config.benchmark.name,
        "backbone": config.backbone.name,
        "encoder": config.encoder.name,
        "seed": f"s{config.seed}",
    }
    label = ".".join(names[part] for part in labels) or "all"
    folder = config.runs_dir / config.profile / stage
    path = folder / f"{label}-{config.section_hash(*sections)}"
    return Artifact(path, f"{stage} {path.name}", _remedy(config, notebook))


def stage_notebooks(config: RunConfig) -> dict[str, str]:
    """The stages of a run in order, each with the notebook that makes it.

    Left out is what a run does not make: the world of real data, published models.
    """
    unmade = {
        "world": config.data.world is None,
        "encoder": config.encoder.tiny is None,
        "backbone": config.backbone.tiny is None,
    }
    return {stage: row[0] for stage, row in _STAGES.items() if not unmade.get(stage, False)}


def score_table_path(config: RunConfig) -> Path:
    """The score table that all seeds, heads, losses and methods of a reader's data share."""
    label = f"{config.benchmark.name}.{config.backbone.name}"
    key = config.section_hash(*_CORPUS, "benchmark", "backbone", "prompt")
    return config.runs_dir / config.profile / "scores" / f"{label}-{key}.sqlite"


def data_root(config: RunConfig) -> Path:
    """The folder below which corpora and benchmarks lie: the real data, or the finished world."""
    if config.data.root is None:
        return artifact(config, "world").require()
    root = project_root() / config.data.root
    if root.is_dir():
        return root
    hint = f"set {root.name[1:]} to" if root.name.startswith("$") else "set data.root to"
    raise ConfigError(f"data root {config.data.root!r} is no folder: {hint} the data's folder")


def _remedy(config: RunConfig, notebook: str) -> str:
    parameters: dict[str, object] = {
        "profile": config.profile,
        "benchmark": config.benchmark.name,
        "backbone": config.backbone.name,
        "encoder": config.encoder.name,
        "seed": config.seed,
        "runs_dir": config.runs_dir,
    }
    if config.overrides:
        parameters["overrides"] = config.overrides
    given = " ".join(f"-p {name} {shlex.quote(str(v))}" for name, v in parameters.items())
    out = config.runs_dir / config.profile / "notebooks"
    source = project_root() / "notebooks" / f"{notebook}.ipynb"
    return (
        f"Run notebooks/{notebook}.ipynb with the same parameters:\n"
        f"mkdir -p {shlex.quote(str(out))} && papermill {shlex.quote(str(source))} "
        f"{shlex.quote(str(out / source.name))} {given}"
    )


def stamp(config: RunConfig) -> dict[str, Any]:
    """Where a result comes from: code, settings, data, models, versions and device (JSON values).

    ``commit`` is null outside a git checkout; ``dirty`` says that code or params/ differ from it.
    ``access`` names the access levels that bind whoever holds the result.
    ``data`` holds the content hashes of corpus and samples, null while they are not made.
    """
    contents = {
        stage: made.manifest()["content"][:12] if made.is_complete() else None
        for stage in ("corpus", "samples")
        for made in [artifact(config, stage)]
    }
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--", "jomed", "params", "constraints.txt")
    return {
        "commit": commit,
        "dirty": None if commit is None else bool(changed),
        "config": config.hash,
        "profile": config.profile,
        "benchmark": config.benchmark.name,
        "seed": config.seed,
        "overrides": config.overrides,
        "access": ", ".join(config.access),
        "data": contents,
        "models": {
            model.name: _origin(model.model_id, model.revision)
            for model in (config.backbone, config.encoder)
        },
        "reader": config.backbone.model_dump(include={"dtype", "attention", "quantisation"}),
        "device": _device(config),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in _PACKAGES},
    }


def short_stamp(config: RunConfig) -> str:
    """The stamp as one line for captions."""
    full = stamp(config)
    commit = (full["commit"] or "no commit")[:9] + ("+changes" if full["dirty"] else "")
    names = f"{config.profile}/{config.benchmark.name}/{config.backbone.name}/s{config.seed}"
    return f"{names} | config {full['config']} | code {commit} | {full['device']}"


def _git(*arguments: str) -> str | None:
    """Output of git in the project, None where there is no git or no checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(project_root()), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _origin(model_id: str | None, revision: str | None) -> str:
    """A model's id and commit: that of the hub's cache where the settings name none."""
    if model_id is None:
        return "trained here"
    # Imported here: the library's light modules do without it.
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for file in ("config.json", "open_clip_config.json"):
        try:
            cached = try_to_load_from_cache(model_id.removeprefix("hf-hub:"), file, None, revision)
        except HFValidationError:  # no hub id: a folder, or a name that a library knows
            return model_id if revision is None else f"{model_id}@{revision}"
        if isinstance(cached, str):
            return f"{model_id}@{Path(cached).parent.name}"
    return f"{model_id}@{revision}"


def _device(config: RunConfig) -> str:
    # Imported here: torch takes seconds, and every other use of this module is free of it.
    import torch

    if config.runtime.device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return torch.cuda.get_device_name()
