"""Loading a reader's parts from a local folder or a hub id, and the key that names a reader."""

import contextlib
import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig
from transformers.utils import logging as transformers_logging

from jomed.config import RunConfig
from jomed.reading.families import FAMILIES
from jomed.reading.packing import ReaderError
from jomed.reading.prompts import PROMPT_VERSION

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_HASH_CHUNK = 2**22
_ALIGNMENT = 64
"""Bytes; torch's CPU allocator starts every tensor at a multiple of it."""

# Bars over the tensors of a file: jomed.progress shows what takes time.
transformers_logging.disable_progress_bar()


def resolve_device(config: RunConfig) -> torch.device:
    """Return the device of ``runtime.device``; "auto" takes CUDA where there is one."""
    name = config.runtime.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ReaderError("runtime.device is 'cuda' but there is no CUDA device; use 'auto'")
    return torch.device(name)


def load_base(config: RunConfig, base: Path | str) -> tuple[Any, Any]:
    """Return model (evaluation mode, on its device, in the backbone's dtype) and processor.

    ``base`` is a local folder (a Path, or a str that names one) or a hub id, which is read at
    the backbone's revision, and from the local cache alone when HF_HUB_OFFLINE is set. Weights
    must be safetensors; code from a model's repository is never run.
    """
    family = FAMILIES[config.backbone.family]
    options: dict[str, Any] = {"local_files_only": _offline()}
    if not Path(base).is_dir():
        if isinstance(base, Path):
            raise ReaderError(f"{base}: no such folder; give a reader's folder or a hub id")
        options["revision"] = config.backbone.revision
    processor = family.processor_class.from_pretrained(base, **options)
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    model = family.model_class.from_pretrained(
        base,
        dtype=_DTYPES[config.backbone.dtype],
        attn_implementation="sdpa",
        use_safetensors=True,
        **options,
    )
    model.generation_config = _greedy(model.generation_config, processor.tokenizer)
    model = model.to(resolve_device(config)).eval()
    align(model)
    return model, processor


def align(model: torch.nn.Module) -> None:
    """Copy tensors on the CPU that do not start where torch itself would let them start.

    Weights read from a file lie wherever the file's bytes came to lie, which differs between
    processes, and with it the last bit of small products. Training amplifies that bit.
    """
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNMENT:
            tensor.data = tensor.data.clone()


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _greedy(published: Any, tokenizer: Any) -> GenerationConfig:
    # Only the stop tokens of the published settings are kept: sampling and penalties would make
    # generations differ from the likelihoods.
    stops = published.eos_token_id
    stops = [] if stops is None else [stops] if isinstance(stops, int) else list(stops)
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        eos_token_id=sorted({*stops, tokenizer.eos_token_id}),
        pad_token_id=tokenizer.pad_token_id,
    )


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Silence one warning: PEFT asks models for a property that transformers has renamed."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
        )
        yield


def with_adapter(model: Any, adapter: Path) -> Any:
    """Return the model with a PEFT adapter, frozen.

    In float32 the adapter is merged into the weights, which saves its cost in every forward
    pass. In bfloat16 it stays beside them: rounding the sum would lose part of a small update.
    """
    with quiet_peft():
        adapted = PeftModel.from_pretrained(model, adapter)
    if model.dtype == torch.float32:
        return adapted.merge_and_unload().eval()
    return adapted.get_base_model().eval()


def reader_key(
    config: RunConfig, base: Path | str, model: Any, processor: Any, adapter: Path | None
) -> str:
    """Return 16 hex digits that name everything a score depends on besides the pair.

    Weights, adapter, tokenizer, chat template, image preprocessing, prompt version and limits,
    dtype. Local weights count by content, published ones by hub id and commit.
    """
    settings = model.config.to_diff_dict()
    settings.pop("transformers_version", None)
    facts = {
        "base": _weights_hash(Path(base)) if Path(base).is_dir() else _published(base, model),
        "model": settings,
        "adapter": None if adapter is None else _adapter_hash(adapter),
        "tokenizer": processor.tokenizer.backend_tokenizer.to_str(),
        "template": processor.chat_template,
        "images": processor.image_processor.to_dict(),
        "prompt": [PROMPT_VERSION, config.prompt.model_dump()],
        "dtype": config.backbone.dtype,
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _published(base: Path | str, model: Any) -> str:
    commit = getattr(model.config, "_commit_hash", None)
    if commit is None:
        raise ReaderError(f"{base}: the hub gave no commit, so its scores cannot be told apart")
    return f"{base}@{commit}"


def _weights_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while chunk := file.read(_HASH_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _adapter_hash(adapter: Path) -> str:
    path = adapter / "adapter_config.json"
    if not path.is_file():
        raise ReaderError(f"{adapter} holds no adapter ({path.name}); run stage 1 first")
    settings = json.loads(path.read_text())
    # Where the base lay during training says nothing about what the adapter computes.
    settings.pop("base_model_name_or_path", None)
    # PEFT writes the names of the adapted layers in the order of a hash table.
    settings = {k: sorted(v) if isinstance(v, list) else v for k, v in settings.items()}
    return _weights_hash(adapter) + json.dumps(settings, sort_keys=True)
