"""Opening any image of any data set as 8-bit RGB."""

import os
import threading
from bisect import bisect_right
from functools import lru_cache
from io import BytesIO
from itertools import accumulate
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image, ImageOps, UnidentifiedImageError

from jomed.data import dicom
from jomed.data.archives import ZipIndex
from jomed.data.deep_png import deep_colour_kind, read_deep_colour
from jomed.data.npz import read_array
from jomed.data.pixels import check_bytes, check_size, to_uint8

FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP", "GIF", "WEBP", "PPM")
"""What Pillow may take a file for. Other formats are not images of data sets, and to read some of
them (EPS) it starts another program."""

_cache_lock = threading.Lock()


class ImageError(Exception):
    """One image cannot be used; `address` says which and `reason` why."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.address}: {self.reason}"


def open_image(address: str, root: Path) -> Image.Image:
    """Open the image at `address`, relative to the data root, as 8-bit RGB.

    Addresses: "a/b.jpg", "x.dicom", "retinamnist.npz::train_images/12", "images.zip::dir/a.jpg",
    "data/train-0.parquet::12" (field `bytes` of the column `image`, rows from 0). Of several frames
    or pages the first is taken. Raises ImageError for whatever is wrong with the file: it is
    missing, broken, of another kind, or declares a size above those of `pixels`.
    """
    try:
        return _open(address, root)
    except FileNotFoundError as error:
        raise ImageError(address, "file not found") from error
    except Exception as error:  # decoders raise nearly anything on a broken file
        raise ImageError(address, f"{type(error).__name__}: {error}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB: deep images are scaled to their own range, alpha lies on black."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(to_uint8(np.asarray(image)))
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    return image.convert("RGB")


def _open(address: str, root: Path) -> Image.Image:
    container, _, member = address.partition("::")
    parts = PurePosixPath(container)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError("the address leaves the data root")
    path = root / container
    if member and path.suffix.lower() == ".npz":
        return _from_npz(path, member)
    data = _member(path, member) if member else None
    if (member or container).lower().endswith(dicom.SUFFIXES):
        return _radiograph(_from_file(path) if data is None else data)
    try:
        return _picture(path if data is None else BytesIO(data))
    except UnidentifiedImageError:
        data = _from_file(path) if data is None else data
        if not dicom.is_dicom(data):  # archives of hospitals give files no suffix, or another
            raise
        return _radiograph(data)


def _radiograph(data: bytes) -> Image.Image:
    return to_rgb(Image.fromarray(dicom.read_dicom(data)))


def _picture(file: Path | BytesIO) -> Image.Image:
    with Image.open(file, formats=FORMATS) as image:
        check_size(*image.size)
        if image.format == "PNG" and (kind := deep_colour_kind(file)) is not None:
            deep = read_deep_colour(file, kind)
            deep.getexif().update(image.getexif())
            return ImageOps.exif_transpose(deep)
        ImageOps.exif_transpose(image, in_place=True)  # a camera's note on how it was held
        return to_rgb(image)


def _member(path: Path, member: str) -> bytes:
    return (_from_parquet if path.suffix.lower() == ".parquet" else _from_zip)(path, member)


def _from_file(path: Path) -> bytes:
    check_bytes(path.stat().st_size)
    return path.read_bytes()


def _from_npz(path: Path, member: str) -> Image.Image:
    key, _, place = member.rpartition("/")
    if not place.isdecimal():
        raise ValueError(f"{member!r} is not KEY/INDEX")
    with _cache_lock:
        array = _npz_array(path, path.stat().st_mtime_ns, key)
    check_size(*array.shape[1:3])
    return to_rgb(Image.fromarray(array[int(place)]))


@lru_cache(maxsize=3)  # the three splits of one benchmark
def _npz_array(path: Path, _changed: int, key: str) -> np.ndarray:
    return read_array(path, key)


def _from_zip(path: Path, member: str) -> bytes:
    with _cache_lock:
        index = _zip_index(path, path.stat().st_mtime_ns)
    return index.read(member)


@lru_cache(maxsize=4)
def _zip_index(path: Path, _changed: int) -> ZipIndex:
    return ZipIndex(path)


def _from_parquet(path: Path, member: str) -> bytes:
    if not member.isdecimal():
        raise ValueError(f"{member!r} is not a row number")
    row = int(member)
    with _cache_lock:
        key = path, path.stat().st_mtime_ns, os.getpid()
        _, starts = _parquet_file(*key)
        group = bisect_right(starts, row) - 1
        images = _parquet_images(*key, group)
    encoded: bytes | None = images[row - starts[group]].as_py()
    if encoded is None:
        raise ValueError(f"row {row} holds no image")
    return encoded


@lru_cache(maxsize=4)
def _parquet_file(path: Path, _changed: int, _process: int) -> tuple[pq.ParquetFile, list[int]]:
    """An open file of this process and the first row of each of its row groups."""
    file = pq.ParquetFile(path)
    counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return file, list(accumulate(counts[:-1], initial=0))


@lru_cache(maxsize=4)  # threads that read on meet at the border of two groups
def _parquet_images(path: Path, changed: int, process: int, group: int) -> pa.ChunkedArray:
    """The encoded images of one row group: a group is what can be read without the rest."""
    file, _ = _parquet_file(path, changed, process)
    return pc.struct_field(file.read_row_group(group, columns=["image.bytes"])["image"], "bytes")
