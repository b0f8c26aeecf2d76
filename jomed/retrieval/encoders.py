"""Image-text encoders: open_clip models read from a local folder or from the hub's local cache.

A folder holds `open_clip_config.json` (`model_cfg` and `preprocess_cfg`), the weights and, for
Hugging Face text towers, the tokenizer files: what open_clip's own `local-dir:` schema reads.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import open_clip
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from numpy.typing import NDArray
from PIL.Image import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from jomed.config import RunConfig

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
HUB_PREFIX = "hf-hub:"
_HUB_FILES = ["*.json", "*.txt", "*.model", "open_clip_*.safetensors", "open_clip_*.bin"]

FloatArray = NDArray[np.float32]
Item = TypeVar("Item")


class EncoderError(RuntimeError):
    """An encoder cannot be found, is not safe to load, or is not a two-tower model."""


class ImageTower(nn.Module):
    """The image half of an encoder: pixels (B, 3, H, W) -> features (B, d) of unit length."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode preprocessed pixels; rows of the result have unit L2 norm."""
        features: Tensor = F.normalize(self.visual(pixels), dim=-1)
        return features


class Encoder:
    """A frozen image-text encoder; every vector it returns is float32 with unit norm."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        preprocess: Callable[[Image], Tensor],
        tokenizer: Callable[[list[str]], Tensor],
        batch_size: int,
        device: str = "cpu",
    ) -> None:
        if not isinstance(model, open_clip.CLIP | open_clip.CustomTextCLIP):
            raise EncoderError(
                f"encoder {name!r} is a {type(model).__name__}; only two-tower open_clip models "
                "(CLIP, CustomTextCLIP) have one vector per image and per text"
            )
        self.name, self.batch_size, self.device = name, batch_size, torch.device(device)
        self.preprocess, self._tokenizer = preprocess, tokenizer
        self._model = model.float().to(self.device).eval().requires_grad_(False)
        self.image_tower = ImageTower(self._model.visual).eval()

    @cached_property
    def key(self) -> str:
        """Hash of weights and preprocessing: what makes two encoders' vectors comparable."""
        recipe = json.dumps(open_clip.get_model_preprocess_cfg(self._model), sort_keys=True)
        context = getattr(self._tokenizer, "context_length", None)
        whole = f"{weights_hash(self._model)}|{recipe}|{context}"
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    @cached_property
    def dim(self) -> int:
        """Length d of image and text vectors."""
        return int(self.encode_texts([""]).shape[1])

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """Preprocess PIL images into one (N, 3, H, W) float32 tensor on the CPU."""
        return torch.stack([self.preprocess(image) for image in images])

    def encode_images(self, images: Sequence[Image]) -> FloatArray:
        """Encode PIL images in batches -> (N, d)."""
        batches = [self.encode_pixels(self.pixels(part)) for part in self._parts(images)]
        return np.concatenate(batches) if batches else np.empty((0, self.dim), np.float32)

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> FloatArray:
        """Encode preprocessed pixels (N, 3, H, W) as one batch -> (N, d)."""
        return _float_array(self.image_tower(pixels.to(self.device)))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts in batches -> (N, d); the tokenizer truncates to its context length."""
        batches = []
        for part in self._parts(texts):
            tokens = self._tokenizer(list(part)).to(self.device)
            batches.append(_float_array(self._model.encode_text(tokens, normalize=True)))
        return np.concatenate(batches) if batches else np.empty((0, self.dim), np.float32)

    def _parts(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        return [items[i : i + self.batch_size] for i in range(0, len(items), self.batch_size)]


def _float_array(features: Tensor) -> FloatArray:
    return features.float().cpu().numpy()


def weights_hash(module: nn.Module) -> str:
    """Hash of a module's state (names, types, shapes and bytes): 16 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{flat.dtype}{tuple(flat.shape)}".encode())
        digest.update(flat.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def load_encoder(config: RunConfig, folder: Path | None = None) -> Encoder:
    """Load the configured encoder.

    `folder`, where given, wins over `config.encoder.model_id` (a folder, `hf-hub:org/name` or
    `org/name`). Hub models come from the local cache when HF_HUB_OFFLINE=1. Raises EncoderError.
    """
    settings, device = config.encoder, config.runtime.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if folder is None:
        if settings.model_id is None:
            raise EncoderError(
                f"encoder {settings.name!r} has no model_id: give the folder that holds the "
                f"trained encoder ({CONFIG_FILE} and {WEIGHTS_FILE})"
            )
        local = Path(settings.model_id)
        folder = local if local.is_dir() else _hub_folder(settings.model_id, settings.revision)
    return open_encoder(folder, settings.name, settings.batch_size, device)


def open_encoder(folder: Path, name: str, batch_size: int, device: str = "cpu") -> Encoder:
    """Load an encoder from a folder in open_clip's `local-dir:` layout. Raises EncoderError."""
    config_path = folder / CONFIG_FILE
    if not config_path.is_file():
        raise EncoderError(f"{folder} has no {CONFIG_FILE}: it is not an open_clip model folder")
    if _runs_remote_code(json.loads(config_path.read_text(encoding="utf-8"))):
        raise EncoderError(f"{config_path} asks for trust_remote_code; use a model that needs none")
    source = f"local-dir:{folder}"
    try:
        model, preprocess = open_clip.create_model_from_pretrained(
            source, precision="fp32", weights_only=True
        )
        tokenizer = open_clip.get_tokenizer(source)
    except (OSError, RuntimeError, ValueError) as error:
        raise EncoderError(f"cannot load the encoder in {folder}: {error}") from error
    return Encoder(name, model, preprocess, tokenizer, batch_size, device)


def save_encoder(model: nn.Module, config_dict: Mapping[str, Any], folder: Path) -> None:
    """Store an open_clip model so that `open_encoder` and open_clip's `local-dir:` read it back.

    `config_dict` has `model_cfg` (embed_dim, vision_cfg, text_cfg) and `preprocess_cfg`.
    """
    absent = {"model_cfg", "preprocess_cfg"} - set(config_dict)
    if absent:
        raise EncoderError(f"an encoder's config needs {sorted(absent)}; got {sorted(config_dict)}")
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    save_file(state, folder / WEIGHTS_FILE)
    text = json.dumps(config_dict, indent=2, sort_keys=True)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def _hub_folder(model_id: str, revision: str | None) -> Path:
    """Snapshot folder of a hub model: one way of loading, and the revision stays pinned."""
    repo = model_id.removeprefix(HUB_PREFIX)
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=_HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise EncoderError(
            f"encoder {model_id!r} is neither a folder nor in the hub cache ({error}); download it "
            f"once with `hf download {repo}` or set encoder.model_id to a local folder"
        ) from error


def _runs_remote_code(node: object) -> bool:
    if isinstance(node, Mapping):
        return any(
            (key == "trust_remote_code" and value) or _runs_remote_code(value)
            for key, value in node.items()
        )
    return isinstance(node, list) and any(_runs_remote_code(item) for item in node)
