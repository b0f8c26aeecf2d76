"""Colour PNG files of 16 bits, of which Pillow keeps the upper bytes: dark ones become black."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from jomed.data.pixels import to_uint8

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH, _KIND = 24, 25  # places in the file of two numbers of its header, which comes first
_DEEP, _RGB, _GREY_ALPHA, _RGB_ALPHA = 16, 2, 4, 6
_OPAQUE = 2**16 - 1


def deep_colour_kind(file: Path | BytesIO) -> int | None:
    """The colour type of a PNG of 16 bits with colours or alpha, None for any other file.

    Grey without alpha is not among them: Pillow reads it whole.
    """
    head = _head(file)
    deep = head.startswith(_SIGNATURE) and head[_DEPTH] == _DEEP
    return head[_KIND] if deep and head[_KIND] in (_RGB, _GREY_ALPHA, _RGB_ALPHA) else None


def read_deep_colour(file: Path | BytesIO, kind: int) -> Image.Image:
    """A file of this `deep_colour_kind` as 8-bit RGB on black.

    Its colours are scaled together to their own range; one that a file without alpha declares to be
    transparent is shown. Raises what Pillow raises for a broken file; its size is to be checked
    before.
    """
    if kind == _GREY_ALPHA:
        # A pixel is as wide as one of four bytes, and is read as that.
        parts = _decoded(file, "RGBA")
        upper, lower = parts[..., 0::2], parts[..., 1::2]
    else:
        # Read once as it is and once as if the bytes of each number were swapped.
        name = "RGB" if kind == _RGB else "RGBA"
        upper, lower = _decoded(file, f"{name};16B"), _decoded(file, f"{name};16L")
    pixels = upper.astype(np.uint16) << 8 | lower
    if kind == _RGB:
        return Image.fromarray(to_uint8(pixels))
    opaque = pixels[..., -1:] / _OPAQUE
    colours = np.broadcast_to(pixels[..., :-1], (*pixels.shape[:2], 3))
    return Image.fromarray(np.rint(to_uint8(colours) * opaque).astype(np.uint8))


def _decoded(file: Path | BytesIO, layout: str) -> np.ndarray:
    """The bytes (H, W, C) that Pillow keeps when it takes the file's pixels for this raw mode."""
    source = file if isinstance(file, Path) else BytesIO(file.getbuffer())
    with Image.open(source, formats=("PNG",)) as image:
        image.tile = [tile._replace(args=layout) for tile in image.tile]
        return np.asarray(image)


def _head(file: Path | BytesIO) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(_KIND + 1)
    return bytes(file.getbuffer()[: _KIND + 1])
