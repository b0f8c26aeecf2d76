"""Query heads: a frozen image tower mixed with a trained copy of itself (method, section 2)."""

import copy
from pathlib import Path
from typing import Self, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from jomed.artifacts import atomic_write
from jomed.retrieval.encoders import weights_hash
from jomed.settings import HEAD_NAMES, HeadName


class HeadError(RuntimeError):
    """A head cannot be built or read back."""


class QueryHead(nn.Module):
    """Query embedding e(x) = (1 - alpha) f(x) + alpha g(x), not re-normalised.

    f is the encoder's image tower (frozen), g a copy of it (the only trainable part). Untrained,
    e(x) = f(x): standard retrieval. The towers stay in evaluation mode while g is trained, so
    that mining, loss and inference see the same function.
    """

    def __init__(self, tower: nn.Module, head: HeadName, alpha: float) -> None:
        super().__init__()
        if head not in HEAD_NAMES:
            raise HeadError(f"head {head!r} is not one of {HEAD_NAMES}")
        if not 0.0 <= alpha <= 1.0:
            raise HeadError(f"alpha must lie in [0, 1], got {alpha}")
        self.head, self.alpha = head, alpha
        self.trained = copy.deepcopy(tower).requires_grad_(True)
        self.frozen = tower.requires_grad_(False)
        self.eval()

    def forward(self, pixels: Tensor, frozen_features: Tensor | None = None) -> Tensor:
        """Embed pixels (B, 3, H, W) -> (B, d); f(x) (B, d) may be given where it is known."""
        if frozen_features is None:
            with torch.no_grad():
                frozen_features = self.frozen(pixels)
        mixed: Tensor = (1.0 - self.alpha) * frozen_features + self.alpha * self.trained(pixels)
        return mixed

    def save(self, path: Path) -> None:
        """Write g as safetensors, with head, alpha and the hash of f as metadata; atomic."""
        metadata = {
            "head": self.head,
            "alpha": repr(self.alpha),
            "frozen": weights_hash(self.frozen),
        }
        state = {k: v.detach().cpu().contiguous() for k, v in self.trained.state_dict().items()}
        with atomic_write(path) as temporary:
            save_file(state, temporary, metadata=metadata)

    @classmethod
    def load(cls, path: Path, tower: nn.Module) -> Self:
        """Rebuild a head over the image tower that it was trained with. Raises HeadError."""
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                metadata = file.metadata() or {}
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise HeadError(f"cannot read the head {path}: {error}") from error
        missing = {"head", "alpha", "frozen"} - set(metadata)
        if missing:
            raise HeadError(
                f"{path} is not a saved query head: no {sorted(missing)} in its metadata"
            )
        if metadata["frozen"] != weights_hash(tower):
            raise HeadError(
                f"{path} was trained over another encoder; load the encoder it was trained with "
                "or train the head again"
            )
        head = cls(tower, cast(HeadName, metadata["head"]), float(metadata["alpha"]))
        head.trained.load_state_dict(state)
        return head
