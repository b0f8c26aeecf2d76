"""Small counts of restricted data: a cell of a few patients could point at one of them.

What is hidden here: every count of 1 to 9; the shares beside it; and where a sum in the same row
would give a hidden count away, one more of its parts. What is not: two hidden parts of a sum that
is shown have a known sum, and a total in another table or in an earlier release of the data is not
known here. Who publishes several tables of one credentialed set has to look at them together.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from numbers import Integral, Real

import numpy as np
import pandas as pd

FEWEST = 10
"""Counts of 1 up to this number, itself excluded, are not shown."""

MOST_CELLS = 12
"""Among more counts than this no sums are looked for: a second one is hidden in any case."""


def few(count: int, guarded: bool) -> str:
    """A count as text, "<10" where it is small and the data are restricted (`guarded`)."""
    return f"<{FEWEST}" if guarded and _is_small(count) else str(count)


def hide(counts: Sequence[int | None], known: Sequence[int] = ()) -> list[str | None]:
    """Counts of restricted data that stand together, as texts; None where one is not shown at all.

    Small ones become "<10". Where one of `counts` or of the `known` numbers, which are published,
    is the sum of others of which exactly one is hidden, the smallest part that is shown is left out
    as well, and so on until no sum gives a hidden count away. None in `counts` is no count.
    """
    cells = [*counts, *known]
    small = {place for place, count in enumerate(cells[: len(counts)]) if _is_small(count)}
    hidden = set(small)
    while (found := _given_away(cells, len(counts), hidden)) is not None:
        hidden.add(found)
    return [
        None if count is None or place in hidden - small else few(count, guarded=True)
        for place, count in enumerate(counts)
    ]


def suppress(frame: pd.DataFrame, guarded: bool) -> pd.DataFrame:
    """`frame` with the counts of each row as `hide` shows them, where `guarded`.

    Counts are whole numbers, also among other objects, and those of a column of floats that holds
    no others: a gap makes floats of integers. A share beside a small count would give the count
    away, so fractions are emptied in the same rows. A column of floats that holds only 0 and 1 may
    be either: its 1 is emptied.
    """
    if not guarded:
        return frame
    hidden = frame.copy()
    counts = {name: _counts(frame[name]) for name in frame if name != "seed"}
    rows = list(zip(*counts.values(), strict=True))
    shown = [hide(row) for row in rows]
    small = [any(_is_small(count) for count in row) for row in rows]
    for place, (name, own) in enumerate(counts.items()):
        floats = _floats(frame[name])
        either = all(value in (None, 0, 1) for value in floats)
        emptied = [
            count is None and value is not None and (beside or (either and value == 1))
            for count, value, beside in zip(own, floats, small, strict=True)
        ]
        if all(count is None for count in own):
            hidden[name] = frame[name].mask(np.array(emptied, dtype=bool))
            continue
        cells = zip(own, emptied, shown, frame[name], strict=True)
        hidden[name] = [
            None if empty else cell if count is None else row[place]
            for count, empty, row, cell in cells
        ]
    return hidden


def has_few(counts: pd.Series, guarded: bool) -> bool:
    """Whether any of these counts must not leave the host."""
    return guarded and bool(((counts > 0) & (counts < FEWEST)).any())


def _is_small(count: int | None) -> bool:
    return count is not None and 0 < count < FEWEST


def _counts(column: pd.Series) -> list[int | None]:
    """The counts in a column, None for what is none."""
    floats = _floats(column)
    known = [value for value in floats if value is not None]
    whole = all(value.is_integer() for value in known) and max(known, default=0) > 1
    return [
        int(cell)
        if isinstance(cell, Integral) and not isinstance(cell, bool)
        else int(value)
        if whole and value is not None
        else None
        for cell, value in zip(column, floats, strict=True)
    ]


def _floats(column: pd.Series) -> list[float | None]:
    """The numbers in a column that are no integers by their type, None for what is none."""
    return [
        float(cell)
        if isinstance(cell, Real) and not isinstance(cell, Integral) and not pd.isna(float(cell))
        else None
        for cell in column
    ]


def _given_away(cells: Sequence[int | None], own: int, hidden: Collection[int]) -> int | None:
    """A shown one of the first `own` cells to hide because a sum gives a hidden cell away."""
    counted = [place for place, count in enumerate(cells) if count]
    for sum_of in _sums(cells, counted):
        if sum(place in hidden for place in sum_of) == 1:
            open_parts = [place for place in sum_of if place < own and place not in hidden]
            if open_parts:
                return min(open_parts, key=lambda place: cells[place] or 0)
    return None


def _sums(cells: Sequence[int | None], counted: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Places of a total and its parts, for each way in which one cell is the sum of others."""
    if len(counted) > MOST_CELLS:
        yield tuple(counted)
        return
    for total in counted:
        others = [place for place in counted if place != total]
        for size in range(2, len(others) + 1):
            for parts in combinations(others, size):
                if sum(cells[place] or 0 for place in parts) == cells[total]:
                    yield (total, *parts)
