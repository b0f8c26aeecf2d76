"""Small counts of restricted data: a cell of a few patients could point at one of them."""

import pandas as pd

FEWEST = 10
"""Counts of 1 up to this number, itself excluded, are not shown."""


def few(count: int, guarded: bool) -> str:
    """A count as text, "<10" where it is small and the data are restricted (`guarded`)."""
    return f"<{FEWEST}" if guarded and 0 < count < FEWEST else str(count)


def suppress(frame: pd.DataFrame, guarded: bool) -> pd.DataFrame:
    """`frame` with every small count in its integer columns replaced, where `guarded`.

    A share beside a small count would give the count away, so columns of fractions are emptied in
    the same rows.
    """
    if not guarded:
        return frame
    hidden = frame.copy()
    counts = frame.select_dtypes(["integer"]).drop(columns="seed", errors="ignore")
    small = (counts > 0) & (counts < FEWEST)
    for name in counts:
        hidden[name] = [
            None if pd.isna(count) else few(int(count), guarded) for count in counts[name]
        ]
    for name in frame.select_dtypes(["float"]):
        hidden[name] = frame[name].mask(small.any(axis=1))
    return hidden


def has_few(counts: pd.Series, guarded: bool) -> bool:
    """Whether any of these counts must not leave the host."""
    return guarded and bool(((counts > 0) & (counts < FEWEST)).any())
