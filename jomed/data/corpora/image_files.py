"""Which images of a corpus there are: millions of file names in little memory."""

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from jomed.data.names import NameIndex

SUFFIXES = (".jpg", ".jpeg", ".png")


class ImageFiles:
    """File name -> folder, in about 16 bytes per file; where several have a name the first counts.

    Names are kept as in `NameIndex`.
    """

    def __init__(self, found: Iterable[tuple[str, str]]) -> None:
        """Take pairs of a folder ("a/b/" or "images.zip::a/") and a file name."""
        places: dict[str, int] = {}
        hashes, codes = array("q"), array("l")
        for folder, name in found:
            codes.append(places.setdefault(folder, len(places)))
            hashes.append(hash(name))
        self._folders = list(places)
        self._names = NameIndex(np.array(hashes, dtype=np.int64))
        self._codes = np.array(codes, dtype=np.int32)[self._names.first]
        self._counts = np.zeros(len(self._names), dtype=np.uint32)

    def __len__(self) -> int:
        return len(self._names)

    def folder(self, name: str) -> str | None:
        """What stands before a file's name in its address, or None where there is no such file."""
        row = self._names.row(name)
        return None if row is None else self._folders[self._codes[row]]

    def count(self, name: str) -> int:
        """How often this has been asked of a file that is there, this time included."""
        row = self._names.row(name)
        if row is None:
            raise KeyError(name)
        self._counts[row] += 1
        return int(self._counts[row])


def list_folders(folders: Iterable[Path], root: Path) -> Iterator[tuple[str, str]]:
    """(folder from the data root on, "a/b/", and file name) of all images in these folders.

    Folders that are not there hold nothing.
    """
    for folder in folders:
        if folder.is_dir():
            prefix = f"{folder.relative_to(root).as_posix()}/".removeprefix("./")
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                        yield prefix, entry.name
