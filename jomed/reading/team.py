"""One run on several processes: who is the main one, and what it hands to the others."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from jomed.config import RunConfig
from jomed.reading.options import resolve_device

_PATIENCE = timedelta(days=1)
"""How long the others wait while the main process alone looks for candidates."""

Made = TypeVar("Made")


def join_team(config: RunConfig) -> PartialState:
    """Join the processes that ``accelerate launch`` or ``torchrun`` started; alone, a team of one.

    Gives every process a device of its own, so call it before a model is loaded.
    """
    return PartialState(cpu=resolve_device(config).type == "cpu", timeout=_PATIENCE)


def shared(make: Callable[[], Made]) -> Made:
    """Return in every process what ``make`` returns in the main one, the only one to call it."""
    box = [make() if PartialState().is_main_process else None]
    broadcast_object_list(box)
    made: Made = box[0]  # type: ignore[assignment]
    return made


def leave_team() -> None:
    """Part from the other processes at the end of a program, when all is done."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
