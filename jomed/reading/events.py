"""Event files of stage 1 through the Trainer's own callback."""

from pathlib import Path
from typing import Any

from transformers.integrations import TensorBoardCallback

from jomed.progress import can_write_events, event_writer
from jomed.storage import EVENTS


class EventFiles(TensorBoardCallback):  # type: ignore[misc, unused-ignore]
    """The Trainer's TensorBoard callback on ``folder``; after a kill no step is shown twice.

    Only the first of several processes writes.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self._folder = folder

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Open the files, behind the step that the run resumes from."""
        if state.is_world_process_zero:
            self.tb_writer = event_writer(self._folder, state.global_step + 1)
        super().on_train_begin(args, state, control, **rest)


def event_callbacks(folder: Path) -> list[EventFiles]:
    """What shows stage 1 as event files in ``folder``/tensorboard; nothing without TensorBoard."""
    return [EventFiles(folder / EVENTS)] if can_write_events() else []
