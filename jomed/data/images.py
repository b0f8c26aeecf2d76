"""Opening any image of any data set as 8-bit RGB."""

import os
import threading
import zipfile
from bisect import bisect_right
from functools import lru_cache
from io import BytesIO
from itertools import accumulate
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

DICOM_SUFFIXES = (".dicom", ".dcm")
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
    "data/train-0.parquet::12" (field `bytes` of the column `image`, rows from 0). Raises ImageError
    for whatever is wrong with the file, a missing one included.
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
        image = Image.fromarray(_to_uint8(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
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
    if member and path.suffix == ".npz":
        return _from_npz(path, member)
    file: Path | BytesIO = path
    if member:
        read = _from_parquet if path.suffix == ".parquet" else _from_zip
        file = BytesIO(read(path, member))
    if (member or container).lower().endswith(DICOM_SUFFIXES):
        return _from_dicom(file)
    with Image.open(file) as image:
        return to_rgb(image)


def _from_npz(path: Path, member: str) -> Image.Image:
    key, _, place = member.rpartition("/")
    if not place.isdecimal():
        raise ValueError(f"{member!r} is not KEY/INDEX")
    with _cache_lock:
        array = _npz_array(path, path.stat().st_mtime_ns, key)
    return to_rgb(Image.fromarray(array[int(place)]))


@lru_cache(maxsize=3)  # the three splits of one benchmark
def _npz_array(path: Path, _changed: int, key: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        array: np.ndarray = arrays[key]
    return array


def _from_zip(path: Path, member: str) -> bytes:
    with _cache_lock:
        archive = _zip_archive(path, path.stat().st_mtime_ns, os.getpid())
    return archive.read(member)


@lru_cache(maxsize=4)
def _zip_archive(path: Path, _changed: int, _process: int) -> zipfile.ZipFile:
    """An open archive of this process: two processes must not share one file position."""
    return zipfile.ZipFile(path)


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


def _from_dicom(file: Path | BytesIO) -> Image.Image:
    """First frame: modality LUT, VOI LUT or first window, MONOCHROME1 inverted, scaled to 8 bit."""
    dataset = pydicom.dcmread(file, force=True)  # some files lack the preamble
    if "PixelData" not in dataset:
        raise ValueError("not a DICOM image: no PixelData")
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    kind = dataset.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        raise ValueError("palette colour DICOM is not supported")
    pixels = pixel_array(dataset, index=0)
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        pixels = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset, index=0)
        pixels = pixels.astype(np.float64)
        if kind == "MONOCHROME1":
            pixels = pixels.max() + pixels.min() - pixels
        pixels = _to_uint8(pixels)
    elif pixels.dtype != np.uint8:
        pixels = _to_uint8(pixels)
    return to_rgb(Image.fromarray(pixels))


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Scale the range of the finite values to 0..255; a constant image becomes black."""
    values = pixels.astype(np.float64)
    finite = np.isfinite(values)
    low = values.min(where=finite, initial=np.inf)
    high = values.max(where=finite, initial=-np.inf)
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return np.round((values - low) / (high - low) * 255).astype(np.uint8)
