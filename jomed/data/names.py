"""Millions of names in little memory."""

import numpy as np
import numpy.typing as npt


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
