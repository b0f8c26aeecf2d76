"""Naming the content of images: an exact hash of the pixels and a perceptual one.

The exact hash finds copies. The perceptual hash (pHash: signs of low spatial frequencies) survives
another file format, compression or size, so it finds the same figure in another corpus.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from imagehash import phash
from joblib import Parallel, delayed
from PIL import Image

from jomed.data.images import ImageError, open_image
from jomed.records import Record, Sample, Skipped

PHASH_SIDE = 16
"""Side of the square of frequencies: 256 bits, which tell radiographs of one view apart."""
NEAR_BITS = 10
"""Images that differ in no more bits are near copies; compression and scaling change 0 to 4."""

UNREADABLE = "unreadable image"

_PHASH_PIXELS = 256
_CHUNK = 64
_BATCH = 4096

Row = TypeVar("Row", Record, Sample)


@dataclasses.dataclass(frozen=True, slots=True)
class ImageHashes:
    """Both names of one image, in hex."""

    sha: str
    phash: str


def image_sha(image: Image.Image) -> str:
    """The first 16 hex digits of the SHA-256 of mode, size and pixels: same image, same name."""
    digest = hashlib.sha256(f"{image.mode} {image.width}x{image.height} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:16]


def image_phash(image: Image.Image) -> str:
    """The perceptual hash, 64 hex digits: similar images differ in few of the 256 bits."""
    factor = min(image.size) // _PHASH_PIXELS
    if factor > 1:  # means of squares first: the hash's own filter takes long on large images
        image = image.reduce(factor)
    return str(phash(image, hash_size=PHASH_SIDE))


def is_near(one: int, other: int) -> bool:
    """Whether two perceptual hashes, as numbers, name near copies."""
    return (one ^ other).bit_count() <= NEAR_BITS


class HashLog:
    """What an interrupted run knew already, in the order in which the same rows come again.

    One line of JSON per batch of `with_hashes`, written when the batch is done; a line that a kill
    has cut short counts as absent. Images that could not be opened are not kept: they are tried
    again. Not to be used after the files behind the addresses have changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.touch()
        self._place = 0

    def next(self, addresses: Iterable[str]) -> dict[str, ImageHashes] | None:
        """The hashes of the next batch; None from the first one on that is not in the log."""
        with self._path.open("rb") as file:
            file.seek(self._place)
            line = file.readline()
        if line.endswith(b"\n"):
            kept: dict[str, list[str] | None] = json.loads(line)
            if kept.keys() == set(addresses):
                self._place += len(line)
                return {name: ImageHashes(*pair) for name, pair in kept.items() if pair}
        os.truncate(self._path, self._place)
        return None

    def add(self, found: Mapping[str, ImageHashes | ImageError]) -> None:
        """Write the batch that `next` did not know."""
        pairs = {
            name: None if isinstance(hashes, ImageError) else [hashes.sha, hashes.phash]
            for name, hashes in found.items()
        }
        with self._path.open("ab") as file:
            self._place += file.write(json.dumps(pairs).encode() + b"\n")


def hash_images(
    addresses: Sequence[str], root: Path, threads: int
) -> Iterator[ImageHashes | ImageError]:
    """Both hashes of every address, in order, or the ImageError of one that cannot be opened.

    Runs in `threads` threads (-1: one per core): decoding, scaling and hashing leave Python's lock.
    """
    starts = range(0, len(addresses), _CHUNK)
    chunks = Parallel(n_jobs=threads, backend="threading", return_as="generator")(
        delayed(_hash_chunk)(addresses[start : start + _CHUNK], root) for start in starts
    )
    for chunk in chunks:
        yield from chunk


def with_hashes(
    rows: Iterable[Row | Skipped], root: Path, threads: int = -1, log: HashLog | None = None
) -> Iterator[Row | Skipped]:
    """Yield the rows with their image hashes filled in; unreadable images become Skipped.

    Few thousand rows are in memory at a time, and an image that several of them share is opened
    once; those in the `log` of an interrupted run, which are the first ones, not again. What
    already is Skipped passes through.
    """
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        addresses = list(dict.fromkeys(row.image for row in batch if not isinstance(row, Skipped)))
        known = None if log is None else log.next(addresses)
        found: dict[str, ImageHashes | ImageError] = {**(known or {})}
        absent = [address for address in addresses if address not in found]
        found.update(zip(absent, hash_images(absent, root, threads), strict=True))
        if log is not None and known is None:
            log.add(found)
        for row in batch:
            yield row if isinstance(row, Skipped) else _hashed(row, found[row.image])


def _hashed(row: Row, found: ImageHashes | ImageError) -> Row | Skipped:
    if not isinstance(found, ImageError):
        return dataclasses.replace(row, image_sha=found.sha, image_phash=found.phash)
    if isinstance(row, Record):
        return Skipped(row.source, row.record_id, UNREADABLE, str(found))
    return Skipped(row.benchmark, row.sample_id, UNREADABLE, str(found))


def _hash_chunk(addresses: Sequence[str], root: Path) -> list[ImageHashes | ImageError]:
    found: list[ImageHashes | ImageError] = []
    for address in addresses:
        try:
            image = open_image(address, root)
        except ImageError as error:
            found.append(error)
        else:
            found.append(ImageHashes(image_sha(image), image_phash(image)))
    return found
