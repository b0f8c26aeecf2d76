"""The one size limit of images for all readers and stages."""

import math

from PIL import Image


def limit_side(image: Image.Image, max_side: int, max_pixels: int | None = None) -> Image.Image:
    """Shrink an image to ``max_side`` px at most and then ``max_pixels`` in all; never enlarge it.

    These are the only size limits of stage 1, stage 2 and inference, the same for all families.
    The aspect ratio is kept, with sides of at least 1 px. A family's own image processor resizes
    what it gets to whole patches: the Qwen-VL ones round both sides to multiples of 28 px (Qwen3-VL
    32 px; one token each) and enlarge images below their ``min_pixels`` (56 x 56 px; Qwen3-VL
    256 x 256 px) and shrink those above their ``max_pixels``; the Pixtral one shrinks to a longest
    side of 1024 px and rounds up to multiples of 16 px (one token each, and one more per row).
    """
    size = _limited(image.size, max_side, max_pixels)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _limited(size: tuple[int, int], max_side: int, max_pixels: int | None) -> tuple[int, int]:
    width, height = size
    if (longest := max(size)) > max_side:
        width, height = (max(1, round(side * max_side / longest)) for side in size)
    if max_pixels is not None and width * height > max_pixels:
        scale = math.sqrt(max_pixels / (width * height))
        width, height = (max(1, math.floor(side * scale)) for side in (width, height))
        # A side that was raised to 1 px leaves less to the other.
        width = max(1, min(width, max_pixels // height))
        height = max(1, min(height, max_pixels // width))
    return width, height
