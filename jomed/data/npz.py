"""Arrays of npz files, without unpickling and without trust in the sizes that they declare."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

_DEFLATE_RATIO = 1032  # zip files of numpy cannot shrink more


def read_array(path: Path, key: str) -> np.ndarray:
    """One array of an npz file.

    Raises KeyError for a key that is not there, ValueError for objects, which would be unpickled,
    and for a size above what the file can hold, before memory is taken for it, and ValueError,
    OSError, EOFError, BadZipFile or zlib.error for a broken file.
    """
    with zipfile.ZipFile(path) as archive:
        name = f"{key}.npy"
        with archive.open(name) as file:
            declared = _declared_bytes(file)
        held = min(archive.getinfo(name).file_size, path.stat().st_size * _DEFLATE_RATIO)
        if declared > held:
            raise ValueError(f"{key} declares {declared} bytes, the file holds at most {held}")
        with archive.open(name) as file:
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _declared_bytes(file: IO[bytes]) -> int:
    """Number of bytes that the header of an npy file says follow it."""
    first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return math.prod(shape) * dtype.itemsize
