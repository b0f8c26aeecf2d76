"""What all loaders share: finding a data set, reading its tables, judging a text."""

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from jomed.records import Skipped

Row = TypeVar("Row")

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class DataError(Exception):
    """A data set as a whole is missing or is not what it should be; says what to do about it."""


class MissingData(DataError):  # noqa: N818 - says what happened
    """A data set, or a file without which it cannot be read, is not there."""


def locate(root: Path, names: Sequence[str], what: str, url: str, deep: int = 2) -> Path:
    """The file below `root` that marks a data set, looked for at most `deep` folders deep.

    `names` are file names or glob patterns in order of preference. Where several match at one depth
    the last in alphabetical order wins, which is the newest release of a versioned folder. Raises
    MissingData, naming `what` and `url`, when nothing matches.
    """
    found = find_all(root, names, deep)
    if not found:
        wanted = " or ".join(names)
        raise MissingData(
            f"{what} is not below {root}: no {wanted} in it or up to {deep} folders deeper. "
            f"Get it from {url} and put its folder there."
        )
    return found[0]


def find_all(root: Path, names: Sequence[str], deep: int = 2) -> list[Path]:
    """All files or folders below `root` that match, nearest first, newest release first."""
    depths = ["*/" * depth for depth in range(deep + 1)]
    depths += [f"{start}physionet.org/files/*/*/" for start in ("", "*/")]  # as wget leaves it
    return [
        path
        for depth in depths
        for name in names
        for path in sorted(root.glob(depth + name), reverse=True)
    ]


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV file, gzipped or not, as text: nothing is guessed, "NA" and "None" stay as they are.

    Column names are stripped and lower-cased, and only `columns` (lower case) are returned. Raises
    DataError for a file that cannot be read and for a column that is not there.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}); download it again.") from error
    if not isinstance(table.index, pd.RangeIndex):  # the reader would shift all columns by one
        raise DataError(f"{path} has rows with more cells than its header; download it again.")
    table.columns = table.columns.str.strip().str.lower()
    absent = [name for name in columns if name not in table.columns]
    if absent:
        missing, present = ", ".join(absent), ", ".join(map(str, table.columns))
        if len(absent) == len(columns):  # perhaps the first record: not to be repeated
            present = "others: does it begin with the names of its columns?"
        raise DataError(f"{path} has no column {missing}; its columns are {present}.")
    return table[list(columns)]


def parse_json(data: bytes) -> Any:
    """The value in a JSON text; ValueError where it is broken, too deep or has half a character."""
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if _SURROGATE.search(data):  # two halves make a character; one alone fits into no file
        json.dumps(value, ensure_ascii=False).encode()
    return value


def divide(items: Iterable[Row | Skipped]) -> tuple[list[Row], list[Skipped]]:
    """What is usable and what is not, each in the order of `items`."""
    rows: list[Row] = []
    skipped: list[Skipped] = []
    for item in items:
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            rows.append(item)
    return rows, skipped


def clean_text(text: str) -> str:
    """One line: every run of white space, no-break spaces included, becomes one space."""
    return " ".join(text.split())


def text_problem(text: str, minimum: int) -> str:
    """Why a cleaned text cannot serve as a record, or "" if it can; `minimum` in characters."""
    if not text:
        return "empty text"
    return "short text" if len(text) < minimum else ""


def file_md5(path: Path) -> str:
    """The MD5 sum of a file, in hex: what the publishers of MedMNIST list."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
