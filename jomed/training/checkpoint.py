"""Exact checkpoints of stage 2: tower, optimiser moments and progress in one safetensors file.

Sampling and shuffling are functions of (seed, step), so there is no random state to keep.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from jomed.artifacts import atomic_write
from jomed.training.errors import TrainingError

CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(slots=True)
class Progress:
    """How far a run is: optimiser steps done, validations and where the log ends.

    `first` and `best` are validation values, `stale` the validations since the best one.
    """

    step: int = 0
    first: float = math.nan
    best: float = -math.inf
    best_step: int = 0
    stale: int = 0
    log_bytes: int = 0


def save_checkpoint(
    folder: Path, tower: nn.Module, optimiser: Optimizer, progress: Progress, fingerprint: str
) -> None:
    """Replace the folder's checkpoint atomically."""
    tensors = {f"tower/{name}": tensor for name, tensor in tower.state_dict().items()}
    for number, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{number}/{name}": value for name, value in moments.items()}
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {"progress": json.dumps(asdict(progress)), "fingerprint": fingerprint}
    with atomic_write(folder / CHECKPOINT_FILE) as temporary:
        save_file(contiguous, temporary, metadata=metadata)


def load_checkpoint(
    folder: Path, tower: nn.Module, optimiser: Optimizer, fingerprint: str
) -> Progress | None:
    """Restore tower and optimiser in place; None where there is no checkpoint.

    Raises TrainingError where the checkpoint belongs to other settings, data or models.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    with safe_open(path, framework="pt", device="cpu") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata["fingerprint"] != fingerprint:
        raise TrainingError(
            f"{path} belongs to a run with other settings, samples, index or encoder: "
            "delete its folder to start anew, or train in another folder"
        )
    state: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        kind, rest = name.split("/", 1)
        if kind == "tower":
            weights[rest] = tensor
        else:
            number, key = rest.split("/")
            state.setdefault(int(number), {})[key] = tensor
    tower.load_state_dict(weights)
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    return Progress(**json.loads(metadata["progress"]))
