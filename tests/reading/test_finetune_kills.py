"""SIGKILL while stage 1 writes: the run goes on to the same adapter, wherever it was hit."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from finetune_cases import weights
from reading_cases import killed

from jomed.reading.finetune import FinetuneReport

Tune = Callable[..., FinetuneReport]
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def writes(event: str, arguments: tuple[Any, ...], folder: Path) -> bool:
    """Whether an audit event is a change to something below a folder."""
    if not arguments or not str(arguments[0]).startswith(str(folder)):
        # Removing a tree names its entries relative to an open folder.
        return event in ("os.remove", "os.rmdir") and not os.path.isabs(str(arguments[0]))
    if event == "open":
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        return bool(flags & (os.O_WRONLY | os.O_RDWR))
    return event in CHANGES


def kill_at_write(number: int, folder: Path) -> None:
    """End this process by SIGKILL just before its ``number``-th change below a folder."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if (event in CHANGES or event == "open") and writes(event, arguments, folder):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def tear_last_file(checkpoints: Path) -> None:
    """Leave half of the file that an interrupted checkpoint was writing."""
    files = [path for path in checkpoints.rglob("*") if path.is_file()]
    torn = max(files, key=lambda path: path.stat().st_mtime_ns, default=None)
    if torn is not None and not (torn.parent / "trainer_state.json").is_file():
        os.truncate(torn, torn.stat().st_size // 2)


def test_kills_while_files_are_written_change_nothing(tune: Tune, tmp_path: Path) -> None:
    whole = tune(tmp_path / "whole")
    folder = tmp_path / "parts"

    def attempt(number: int) -> None:
        kill_at_write(number, folder)
        tune(folder)

    # In, between and after checkpoints; an undisturbed run makes some 70 changes.
    places = [3, 8, 9, 12, 7, 14, 11, 4, 13, 22, 21, 17, 25, 30]
    kills = []
    for place in places:
        if killed(lambda place=place: attempt(place)):
            kills.append(place)
            tear_last_file(folder / "checkpoints")
    assert len(kills) >= 10
    assert tune(folder) == whole
    assert not (folder / "checkpoints").exists()
    expected = weights(tmp_path / "whole")
    for name, tensor in weights(folder).items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
