"""Opening and preprocessing images in threads, one batch ahead of the encoder."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from jomed.data.images import ImageError, open_image
from jomed.records import Skipped
from jomed.retrieval.encoders import Encoder

_THREADS = 8


@dataclass(frozen=True, slots=True)
class ImageItem:
    """An image to open: what to call it in a report, where it comes from, its address."""

    name: str
    source: str
    address: str


@dataclass(frozen=True, slots=True)
class PixelBatch:
    """Images that opened: positions in the input, pixels (n, 3, H, W); and those that did not."""

    positions: list[int]
    pixels: Tensor
    skipped: list[Skipped]


def stream_pixels(
    items: Sequence[ImageItem], root: Path, encoder: Encoder, batch_size: int
) -> Iterator[PixelBatch]:
    """Yield preprocessed batches in input order; an image that cannot be opened is reported.

    Only preprocessed pixels of two batches are held in memory. Any error other than ImageError
    is a defect and is raised.
    """

    def load(item: ImageItem) -> Tensor | Skipped:
        try:
            image = open_image(item.address, root)
        except ImageError as error:
            return Skipped(item.source, item.name, "unreadable image", str(error))
        return encoder.preprocess(image)

    with ThreadPoolExecutor(_THREADS) as pool:

        def submit(start: int) -> list[Future[Tensor | Skipped]]:
            return [pool.submit(load, item) for item in items[start : start + batch_size]]

        ahead = submit(0)
        for start in range(0, len(items), batch_size):
            batch, ahead = ahead, submit(start + batch_size)
            yield _collect(batch, start)


def _collect(batch: list[Future[Tensor | Skipped]], offset: int) -> PixelBatch:
    positions: list[int] = []
    tensors: list[Tensor] = []
    skipped: list[Skipped] = []
    for position, future in enumerate(batch, start=offset):
        result = future.result()
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            positions.append(position)
            tensors.append(result)
    pixels = torch.stack(tensors) if tensors else torch.empty(0)
    return PixelBatch(positions, pixels, skipped)
