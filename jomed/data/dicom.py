"""The first frame of a DICOM file as 8 bits."""

from io import BytesIO

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.multival import MultiValue
from pydicom.pixels import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi_lut,
    get_decoder,
    pixel_array,
)
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from jomed.data.pixels import check_size, to_uint8

SUFFIXES = (".dicom", ".dcm")

_LIBJPEG = "`pip install python-gdcm` (BSD) or `pip install pylibjpeg pylibjpeg-libjpeg` (GPL)"
_OPENJPEG = "`pip install pylibjpeg pylibjpeg-openjpeg` (MIT)"


def is_dicom(data: bytes) -> bool:
    """Whether a file with these bytes says that it is DICOM; one without its preamble does not."""
    return data[128:132] == b"DICM"


def read_dicom(data: bytes) -> np.ndarray:
    """The first frame of the file with these bytes: uint8 (H, W), or (H, W, 3 or 4) in colour.

    Grey: modality LUT, VOI LUT or first window, MONOCHROME1 inverted, scaled to 8 bits. A window
    that the standard forbids, of a width below 1 (of 0 or less where the function is not LINEAR),
    is no window: the image is scaled as one without. Colour: palettes are looked up. Raises
    ValueError for a file without pixels, for one that declares more of them than MAX_PIXELS or
    than its compressed frame has, and where no decoder for the transfer syntax is installed;
    pydicom raises many others for what is broken.
    """
    # In memory, so that a length that lies cannot ask for more than the file has.
    dataset = pydicom.dcmread(BytesIO(data), force=True)  # some files lack the preamble
    if "PixelData" not in dataset:
        raise ValueError("not a DICOM image: no PixelData")
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _guess_syntax(*dataset.original_encoding)
    check_size(dataset.Columns, dataset.Rows)
    _check_decoder(dataset.file_meta.TransferSyntaxUID)
    _check_frame(dataset)
    return _to_8_bits(pixel_array(dataset, index=0), dataset)


def _guess_syntax(implicit: bool, little: bool) -> UID:
    if not little:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _check_decoder(syntax: UID) -> None:
    """Raise ValueError, with the package to install, where nothing can decode the syntax."""
    name = f"transfer syntax {syntax} ({syntax.name})"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise ValueError(f"{name} is not one of images that can be read") from error
    if not decoder.is_available:
        libjpeg = syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes)
        raise ValueError(f"{name} needs a decoder: {_LIBJPEG if libjpeg else _OPENJPEG}")


def _check_frame(dataset: pydicom.Dataset) -> None:
    """Raise ValueError where a compressed frame has another size than the header says.

    Decoders of JPEG allocate what the frame declares, whatever the header says.
    """
    if dataset.file_meta.TransferSyntaxUID not in (JPEGBaseline8Bit, *JPEG2000TransferSyntaxes):
        return
    frames = int(dataset.get("NumberOfFrames") or 1)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=frames)
    with Image.open(BytesIO(frame), formats=("JPEG", "JPEG2000")) as image:
        found = image.size
    if found != (dataset.Columns, dataset.Rows):
        raise ValueError(f"the frame is {found}, the header says {dataset.Columns, dataset.Rows}")


def _to_8_bits(pixels: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    kind = dataset.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(pixels, dataset)
        # Not scaled to its own range: that would change the colours.
        return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        pixels = apply_modality_lut(pixels, dataset)
        if dataset.get("VOILUTSequence") or _has_window(dataset):
            pixels = apply_voi_lut(pixels, dataset, index=0)
        return to_uint8(pixels, inverted=kind == "MONOCHROME1", overwrite=True)
    return pixels if pixels.dtype == np.uint8 else to_uint8(pixels)


def _has_window(dataset: pydicom.Dataset) -> bool:
    """Whether the first window is one that the standard allows (PS3.3 C.11.2.1)."""
    width = dataset.get("WindowWidth")
    first = width[0] if isinstance(width, MultiValue) and width else width
    if first is None or isinstance(first, MultiValue):
        return False
    linear = str(dataset.get("VOILUTFunction") or "LINEAR").upper() == "LINEAR"
    return float(first) >= 1 if linear else float(first) > 0
