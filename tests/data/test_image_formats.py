"""Files of every depth and kind: nothing is clipped, the first frame counts, DICOM of all sorts."""

import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import gdcm
import numpy as np
import pytest
from PIL import ExifTags, Image
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)
from test_images import RAMP, dicom, gray
from tiny_sets import picture

from jomed.data.images import ImageError, open_image, to_rgb

DEEP = np.tile(np.array([1000, 31000, 61000], dtype=np.uint16), (2, 1))
PALETTE = ("Red", "Green", "Blue")


def compressed(path: Path, frame: bytes, syntax: str, **changes: object) -> Path:
    dataset = dicom(path, **changes)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bit_files_are_scaled(tmp_path: Path, name: str, order: str) -> None:
    Image.fromarray(DEEP.astype(order)).save(tmp_path / name)
    assert gray(tmp_path / name) == [0, 128, 255]


def deep_png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16 bits from (H, W, C), which Pillow cannot write in colour."""
    height, width, depth = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">2I5B", width, height, 16, {2: 4, 3: 2, 4: 6}[depth], 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def shown(data: bytes, folder: Path) -> list[list[int]]:
    (folder / "deep.png").write_bytes(data)
    image = open_image("deep.png", folder)
    assert image.mode == "RGB"
    return [list(image.getpixel((x, 0))) for x in range(image.width)]


def test_colour_png_of_sixteen_bits_is_scaled(tmp_path: Path) -> None:
    # All below 256, where the upper half of each number is 0.
    colours = np.array([[[0, 100, 250], [50, 50, 50]]])
    assert shown(deep_png(colours), tmp_path) == [[0, 102, 255], [51, 51, 51]]
    assert shown(deep_png(colours * 200), tmp_path) == [[0, 102, 255], [51, 51, 51]]
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("deep.png", deep_png(colours))
    assert open_image("images.zip::deep.png", tmp_path).getpixel((0, 0)) == (0, 102, 255)


def test_alpha_of_sixteen_bits_lies_on_black(tmp_path: Path) -> None:
    grey = np.array([[[0, 65535], [100, 65535], [200, 65535], [200, 0]]])
    assert [row[0] for row in shown(deep_png(grey), tmp_path)] == [0, 128, 255, 0]
    colour = np.array([[[0, 100, 250, 65535], [250, 250, 250, 13107]]])
    assert shown(deep_png(colour), tmp_path) == [[0, 102, 255], [51, 51, 51]]  # a fifth of 255


def test_a_deep_png_is_turned_and_a_broken_one_reported(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3  # upside down
    colours = np.array([[[0, 100, 250], [50, 50, 50]]])
    turned = deep_png(colours, (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    assert shown(turned, tmp_path) == [[51, 51, 51], [0, 102, 255]]
    noise = np.random.default_rng(0).integers(0, 65536, (20, 20, 3))
    data = deep_png(noise)
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"cut\.png"):
        open_image("cut.png", tmp_path)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_tiff_of_other_depths_is_scaled(tmp_path: Path, dtype: type) -> None:
    values = DEEP.astype(dtype) - 31000
    Image.fromarray(values).save(tmp_path / "deep.tif")
    assert gray(tmp_path / "deep.tif") == [0, 128, 255]


def test_alpha_in_files_lies_on_black(tmp_path: Path) -> None:
    Image.new("LA", (1, 1), (200, 0)).save(tmp_path / "la.png")
    Image.new("L", (1, 1), 9).save(tmp_path / "key.png", transparency=9)
    for name in ("la.png", "key.png"):
        assert open_image(name, tmp_path).getpixel((0, 0)) == (0, 0, 0)
    palette = Image.new("P", (1, 1))
    palette.putpalette([50, 60, 70, 0], "RGBA")  # as some bitmaps have it
    assert to_rgb(palette).getpixel((0, 0)) == (0, 0, 0)


def test_one_bit_tiff(tmp_path: Path) -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "x.tif", compression="group4")
    assert np.asarray(open_image("x.tif", tmp_path))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("name", ["x.gif", "x.tif", "x.png", "x.webp"])
def test_the_first_frame_counts(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    lossless = {"lossless": True} if name == "x.webp" else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **lossless)
    opened = open_image(name, tmp_path)
    assert opened.size == (4, 4)
    assert opened.getpixel((1, 1)) == (255, 0, 0)


def test_dicom_of_eight_bits_and_of_signed_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.dicom"
    steps = np.tile(np.array([[10, 60, 110]], dtype=np.uint8), (2, 2))
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    dicom(path, steps, PixelData=steps.tobytes(), **eight).save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 0, 255]  # ends and middle of 10, 60, 110, 10, 60, 110
    signed = (RAMP.astype(np.int32) - 2048).astype("<i2")
    dataset = dicom(path, PixelRepresentation=1, PixelData=signed.tobytes())
    dataset.save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 128, 255]


def test_blank_windows_are_no_windows(tmp_path: Path) -> None:
    path = tmp_path / "x.dicom"
    dataset = dicom(path, WindowCenter=None, WindowWidth=None)
    dataset.save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 128, 255]


@pytest.mark.parametrize(
    ("function", "width"),
    [(None, 0), (None, 0.5), ("LINEAR", -1), ("LINEAR_EXACT", 0), ("SIGMOID", 0), (None, [0, 9])],
)
def test_a_window_without_width_is_no_window(
    tmp_path: Path, function: str | None, width: float | list[float]
) -> None:
    path = tmp_path / "x.dicom"
    centre = [1024, 9] if isinstance(width, list) else 1024
    window = {"WindowCenter": centre, "WindowWidth": width}
    function_of = {"VOILUTFunction": function} if function else {}
    dicom(path, **window, **function_of).save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 128, 255]


def test_the_narrowest_windows_count(tmp_path: Path) -> None:
    path = tmp_path / "x.dicom"
    dataset = dicom(path, WindowCenter=1024, WindowWidth=1)
    dataset.save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 255, 255]  # black up to 1023.5, white above
    dataset.VOILUTFunction, dataset.WindowWidth = "LINEAR_EXACT", 0.5
    dataset.save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 255, 255]


@pytest.mark.parametrize(("bits", "shift"), [(8, 0), (16, 8)])
def test_palette_colour_is_looked_up(tmp_path: Path, bits: int, shift: int) -> None:
    path = tmp_path / "x.dicom"
    places = np.array([[0, 1]], dtype=np.uint8)
    dataset = dicom(path, places, PhotometricInterpretation="PALETTE COLOR")
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = places.tobytes()
    for name, values in zip(PALETTE, ([10, 40], [20, 50], [30, 60]), strict=True):
        entries = (np.array(values) << shift).astype(f"<u{bits // 8}")
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [2, 0, bits])
        setattr(dataset, f"{name}PaletteColorLookupTableData", entries.tobytes())
    dataset.save_as(path, enforce_file_format=True)
    opened = open_image("x.dicom", tmp_path)
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (40, 50, 60)]


def test_jpeg_2000_and_deflated(tmp_path: Path) -> None:
    frame = encoded(RAMP, "JPEG2000", no_jp2=True, irreversible=False)
    assert gray(compressed(tmp_path / "j.dicom", frame, JPEG2000Lossless)) == [0, 128, 255]
    path = tmp_path / "x.dicom"
    deflated = dicom(path)
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated.save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 128, 255]


@pytest.mark.parametrize("named", [True, False])
def test_big_endian_dicom(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "x.dicom"
    dataset = dicom(path, PixelData=RAMP.astype(">u2").tobytes())
    dataset["PixelData"].VR = "OW"
    dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
    if named:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    else:
        del dataset.file_meta.TransferSyntaxUID
    dataset.save_as(path, implicit_vr=False, little_endian=False)
    assert gray(path) == [0, 128, 255]


def test_colour_jpeg_inside_dicom(tmp_path: Path) -> None:
    shown = np.asarray(picture(3, size=16).resize((64, 64)))
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL"}
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PlanarConfiguration": 0}
    frame = encoded(shown, "JPEG", quality=95, subsampling=0)
    changes = {**colour, **eight, "Rows": 64, "Columns": 64}
    compressed(tmp_path / "x.dicom", frame, JPEGBaseline8Bit, **changes)
    opened = np.asarray(open_image("x.dicom", tmp_path), dtype=float)
    assert np.abs(opened - shown).mean() < 4


@pytest.mark.parametrize(
    "kind", ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14", "JPEGLSLossless"]
)
def test_lossless_syntaxes_of_radiographs(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "plain.dicom"
    dicom(path).save_as(path, enforce_file_format=True)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, kind)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "lossless.dicom"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert gray(tmp_path / "lossless.dicom") == [0, 128, 255]


@pytest.mark.parametrize(
    ("syntax", "reason"),
    [
        (JPEGLSLossless, r"1\.2\.840\.10008\.1\.2\.4\.80 \(JPEG-LS.*pip install python-gdcm"),
        ("1.2.840.10008.1.2.4.203", r"High-Throughput JPEG 2000.*pylibjpeg-openjpeg"),
        ("1.2.840.10008.1.2.4.100", r"MPEG2.*not one of images"),
    ],
)
def test_a_syntax_without_decoder_is_named(
    tmp_path: Path, syntax: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests are run with a decoder that need not be installed.
    monkeypatch.setattr(Decoder, "is_available", property(lambda _: False))
    compressed(tmp_path / "x.dicom", b"\xff\xd8\xff\xd9", syntax)
    with pytest.raises(ImageError, match=reason):
        open_image("x.dicom", tmp_path)
