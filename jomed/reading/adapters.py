"""Stage-1 adapters: reading one back, and refusing one that is broken or of another reader."""

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open

from jomed.reading.packing import ReaderError

SETTINGS = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Silence one warning: PEFT and we use names that the newest transformers has changed."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"`(is_)?gradient_checkpointing\w*` is deprecated", FutureWarning
        )
        yield


def with_adapter(model: Any, adapter: Path) -> Any:
    """Return the model with a PEFT adapter, frozen.

    In float32 the adapter is merged into the weights, which saves its cost in every forward
    pass. In bfloat16 it stays beside them, as beside quantised ones: rounding the sum would lose
    part of a small update. Raises ReaderError where the adapter is broken or of another reader.
    """
    _settings(adapter)
    stored = _tensor_names(adapter)
    try:
        with quiet_peft():
            # PEFT only warns of layers that do not fit, which is an error below.
            warnings.simplefilter("ignore", UserWarning)
            adapted = PeftModel.from_pretrained(model, adapter)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = _short(error)
        raise _unusable(adapter, f"is of another reader or release ({reason})") from error
    expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    if different := sorted(stored.symmetric_difference(expected)):
        what = f"{len(different)} tensors that only one of the two has, e.g. {different[0]}"
        raise _unusable(adapter / WEIGHTS, f"is of another reader ({what})")
    if model.dtype == torch.float32 and not getattr(model, "is_quantized", False):
        return adapted.merge_and_unload().eval()
    return adapted.get_base_model().eval()


def adapter_hash(adapter: Path) -> str:
    """Return the hash of an adapter's weights and settings. Raises ReaderError."""
    settings = _settings(adapter)
    _tensor_names(adapter)
    # Where the base lay during training says nothing about what the adapter computes.
    settings.pop("base_model_name_or_path", None)
    # PEFT writes the names of the adapted layers in the order of a hash table.
    settings = {k: sorted(v) if isinstance(v, list) else v for k, v in settings.items()}
    weights = hashlib.sha256((adapter / WEIGHTS).read_bytes()).hexdigest()
    return weights + json.dumps(settings, sort_keys=True)


def _settings(adapter: Path) -> dict[str, Any]:
    path = adapter / SETTINGS
    if not path.is_file():
        raise _unusable(path, "is missing")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise _unusable(path, f"is broken ({_short(error)})") from error


def _tensor_names(adapter: Path) -> set[str]:
    path = adapter / WEIGHTS
    if not path.is_file():
        raise _unusable(path, "is missing")
    try:
        with safe_open(path, "pt") as file:
            return set(file.keys())
    except SafetensorError as error:
        raise _unusable(path, f"is broken ({_short(error)})") from error


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


def _unusable(path: Path, why: str) -> ReaderError:
    return ReaderError(
        f"adapter {path} {why}; nothing else was touched. Remove the stage-1 artefact that holds "
        "it and run stage 1 again (notebook 04_train_reader)"
    )
