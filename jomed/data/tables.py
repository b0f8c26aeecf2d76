"""Tables of a group's own data: CSV or JSON Lines, row by row, with the line of every row."""

import csv
import gzip
import json
import math
import os
import posixpath
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from jomed.catalogue import BenchmarkConfig, CorpusConfig
from jomed.data.sources import DataError, MissingData
from jomed.params import nearest
from jomed.records import Skipped

CSV_SUFFIXES = (".csv", ".csv.gz")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_NEVER_EMPTY = ("image", "id", "group", "licence")

Row = dict[str, Any] | str
"""Values by column name, or why the row cannot be read."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row whose image file is there.

    `key` is its id, or its line where the table has no ids; `place` is "FILE, line N", `image` an
    address below the data root. `cells` holds the named columns by what they are: "text", "split".
    """

    key: str
    place: str
    image: str
    cells: Mapping[str, str]


def read_rows(root: Path, source: CorpusConfig | BenchmarkConfig) -> Iterator[TableRow | Skipped]:
    """The rows of the table that `source` describes, in order; those without content do not count.

    Image addresses start at the folder of the table; of "images.zip::a.jpg" only the archive is
    looked for. Numbers and truth values are spelt as in JSON. JSON Lines have the columns of their
    first row. Raises MissingData where there is no table, and DataError, with the line to blame,
    for one that cannot be read, has no rows, repeats a column or lacks one.
    """
    if source.path is None or source.columns is None:
        raise DataError(f"{source.name}: loader 'table' needs path and columns.")
    table = _below("", source.path)
    if table is None:
        raise DataError(f"{source.name}: path {source.path!r} leaves the data root.")
    wanted = source.columns.model_dump(exclude_none=True)
    empty = True
    for line, row in _open_table(root / table, wanted, source.name):
        empty = False
        place = f"{posixpath.basename(table)}, line {line}"
        cells = row if isinstance(row, str) else _cells(row, wanted)
        if isinstance(cells, str):
            yield Skipped(source.name, str(line), "unreadable row", f"{place}: {cells}")
            continue
        image = _below(posixpath.dirname(table), cells["image"])
        found = TableRow(cells.get("id") or str(line), place, image or "", cells)
        reason, detail = _problem(found, root)
        if reason:
            yield Skipped(source.name, found.key, reason, f"{place}: {detail}")
        else:
            yield found
    if empty:
        raise DataError(f"{root / table} has no rows; write one per image.")


def csv_table(path: Path) -> tuple[str, list[str], Iterator[tuple[int, Row]]]:
    """The header of a CSV file: "FILE, line N", its stripped names; and the rows below it.

    The file is UTF-8, gzipped where it is called .gz; a quote inside a quoted cell is doubled.
    Rows have the line where they start, from 1; those without content do not count. Raises
    DataError, with the line, for a file that is not so, or is empty.
    """
    rows = _csv_cells(path)
    line, header = next(rows, (0, None))
    if header is None:
        raise DataError(f"{path} is empty; its first row names the columns.")
    names = [name.strip() for name in header]

    def named() -> Iterator[tuple[int, Row]]:
        for place, cells in rows:
            fits = len(cells) == len(names)
            problem = f"{len(cells)} cells below a header of {len(names)}"
            yield place, dict(zip(names, cells, strict=True)) if fits else problem

    return f"{path}, line {line}", names, named()


def _csv_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(_lines(path), strict=True)
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {start}: {error}. Is a quote open? Write the table with a CSV library."
        ) from error


def _lines(path: Path) -> Iterator[str]:
    place = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for place, line in enumerate(lines, start=1):  # a line ends at \n only
                yield line.decode("utf-8-sig" if place == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, line {place}: {error}. Save the table as UTF-8.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read after line {place} ({error}); copy it again."
        ) from error


def _open_table(path: Path, wanted: Mapping[str, str], source: str) -> Iterator[tuple[int, Row]]:
    """The rows below the header, once it is known that the header has all `wanted` names."""
    if not path.name.endswith(CSV_SUFFIXES + JSON_SUFFIXES):
        known = ", ".join(CSV_SUFFIXES + JSON_SUFFIXES)
        raise DataError(f"{path}: a table is called by one of {known}.")
    if not path.is_file():
        raise MissingData(f"{path} is missing; put the table there or mend 'path' of {source}.")
    read = csv_table if path.name.endswith(CSV_SUFFIXES) else _from_json
    place, names, rows = read(path)
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise DataError(f"{place}: column {repeated[0]!r} occurs twice; rename one of the two.")
    if not set(wanted.values()) & set(names):  # perhaps a record: what stands there is not repeated
        raise DataError(
            f"{place}: none of its {len(names)} cells is a column that {source} names "
            f"({', '.join(wanted.values())}). Does the table begin with the names of its columns, "
            "and do commas separate them?"
        )
    for role, name in wanted.items():
        if name not in names:
            raise DataError(
                f"columns.{role} of {source} is {name!r}, but the columns of {place} are "
                f"{', '.join(names)}{nearest(name, names)}"
            )
    return rows


def _from_json(path: Path) -> tuple[str, list[str], Iterator[tuple[int, Row]]]:
    lines = enumerate(_lines(path), start=1)
    rows = ((place, _parse(line.rstrip())) for place, line in lines if line.strip())
    first: tuple[int, Row] = next(rows, (1, "the file is empty"))
    place = f"{path}, line {first[0]}"
    if isinstance(first[1], str):
        raise DataError(f"{place}: {first[1]}; write one JSON object per line.")
    return place, list(first[1]), chain([first], rows)


def _parse(line: str) -> Row:
    try:
        row = json.loads(line, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at character {error.colno}"
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return row if isinstance(row, dict) else f"a {type(row).__name__}, not a JSON object"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key occurs twice")
    return values


def _cells(row: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, str] | str:
    """The wanted cells by what they are, or why they cannot be had."""
    cells = {}
    for role, name in wanted.items():
        text = _spelt(row.get(name))
        if text is None:
            return f"no text or number in {name!r}"
        cells[role] = text.strip()
    return cells


def _spelt(value: object) -> str | None:
    """A JSON value as text; None for what has no text (null, lists, objects, NaN)."""
    if isinstance(value, str):
        whole = value.encode("utf-8", "ignore").decode() == value  # half a character cannot be kept
        return value if whole else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def _below(folder: str, address: str) -> str | None:
    """An address in `folder` as one from the data root on, or None where it leaves that."""
    container, mark, member = address.partition("::")
    path = posixpath.normpath(posixpath.join(folder, container))
    return None if path.startswith("/") or path.split("/")[0] == ".." else path + mark + member


def _problem(row: TableRow, root: Path) -> tuple[str, str]:
    """Reason and detail why a row cannot be used, whatever it is for; both "" if it can."""
    empty = [role for role in _NEVER_EMPTY if row.cells.get(role) == ""]
    if empty:
        return "empty cell", f"no {', '.join(empty)}"
    if not row.image:
        return "image outside the data root", row.cells["image"]
    # os.path: a cell that is too long for a file name is no error there
    if not os.path.isfile(root / row.image.partition("::")[0]):
        return "missing image", row.image
    return "", ""
