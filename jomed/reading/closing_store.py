"""The JSONL file of wrong answers that language models gave: append-only, shared, re-used."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jomed.storage import locked


class StoreError(ValueError):
    """A closing store holds what is no line of its format."""


class Line(BaseModel):
    """One answer of a model: the wrong ``options`` to one (question, gold answer).

    ``key`` is the hash of everything that was asked (see `jomed.reading.closing.request_key`) and
    the only thing that a line is found by. ``sample`` is the first sample that asked it: its id,
    or a hash of it where ``access`` is not open. ``model`` was asked for, ``served`` is what the
    endpoint says that it used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    version: Literal[1]
    benchmark: str
    access: Literal["open", "credentialed", "dua"]
    sample: str
    key: str = Field(pattern="^[0-9a-f]{64}$")
    model: str
    served: str
    options: tuple[str, ...]


def read_store(path: Path) -> dict[str, Line]:
    """The lines of a store by key, the first one where several have the same; {} without a file.

    A torn last line (its process was killed) is left out. Raises StoreError, naming the line, for
    any other line that cannot be read.
    """
    found: dict[str, Line] = {}
    if not path.is_file():
        return found
    *whole, last = path.read_bytes().split(b"\n")
    for number, text in enumerate(whole, start=1):
        line = _parsed(text)
        if isinstance(line, str):
            raise StoreError(f"{path}, line {number}: {line}; mend or remove the line")
        found.setdefault(line.key, line)
    unended = _parsed(last)
    if isinstance(unended, Line):
        found.setdefault(unended.key, unended)
    return found


@contextlib.contextmanager
def locked_store(path: Path) -> Iterator[None]:
    """Hold the store for writing; a second process waits here."""
    with locked(path.with_name(f".{path.name}.lock"), wait=True):
        yield


@contextlib.contextmanager
def appending(path: Path) -> Iterator[Callable[[Line], None]]:
    """Yield a function that appends one line and has it on disk when it returns.

    For the holder of ``locked_store``. A torn last line is cut off first, with a warning.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as stream:
        _mend(path)

        def append(line: Line) -> None:
            stream.write(line.model_dump_json().encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

        yield append


def _parsed(text: bytes) -> Line | str:
    """The line, or what is wrong with it: without its values, which may be closed data."""
    try:
        return Line.model_validate_json(text)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(
            f"{'.'.join(str(part) for part in p['loc']) or 'line'}: {p['msg']}" for p in problems
        )


def _mend(path: Path) -> None:
    """Let the file end with a whole line."""
    content = path.read_bytes()
    last = content[content.rfind(b"\n") + 1 :]
    if not last:
        return
    with path.open("r+b") as stream:
        if isinstance(_parsed(last), Line):
            stream.seek(0, os.SEEK_END)
            stream.write(b"\n")
            return
        stream.truncate(len(content) - len(last))
    warnings.warn(
        f"{path}: the last line was torn, its process was killed; what it held is asked again",
        stacklevel=4,
    )
