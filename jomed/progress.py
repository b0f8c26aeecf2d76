"""What long work shows while it runs: progress bars and event files for TensorBoard."""

import functools
import importlib.util
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

Item = TypeVar("Item")


def track(iterable: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items behind a progress bar on stderr; JOMED_PROGRESS=0 turns the bar off.

    ``total`` is the number of items where ``iterable`` has no length.
    """
    silent = os.environ.get("JOMED_PROGRESS") == "0"
    yield from tqdm(
        iterable, desc=description, total=total, file=sys.stderr, disable=silent, mininterval=0.5
    )


@functools.cache
def can_write_events() -> bool:
    """Whether TensorBoard is installed. Where it is not, one line per process says what to do."""
    found = importlib.util.find_spec("tensorboard") is not None
    if not found:
        logging.getLogger(__name__).warning(
            "no event files: tensorboard is not installed (pip install tensorboard, or the extra "
            "'notebooks'); the logs of both stages are complete without them"
        )
    return found


def event_writer(folder: Path, first_step: int) -> "SummaryWriter | None":
    """A writer of TensorBoard event files in ``folder``; None where TensorBoard is not installed.

    The files only show a log that is kept elsewhere. What an earlier, killed writer left from
    ``first_step`` on is purged when they are read, so that a resumed run shows every step once.
    Open them with ``tensorboard --logdir runs``.
    """
    if not can_write_events():
        return None
    # Imported here: it takes a second, and most users of this module need bars only.
    from torch.utils.tensorboard.writer import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step)
