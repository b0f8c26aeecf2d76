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


def to_uint8(pixels: np.ndarray, inverted: bool = False, overwrite: bool = False) -> np.ndarray:
    """Scale the range of the finite values to 0..255, or to 255..0; a constant becomes black.

    `overwrite` allows `pixels`, where they are float64, to be used as scratch memory.
    """
    copy = None if overwrite and pixels.flags.writeable else True
    values = np.array(pixels, dtype=np.float64, copy=copy)
    low, high = values.min(), values.max()
    if not np.isfinite(high - low):
        finite = np.isfinite(values)
        low = values.min(where=finite, initial=np.inf)
        high = values.max(where=finite, initial=-np.inf)
        np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    # In place: a radiograph of 4k x 4k takes 128 MB as it is.
    if inverted:
        np.subtract(high, values, out=values)
    else:
        values -= low
    values /= high - low
    values *= 255
    return np.rint(values, out=values).astype(np.uint8)
