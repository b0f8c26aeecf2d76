"""Synthetic MedMNIST file: one npz with the images and labels of three splits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jomed.phantom.formats import SPLITS, check_splits
from jomed.phantom.items import LabelItem, Planted


def write(root: Path, items: Sequence[LabelItem], seed: int) -> Planted:
    """Write `items` as the npz file `root`, e.g. data/retinamnist.npz.

    Images are uint8 (N, S, S) or (N, S, S, 3), labels uint8 (N, 1), in the order of `items`. The
    format has no room for a broken entry, so nothing depends on `seed`. Raises ValueError for mixed
    image shapes and for an item without exactly one label.
    """
    if root.suffix != ".npz":
        raise ValueError(f"{root}: a MedMNIST set is one .npz file; name that file")
    check_splits((item.split for item in items), SPLITS, "MedMNIST")
    shapes = {item.image.shape for item in items}
    if len(shapes) != 1:
        raise ValueError(f"{root.name}: all images need one shape, found {sorted(shapes)}")
    shape = shapes.pop()
    members: dict[str, np.ndarray] = {}
    for split in SPLITS:
        chosen = [item for item in items if item.split == split]
        images = np.zeros((len(chosen), *shape), dtype=np.uint8)
        labels = np.zeros((len(chosen), 1), dtype=np.uint8)
        for row, item in enumerate(chosen):
            images[row] = item.image
            labels[row, 0] = _only_label(item, root.name)
        members[f"{split}_images"] = images
        members[f"{split}_labels"] = labels
    root.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(root, allow_pickle=False, **members)
    return Planted(records=len(items))


def _only_label(item: LabelItem, name: str) -> int:
    if len(item.labels) != 1:
        raise ValueError(f"{name}: a MedMNIST image has one label, this one has {item.labels}")
    return item.labels[0]
