"""One notebook executed with parameters: checked before, in place only when it ran to its end."""

import json
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from jomed.config import ConfigError, configure, project_root
from jomed.notebooks import notebook_parameters, notebook_path
from jomed.params import nearest
from jomed.plan import failed_path, named_target, running_path

MATRIX_PID = "JOMED_MATRIX_PID"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class NotebookError(RuntimeError):
    """A cell failed; ``failed`` is the notebook as far as it came, with the traceback in it."""

    def __init__(self, source: Path, failed: Path):
        super().__init__(f"{source.name}: {cell_error(failed)}\n  see {failed}")
        self.failed = failed


def run_notebook(notebook: str, given: Mapping[str, object]) -> Path:
    """Execute a notebook with parameters and return the path of the executed one.

    It runs in the project's folder, with the other parameters as the notebook has them. Raises
    ConfigError for a parameter that it does not have or a setting that is wrong, before anything
    starts, and NotebookError when a cell fails.
    """
    source = notebook_path(notebook)
    values = notebook_parameters(source)
    for name in given:
        if name not in values:
            known = nearest(name, values)
            raise ConfigError(f"{source.name}: unknown parameter {name!r}{known}")
    target = named_target(configure({**values, **given}), source)[1]
    running = running_path(target)
    running.parent.mkdir(parents=True, exist_ok=True)
    # One thread per job: two jobs beside one another beat one with two threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["JOMED_PROGRESS"] = "0"  # bars do not belong into a document
    if not _execute(source, running, given):
        os.replace(running, failed_path(target))
        raise NotebookError(source, failed_path(target))
    os.replace(running, target)
    failed_path(target).unlink(missing_ok=True)
    return target


def parameter_value(text: str) -> object:
    """A value from the command line: a JSON value (0, true, null, {...}) or else a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _execute(source: Path, running: Path, parameters: Mapping[str, object]) -> bool:
    """Run a notebook through papermill, which writes it after every cell; False if one failed."""
    # Imported here: papermill takes two seconds, and every other command is free of it.
    from papermill.exceptions import PapermillException
    from papermill.execute import execute_notebook

    running.unlink(missing_ok=True)  # what a killed execution left
    try:
        execute_notebook(
            str(source),
            str(running),
            parameters=dict(parameters),
            kernel_name="python3",
            progress_bar=False,
            cwd=str(project_root()),
        )
    except (PapermillException, RuntimeError):  # RuntimeError: the kernel died
        if not running.is_file():
            raise
        return False
    return True


def cell_error(path: Path) -> str:
    """The error in a failed notebook in short: number of the cell, name and text."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                text = _COLOURS.sub("", output["evalue"]).strip()
                return f"cell [{cell['execution_count']}]: {output['ename']}: {text}"
    return "the kernel died; was there enough memory?"


def end_with_matrix() -> None:
    """End this process soon after the ``jomed matrix`` that started it, if one did.

    A killed process cannot tell its children; without this they would go on unseen.
    """
    pid = os.environ.get(MATRIX_PID)
    if pid is not None:
        threading.Thread(target=_end_after, args=(int(pid),), daemon=True).start()


def _end_after(pid: int) -> None:
    while True:
        try:
            os.kill(pid, 0)  # sends nothing, asks whether the process is there
        except ProcessLookupError:
            os._exit(1)
        time.sleep(0.5)
