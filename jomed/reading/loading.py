"""Loading a reader's parts from a local folder or a hub id, and the key that names a reader."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import GenerationConfig
from transformers.utils import logging as transformers_logging

from jomed.config import RunConfig
from jomed.reading.adapters import adapter_hash
from jomed.reading.families import FAMILIES
from jomed.reading.options import DTYPES, attention_kernels, quantised_loading, resolve_device
from jomed.reading.packing import ReaderError
from jomed.reading.prompts import PROMPT_VERSION
from jomed.reading.sources import Source, find_source

_HASH_CHUNK = 2**22
_ALIGNMENT = 64
"""Bytes; torch's CPU allocator starts every tensor at a multiple of it."""

# Bars over the tensors of a file: jomed.progress shows what takes time.
transformers_logging.disable_progress_bar()


def load_base(config: RunConfig, base: Path | str) -> tuple[Any, Any]:
    """Return model (evaluation mode, on its device, in the backbone's precision) and processor.

    ``base`` is a local folder (a Path, or a str that names one) or a hub id (see ``find_source``).
    Weights must be safetensors; code from a model's repository is never run. Raises ReaderError
    that names the part that is missing, and what to do.
    """
    source = find_source(config, base)
    family = FAMILIES[config.backbone.family]
    processor = family.processor_class.from_pretrained(source.folder, local_files_only=True)
    _check_processor(processor, source)
    quantised = quantised_loading(config)
    try:
        model, report = family.model_class.from_pretrained(
            source.folder,
            dtype=DTYPES[config.backbone.dtype],
            attn_implementation=attention_kernels(config),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **quantised,
        )
    except SafetensorError as error:
        raise ReaderError(f"{source.folder}: broken weights ({error}); {source.remedy}") from error
    if report["missing_keys"]:
        raise ReaderError(
            f"{source.folder}: weights without {len(report['missing_keys'])} of the model's "
            f"parameters ({min(report['missing_keys'])}); {source.remedy}"
        )
    model.generation_config = _greedy(model.generation_config, processor.tokenizer)
    model = (model if quantised else model.to(resolve_device(config))).eval()
    align(model)
    return model, processor


def _check_processor(processor: Any, source: Source) -> None:
    tokenizer = processor.tokenizer
    if not processor.chat_template:
        raise ReaderError(
            f"{source.published or source.folder}: no chat template (chat_template.jinja or "
            f"chat_template.json); {source.remedy}"
        )
    if tokenizer.eos_token_id is None:
        raise ReaderError(f"{source.folder}: the tokenizer names no end-of-turn token (eos_token)")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def align(model: torch.nn.Module) -> None:
    """Copy tensors on the CPU that do not start where torch itself would let them start.

    Weights read from a file lie wherever the file's bytes came to lie, which differs between
    processes, and with it the last bit of small products. Training amplifies that bit.
    """
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNMENT:
            tensor.data = tensor.data.clone()


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


def reader_key(
    config: RunConfig, base: Path | str, model: Any, processor: Any, adapter: Path | None
) -> str:
    """Return 16 hex digits that name everything a score depends on besides the pair.

    Weights, adapter, tokenizer, chat template, image preprocessing, prompt version and limits,
    dtype, quantisation, the attention kernels of both towers. Local weights count by content,
    published ones by hub id and commit.
    """
    settings = model.config.to_diff_dict()
    settings.pop("transformers_version", None)
    # Of a published model the hub's cache names the folder after the commit.
    folder = Path(model.name_or_path)
    facts = {
        "base": _weights_hash(folder) if Path(base).is_dir() else f"{base}@{folder.name}",
        "model": settings,
        "adapter": None if adapter is None else adapter_hash(adapter),
        "tokenizer": processor.tokenizer.backend_tokenizer.to_str(),
        "template": processor.chat_template,
        "images": processor.image_processor.to_dict(),
        "prompt": [PROMPT_VERSION, config.prompt.model_dump()],
        "dtype": config.backbone.dtype,
        "quantisation": config.backbone.quantisation,
        "attention": [part._attn_implementation for part in _towers(model)],
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _towers(model: Any) -> tuple[Any, Any]:
    return model.config.get_text_config(), model.config.vision_config


def _weights_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while chunk := file.read(_HASH_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
