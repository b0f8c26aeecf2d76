"""Names of files: millions of them in little memory, and how else one may be spelt."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_JPEG = (".jpg", ".JPG", ".jpeg", ".JPEG")


def spellings(name: str) -> Iterator[str]:
    """The name of an image file, then the same of a JPEG with the other suffixes it may have."""
    yield name
    stem, dot, suffix = name.rpartition(".")
    if f"{dot}{suffix}" in _JPEG:
        yield from (f"{stem}{other}" for other in _JPEG if other != f"{dot}{suffix}")


class NameIndex:
    """Name -> row, in 8 bytes per name, for names that were hashed with `hash`.

    Of two million names one that is not there has a chance of less than one in a million to be
    taken for another; whoever then opens what it names finds out. Rows number the distinct names;
    `first` holds the place of each in the hashes that were given, the first of several.
    """

    def __init__(self, hashes: npt.NDArray[np.int64]) -> None:
        self._hashes, self.first = np.unique(hashes, return_index=True)

    def __len__(self) -> int:
        return len(self._hashes)

    def row(self, name: str) -> int | None:
        """The row of a name, or None where it is not there."""
        wanted = hash(name)
        row = int(self._hashes.searchsorted(wanted))
        return row if row < len(self) and self._hashes[row] == wanted else None
