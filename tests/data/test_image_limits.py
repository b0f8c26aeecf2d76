"""Headers that lie about a size: an ImageError, and no memory is taken for what is not there."""

import os
import re
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit
from test_image_formats import compressed, encoded
from test_images import RAMP, dicom
from tiny_sets import picture

from jomed.data.images import ImageError, open_image
from jomed.data.pixels import MAX_BYTES, MAX_PIXELS

SIDE = 8400
"""More pixels than are allowed, and fewer than Pillow warns of."""
HUGE = 60_000


def png(path: Path, side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks))


def jpeg_bytes(side: int) -> bytes:
    data = bytearray(encoded(np.asarray(picture(1)), "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", side, side)
    return bytes(data)


def jpeg(path: Path, side: int) -> None:
    path.write_bytes(jpeg_bytes(side))


def bitmap(path: Path, side: int) -> None:
    picture(1).save(path, "BMP")
    data = bytearray(path.read_bytes())
    data[18:26] = struct.pack("<ii", side, side)
    path.write_bytes(data)


def dicom_header(path: Path, side: int) -> None:
    dicom(path, Rows=side, Columns=side).save_as(path, enforce_file_format=True)


def dicom_jpeg_2000(path: Path, side: int) -> None:
    """Rows and Columns are true; the stream within says something else."""
    data = bytearray(encoded(RAMP, "JPEG2000", no_jp2=True))
    start = data.index(b"\xff\x51") + 6
    data[start : start + 8] = struct.pack(">II", side, side)
    compressed(path, bytes(data), JPEG2000Lossless)


def dicom_jpeg(path: Path, side: int) -> None:
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "SamplesPerPixel": 3}
    compressed(path, jpeg_bytes(side), JPEGBaseline8Bit, PlanarConfiguration=0, **eight)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "x.png": png,
    "x.jpg": jpeg,
    "x.bmp": bitmap,
    "header.dcm": dicom_header,
    "jpeg2000.dcm": dicom_jpeg_2000,
    "jpeg.dcm": dicom_jpeg,
}


def refused(address: str, root: Path, reason: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=reason):
            open_image(address, root)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("side", [SIDE, HUGE])
@pytest.mark.parametrize("name", WRITERS)
def test_a_size_that_lies(tmp_path: Path, name: str, side: int) -> None:
    WRITERS[name](tmp_path / name, side)
    refused(name, tmp_path, "pixels are declared|DecompressionBomb|the frame is")


def test_real_sizes_are_below_the_limit() -> None:
    for width, height in ((4096, 4096), (4096, 5120), (8000, 6000)):
        assert width * height <= MAX_PIXELS
    assert SIDE * SIDE > MAX_PIXELS


def test_more_frames_than_the_file_has(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    dicom(path, NumberOfFrames=10_000_000).save_as(path, enforce_file_format=True)
    refused("x.dcm", tmp_path, "less than expected")


def test_a_pixel_length_that_lies(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    dicom(path).save_as(path, enforce_file_format=True)
    data = bytearray(path.read_bytes())
    start = data.rindex(b"\xe0\x7f\x10\x00OW") + 8
    data[start : start + 4] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(data)
    open_image("x.dcm", tmp_path)  # all pixels are there; no more is read
    path.write_bytes(data[:-500])
    refused("x.dcm", tmp_path, "less than expected")


def npy(shape: tuple[int, ...]) -> bytes:
    """An array file of 16 bytes of pixels, whatever `shape` says."""
    buffer = BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + b"\0" * 16


def test_an_array_that_is_not_there(tmp_path: Path) -> None:
    for name, shape in {"true": (1, 4, 4), "lie": (10**6, 300, 300), "sign": (-1, 4, 4)}.items():
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr("x.npy", npy(shape))
    assert open_image("true.npz::x/0", tmp_path).size == (4, 4)
    refused("lie.npz::x/0", tmp_path, "x declares 90000000000 bytes, the file holds at most")
    refused("sign.npz::x/0", tmp_path, "ValueError")


def test_an_array_of_images_that_are_too_large(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1, SIDE, SIDE), dtype=bool))
    with pytest.raises(ImageError, match="pixels are declared"):
        open_image("a.npz::x/0", tmp_path)


@pytest.mark.parametrize("place", [20, 24])  # of the packed and the unpacked size
def test_a_zip_member_that_is_too_long(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", encoded(np.asarray(picture(1)), "PNG"))
        archive.writestr("b.dcm", "x" * 100)
    assert open_image("a.zip::a.png", tmp_path).size == (8, 8)
    data = bytearray(path.read_bytes())
    for entry in re.finditer(b"PK\1\2", data):
        start = entry.start() + place
        data[start : start + 4] = (MAX_BYTES + 1).to_bytes(4, "little")
    path.write_bytes(data)
    os.utime(path, (0, 0))
    for name in ("a.png", "b.dcm"):
        refused(f"a.zip::{name}", tmp_path, "bytes are declared")


def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    with (tmp_path / "x.dcm").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no disk
    refused("x.dcm", tmp_path, "bytes are declared")
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    assert open_image("x.png", tmp_path).size == (4, 4)
