"""How a reader's model is loaded: precision, attention kernels and quantisation."""

import logging
from typing import Any

import torch
from transformers import BitsAndBytesConfig
from transformers.utils import is_bitsandbytes_available, is_flash_attn_2_available

from jomed.config import RunConfig
from jomed.reading.families import FAMILIES
from jomed.reading.packing import ReaderError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Names of ``backbone.dtype``."""


def resolve_device(config: RunConfig) -> torch.device:
    """Return the device of ``runtime.device``; "auto" takes CUDA where there is one."""
    name = config.runtime.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ReaderError("runtime.device is 'cuda' but there is no CUDA device; use 'auto'")
    return torch.device(name)


def attention_kernels(config: RunConfig) -> dict[str, str]:
    """Return the attention of ``backbone.attention`` by the model's parts.

    "sdpa", "eager" and "flash_attention_2" hold for both towers. "auto" is PyTorch's own attention
    (sdpa) in the text model, because answers of several tokens are scored under a mask of their
    own, which flash attention cannot take, and flash attention in the vision tower where it can
    run: flash_attn is installed, the device is CUDA, the precision bfloat16. What was taken is
    part of the reader's key, so that scores of different kernels never mix. Raises ReaderError
    where flash attention is asked for and cannot run; nothing is fetched in its place.
    """
    asked = config.backbone.attention
    half = config.backbone.dtype == "bfloat16"
    flash = half and resolve_device(config).type == "cuda" and is_flash_attn_2_available()
    if asked == "flash_attention_2" and not flash:
        raise ReaderError(
            "backbone.attention 'flash_attention_2' needs the package flash_attn, a CUDA device "
            "and backbone.dtype 'bfloat16'; use 'auto' or 'sdpa'"
        )
    text = "sdpa" if asked == "auto" else asked
    vision = "flash_attention_2" if asked == "auto" and flash else text
    return {"": text, "text_config": text, "vision_config": vision}


def quantised_loading(config: RunConfig) -> dict[str, Any]:
    """Return the loading arguments of ``backbone.quantisation``; none where it is null.

    "8bit" is LLM.int8, whose products are float16 whatever ``backbone.dtype`` says; "4bit" is NF4,
    which computes in ``backbone.dtype``. Linear layers of the text model are quantised; the vision
    tower, what joins the towers and the head, a small part of the weights, are not. Raises
    ReaderError where bitsandbytes is missing.
    """
    asked = config.backbone.quantisation
    if asked is None:
        return {}
    if not is_bitsandbytes_available():
        raise ReaderError(
            f"backbone.quantisation {asked!r} needs the package bitsandbytes: "
            "pip install 'jomed[quant]'"
        )
    # It would say with every product that it computes in float16.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    kept = list(FAMILIES[config.backbone.family].never_quantised)
    settings = BitsAndBytesConfig(
        load_in_8bit=asked == "8bit",
        load_in_4bit=asked == "4bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=DTYPES[config.backbone.dtype],
        llm_int8_skip_modules=kept,
    )
    # A quantised model cannot be moved afterwards.
    return {"quantization_config": settings, "device_map": {"": resolve_device(config)}}
