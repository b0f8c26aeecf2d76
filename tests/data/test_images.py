import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import ExplicitVRLittleEndian, JPEGLosslessSV1, RLELossless
from tiny_sets import jpeg, picture, save_jpeg, save_parquet, truncate

from jomed.data import images
from jomed.data.images import ImageError, open_image, to_rgb
from jomed.data.pixels import to_uint8

RAMP = np.tile(np.arange(0, 4096, 16, dtype=np.uint16), (4, 1))  # 256 steps of 12 bits


def dicom(path: Path, pixels: np.ndarray = RAMP, **changes: object) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "2.25.1"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, "2.25.1"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.astype("<u2").tobytes()
    for name, value in changes.items():
        setattr(dataset, name, value)
    return dataset


def gray(path: Path) -> list[int]:
    image = open_image(path.name, path.parent)
    assert image.mode == "RGB"
    row = np.asarray(image)[0]
    assert (row == row[:, :1]).all()
    return [int(row[place, 0]) for place in (0, len(row) // 2, -1)]


@pytest.mark.parametrize(
    ("image", "first"),
    [
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
        (Image.new("L", (2, 2), 7), (7, 7, 7)),
        (Image.new("RGB", (2, 2), (1, 2, 3)), (1, 2, 3)),
        (Image.new("CMYK", (2, 2), (0, 255, 255, 0)), (255, 0, 0)),
        (Image.new("YCbCr", (2, 2), (100, 128, 128)), (100, 100, 100)),
        (Image.new("RGBA", (2, 2), (200, 100, 50, 0)), (0, 0, 0)),
        (Image.new("RGBA", (2, 2), (200, 100, 50, 255)), (200, 100, 50)),
        (Image.new("LA", (2, 2), (200, 0)), (0, 0, 0)),
        (Image.new("PA", (2, 2), (5, 255)), (0, 0, 0)),
        (Image.new("1", (2, 2), 0), (0, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(image: Image.Image, first: tuple[int, int, int]) -> None:
    converted = to_rgb(image)
    assert converted.mode == "RGB"
    assert converted.getpixel((0, 0)) == first


def test_the_note_of_a_camera_turns_the_image(tmp_path: Path) -> None:
    wide = Image.new("RGB", (6, 4))
    wide.putpixel((0, 0), (255, 0, 0))
    note = Image.Exif()
    note[ExifTags.Base.Orientation] = 6  # the first row is the right side
    wide.save(tmp_path / "held.png", exif=note)
    turned = open_image("held.png", tmp_path)
    assert turned.size == (4, 6)
    assert turned.getpixel((3, 0)) == (255, 0, 0)


def test_palette_with_transparency_lies_on_black(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=0)
    opened = open_image("p.png", tmp_path)
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), (200, 0, 0)]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_deep_images_are_scaled_not_clipped(dtype: type) -> None:
    ramp = np.array([[1000, 31000, 61000]], dtype=dtype)
    assert np.asarray(to_rgb(Image.fromarray(ramp)))[0, :, 0].tolist() == [0, 128, 255]


def test_sixteen_bit_png_is_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 30000, 60000]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(open_image("deep.png", tmp_path))[0, :, 0].tolist() == [0, 128, 255]


def test_constant_and_non_finite_values() -> None:
    constant = np.full((2, 2), 40000, dtype=np.uint16)
    assert not np.asarray(to_rgb(Image.fromarray(constant))).any()
    odd = np.array([[np.nan, 0.0, 1.0, np.inf, -np.inf]], dtype=np.float32)
    assert np.asarray(to_rgb(Image.fromarray(odd)))[0, :, 0].tolist() == [0, 0, 255, 255, 0]


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=95)
    red, green, blue = open_image("c.jpg", tmp_path).getpixel((4, 4))
    assert red > 250
    assert max(green, blue) < 5


def test_members_of_npz_and_zip(tmp_path: Path) -> None:
    stack = np.stack([np.asarray(picture(seed)) for seed in range(3)])
    np.savez_compressed(tmp_path / "a.npz", train_images=stack, val_images=stack[..., 0])
    assert (np.asarray(open_image("a.npz::train_images/2", tmp_path)) == stack[2]).all()
    flat = np.asarray(open_image("a.npz::val_images/1", tmp_path))
    assert (flat == stack[1, :, :, :1]).all()
    buffer = io.BytesIO()
    picture(5).save(buffer, "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("dir/b.png", buffer.getvalue())
    assert (np.asarray(open_image("a.zip::dir/b.png", tmp_path)) == np.asarray(picture(5))).all()


def test_dicom_is_known_by_its_content_too(tmp_path: Path) -> None:
    for name in ("a.dcm", "IM00001", "a.ima"):
        dicom(tmp_path / name).save_as(tmp_path / name, enforce_file_format=True)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "IM00001", "S1/IM00001")
        archive.writestr("empty.dcm", b"")
    expected = gray(tmp_path / "a.dcm")
    assert [gray(tmp_path / name) for name in ("IM00001", "a.ima")] == [expected] * 2
    assert open_image("a.zip::S1/IM00001", tmp_path).size == (RAMP.shape[1], RAMP.shape[0])
    with pytest.raises(ImageError, match="no PixelData"):
        open_image("a.zip::empty.dcm", tmp_path)


def test_capitals_in_a_suffix_change_nothing(tmp_path: Path) -> None:
    pixels = np.asarray(picture(1))
    with (tmp_path / "A.NPZ").open("wb") as file:
        np.savez(file, x=pixels[None])
    save_parquet(tmp_path / "A.PARQUET", [(jpeg(2), "q", "a")])
    assert (np.asarray(open_image("A.NPZ::x/0", tmp_path)) == pixels).all()
    assert open_image("A.PARQUET::0", tmp_path).size == (8, 8)


def test_a_replaced_npz_is_read_again(tmp_path: Path) -> None:
    for value in (3, 9):
        path = tmp_path / "a.npz"
        path.unlink(missing_ok=True)
        np.savez(path, x=np.full((1, 2, 2), value, dtype=np.uint8))
        assert open_image("a.npz::x/0", tmp_path).getpixel((0, 0)) == (value,) * 3


def test_rows_of_parquet_files(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "one.jpg", 3)
    rows = [(jpeg(seed), "q", "a") for seed in range(7)]
    for group in (1, 3, 7):
        save_parquet(tmp_path / "a.parquet", rows, group)
        for row in (6, 0, 3, 2, 3):
            shown = np.asarray(open_image(f"a.parquet::{row}", tmp_path))
            with Image.open(io.BytesIO(jpeg(row))) as image:
                assert (shown == np.asarray(image)).all()
    alone = np.asarray(open_image("one.jpg", tmp_path))
    assert (np.asarray(open_image("a.parquet::3", tmp_path)) == alone).all()


def test_threads_share_an_open_parquet_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_parquet(tmp_path / "a.parquet", [(jpeg(seed), "q", "a") for seed in range(40)], 10)
    opened = []
    real = images.pq.ParquetFile
    monkeypatch.setattr(images.pq, "ParquetFile", lambda path: opened.append(path) or real(path))
    addresses = [f"a.parquet::{row}" for row in range(40)] * 3
    with ThreadPoolExecutor(8) as pool:
        shown = list(pool.map(lambda address: open_image(address, tmp_path).tobytes(), addresses))
    assert shown[:40] == shown[40:80] == shown[80:]
    assert len(set(shown)) == 40
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("absent.jpg", "file not found"),
        ("absent.npz::train_images/0", "file not found"),
        ("half.jpg", "(?i)truncated"),
        ("empty.jpg", "cannot identify"),
        ("eps.jpg", "cannot identify"),
        ("text.dicom", "PixelData"),
        ("a.npz::train_images/9", "IndexError"),
        ("a.npz::other/0", "KeyError"),
        ("a.npz::train_images/-1", "KEY/INDEX"),
        ("a.zip::absent.jpg", "KeyError"),
        ("half.zip::a.jpg", "BadZipFile"),
        ("absent.parquet::0", "file not found"),
        ("a.parquet::5", "(?i)index"),
        ("a.parquet::x", "not a row number"),
        ("a.parquet::1", "row 1 holds no image"),
        ("a.parquet::2", "cannot identify"),
        ("text.parquet::0", "ArrowInvalid"),
        ("plain.parquet::0", "KeyError"),
        ("../secret.jpg", "leaves the data root"),
        ("/etc/hostname", "leaves the data root"),
    ],
)
@pytest.mark.filterwarnings("ignore:Expected implicit VR")
def test_whatever_is_wrong_is_an_image_error(tmp_path: Path, address: str, reason: str) -> None:
    root = tmp_path / "data"
    save_jpeg(root / "half.jpg")
    truncate(root / "half.jpg")
    save_jpeg(tmp_path / "secret.jpg")
    (root / "empty.jpg").touch()
    picture(1).save(root / "eps.jpg", "EPS")
    (root / "text.dicom").write_text("no DICOM at all, only words " * 20)
    np.savez(root / "a.npz", train_images=np.zeros((2, 4, 4), dtype=np.uint8))
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        archive.writestr("b.jpg", "x" * 100)
    (root / "half.zip").write_bytes((root / "a.zip").read_bytes()[:80])
    save_parquet(root / "a.parquet", [(jpeg(), "", ""), (None, "", ""), (b"words", "", "")])
    (root / "text.parquet").write_text("version https://git-lfs.github.com/spec/v1")
    pd.DataFrame({"image": [b"no struct"]}).to_parquet(root / "plain.parquet")
    with pytest.raises(ImageError, match=reason) as caught:
        open_image(address, root)
    assert caught.value.address == address
    assert address in str(caught.value)


def test_monochrome_and_compression(tmp_path: Path) -> None:
    path = tmp_path / "x.dicom"
    dicom(path).save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 128, 255]
    dicom(path, PhotometricInterpretation="MONOCHROME1").save_as(path, enforce_file_format=True)
    assert gray(path) == [255, 127, 0]
    compressed = dicom(path)
    compressed.compress(RLELossless)
    compressed.save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 128, 255]


def test_window_is_applied_before_inversion(tmp_path: Path) -> None:
    path = tmp_path / "x.dicom"
    window = {"WindowCenter": [1024, 9], "WindowWidth": [1024, 9]}  # 512..1536, the first counts
    dicom(path, **window).save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 255, 255]
    inverted = dicom(path, PhotometricInterpretation="MONOCHROME1", **window)
    inverted.save_as(path, enforce_file_format=True)
    assert gray(path) == [255, 0, 0]
    rescaled = dicom(path, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=3072)
    rescaled.WindowWidth = 4096  # 1024..5120 after rescaling is 1024..3072 as stored
    rescaled.save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 128, 255]


def test_missing_transfer_syntax_and_preamble(tmp_path: Path) -> None:
    for implicit in (False, True):
        path = tmp_path / f"{implicit}.dicom"
        dataset = dicom(path)
        del dataset.file_meta.TransferSyntaxUID
        dataset.save_as(path, implicit_vr=implicit, little_endian=True)
        assert gray(path) == [0, 128, 255]
    bare = dicom(tmp_path / "bare.dcm")
    bare.preamble, bare.file_meta = None, FileMetaDataset()
    bare.save_as(tmp_path / "bare.dcm", implicit_vr=True, little_endian=True)
    assert gray(tmp_path / "bare.dcm") == [0, 128, 255]


def test_dicom_colour_and_frames(tmp_path: Path) -> None:
    path = tmp_path / "x.dicom"
    colour = dicom(path, np.zeros((2, 2)), SamplesPerPixel=3, PhotometricInterpretation="RGB")
    colour.PlanarConfiguration = 0
    colour.BitsAllocated, colour.BitsStored, colour.HighBit = 8, 8, 7
    colour.PixelData = bytes([10, 20, 30] * 4)
    colour.save_as(path, enforce_file_format=True)
    assert open_image("x.dicom", tmp_path).getpixel((1, 1)) == (10, 20, 30)
    frames = dicom(path, NumberOfFrames=2, PixelData=RAMP.tobytes() + RAMP[:, ::-1].tobytes())
    frames.save_as(path, enforce_file_format=True)
    assert gray(path) == [0, 128, 255]


def test_dicom_that_cannot_be_decoded_says_why(tmp_path: Path) -> None:
    path = tmp_path / "x.dicom"
    lossless = dicom(path, PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    lossless.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    lossless["PixelData"].VR = "OB"
    lossless["PixelData"].is_undefined_length = True
    lossless.save_as(path, enforce_file_format=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "is_available", property(lambda _: False))
        reason = r"4\.70 \(JPEG Lossless.*python-gdcm.*pylibjpeg-libjpeg"
        with pytest.raises(ImageError, match=reason):
            open_image("x.dicom", tmp_path)
    empty = dicom(path)
    del empty.PixelData
    empty.save_as(path, enforce_file_format=True)
    with pytest.raises(ImageError, match="no PixelData"):
        open_image("x.dicom", tmp_path)
    dicom(path).save_as(path, enforce_file_format=True)
    truncate(path)
    with pytest.raises(ImageError, match=r"x\.dicom"):
        open_image("x.dicom", tmp_path)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("writeable", [False, True])
def test_pixels_are_scaled_the_same_with_and_without_a_copy(
    overwrite: bool, writeable: bool
) -> None:
    deep = np.linspace(-5, 20, 12).reshape(3, 4)
    kept = deep.copy()
    deep.flags.writeable = writeable
    expected = np.rint((kept + 5) / 25 * 255).astype(np.uint8)
    assert np.array_equal(to_uint8(deep, overwrite=overwrite), expected)
    assert np.array_equal(deep, kept) is not (overwrite and writeable)
