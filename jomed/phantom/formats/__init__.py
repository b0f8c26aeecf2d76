"""Writers of the synthetic world, one module per data set, and what they share.

Every module has `write(root, items, seed) -> Planted`. The corpora (ROCO, PMC-OA, MIMIC-CXR) take
the data root and make their own folder below it; a benchmark takes the file or folder that its
benchmark configuration names below the data root. The same items and seed give the same bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from jomed.phantom.items import Planted

JPEG_QUALITY = 95
"""High enough for findings that are a few pixels wide."""

SPLITS = ("train", "val", "test")


def encode_jpeg(image: np.ndarray, mode: str | None = None) -> bytes:
    """A uint8 (H, W) or (H, W, 3) array as a JPEG without chroma subsampling.

    `mode` converts first, e.g. to "CMYK". Raises ValueError for any other kind of array.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(
            f"the image is {image.dtype} with shape {image.shape}; "
            "draw uint8 arrays of shape (H, W) or (H, W, 3)"
        )
    picture = Image.fromarray(image)
    if mode is not None:
        picture = picture.convert("RGB").convert(mode)
    file = BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def save_jpeg(path: Path, image: np.ndarray, mode: str | None = None) -> None:
    """Write what `encode_jpeg` makes of an image."""
    path.write_bytes(encode_jpeg(image, mode))


def to_gray(image: np.ndarray) -> np.ndarray:
    """The (H, W) luminance of a uint8 (H, W) or (H, W, 3) array: radiographs have one channel."""
    return np.asarray(Image.fromarray(image).convert("L"))


def cut_jpeg(data: bytes) -> bytes:
    """A JPEG cut in the middle of its pixel data, as a broken download leaves it."""
    scan = data.rindex(b"\xff\xda")
    return data[: (scan + len(data)) // 2]


def truncate_jpeg(path: Path) -> None:
    """Cut the JPEG in a file."""
    path.write_bytes(cut_jpeg(path.read_bytes()))


def plant(rng: np.random.Generator, count: int, oddities: Mapping[str, int]) -> dict[int, str]:
    """Choose which of `count` items get which oddity, as place -> name; no item gets two.

    `oddities` says how many items each one has. Raises ValueError when more than half of the items
    would be odd: then the set is too small to carry them.
    """
    wanted = sum(oddities.values())
    if 2 * wanted > count:
        raise ValueError(
            f"{count} items cannot carry {wanted} planted oddities; draw at least {2 * wanted}"
        )
    names = [name for name, number in oddities.items() for _ in range(number)]
    return dict(zip(rng.permutation(count)[:wanted].tolist(), names, strict=True))


def tally(drawn: int, counts: Mapping[str, int], broken: Sequence[str]) -> Planted:
    """Account for `drawn` items: of the counted oddities, `broken` ones cost an item each."""
    lost = {name: counts[name] for name in broken}
    notes = {name: counts[name] for name in sorted(counts) if name and name not in lost}
    return Planted(drawn - sum(lost.values()), lost, notes)


def check_splits(found: Iterable[str], allowed: Sequence[str], source: str) -> None:
    """Raise ValueError when an item names a split that the data set does not have."""
    unknown = sorted(set(found) - set(allowed))
    if unknown:
        raise ValueError(f"{source} has no split {', '.join(unknown)}; use {', '.join(allowed)}")


def some(rng: np.random.Generator, words: Sequence[str]) -> str:
    """Draw one of `words`."""
    return words[int(rng.integers(len(words)))]
