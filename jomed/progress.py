"""Progress bars that stay out of captured output."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(iterable: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items behind a progress bar on stderr; JOMED_PROGRESS=0 turns the bar off.

    ``total`` is the number of items where ``iterable`` has no length.
    """
    silent = os.environ.get("JOMED_PROGRESS") == "0"
    yield from tqdm(
        iterable, desc=description, total=total, file=sys.stderr, disable=silent, mininterval=0.5
    )
