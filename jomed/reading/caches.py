"""A least-recently-used cache that is bounded in bytes."""

from collections import OrderedDict

import torch


class TensorCache:
    """Tensors by name; the least recently used ones go when ``limit`` bytes are passed.

    A tensor larger than the whole limit is not kept.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.size = 0
        self._tensors: OrderedDict[str, torch.Tensor] = OrderedDict()

    def get(self, name: str) -> torch.Tensor | None:
        """Return a tensor and count it as used, or None when it is not kept."""
        tensor = self._tensors.get(name)
        if tensor is not None:
            self._tensors.move_to_end(name)
        return tensor

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Keep a tensor; storage that it shares with others is copied, so that it can be freed."""
        held = tensor.contiguous()
        if held.untyped_storage().nbytes() != held.nbytes:
            held = held.clone()
        if held.nbytes > self.limit:
            return
        replaced = self._tensors.pop(name, None)
        self.size += held.nbytes - (0 if replaced is None else replaced.nbytes)
        self._tensors[name] = held
        while self.size > self.limit:
            self.size -= self._tensors.popitem(last=False)[1].nbytes
