"""How large an image may be, and deep pixels as 8 bits."""

import numpy as np

MAX_PIXELS = 2**26
"""Pixels of the largest image that is decoded, 8192 x 8192. Radiographs have up to 4k x 4k, fundus
photographs up to 50 million; above that a header is taken for a lie, not for an image."""

MAX_BYTES = 2**31
"""Size of the largest file that is read into memory as a whole, 2 GiB."""


def check_size(width: int, height: int) -> None:
    """Raise ValueError where an image has more than MAX_PIXELS; to be called before decoding."""
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels are declared, more than {MAX_PIXELS} in all")


def check_bytes(count: int) -> None:
    """Raise ValueError where a file has more than MAX_BYTES; to be called before reading it."""
    if count > MAX_BYTES:
        raise ValueError(f"{count} bytes are declared, more than {MAX_BYTES}")


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Scale the range of the finite values to 0..255; a constant image becomes black."""
    values = pixels.astype(np.float64)
    finite = np.isfinite(values)
    low = values.min(where=finite, initial=np.inf)
    high = values.max(where=finite, initial=-np.inf)
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return np.round((values - low) / (high - low) * 255).astype(np.uint8)
