"""What the question sets with a JSON list of questions share."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jomed.catalogue import BenchmarkConfig
from jomed.data.sources import DataError, MissingData, clean_text, parse_json

_ANSWER_TYPES = ("closed", "open")


def read_rows(path: Path, benchmark: BenchmarkConfig) -> Sequence[Any]:
    """The list in a JSON file; MissingData or DataError where there is none."""
    if not path.is_file():
        raise MissingData(f"{path} is missing; get {benchmark.title} from {benchmark.url}.")
    try:
        rows = parse_json(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); get it again: {benchmark.url}.") from error
    if not isinstance(rows, list):
        raise DataError(f"{path} holds a {type(rows).__name__}, not the list of questions.")
    return rows


def question_problem(row: Any, keys: Sequence[str]) -> tuple[str, str]:
    """Reason and detail why a row is no question; both "" if it has `keys`, a type and texts."""
    if not isinstance(row, dict):
        return "unreadable row", "not a JSON object"
    absent = [key for key in keys if not isinstance(row.get(key), str | int)]
    if absent:
        return "unreadable row", f"no {', '.join(absent)}"
    if answer_type(row) not in _ANSWER_TYPES:
        return "unknown answer type", repr(row["answer_type"])
    if not text_of(row, "answer") or not text_of(row, "question"):
        return "empty text", "no question or no answer"
    return "", ""


def text_of(row: dict[str, Any], key: str) -> str:
    """A question or an answer as clean text; some answers are numbers."""
    return clean_text(str(row[key]))


def answer_type(row: dict[str, Any]) -> str:
    """What the data say of a question: "closed" or "open"."""
    return str(row["answer_type"]).strip().lower()


def item_name(row: Any, place: str) -> str:
    """What a skipped row is called: its question id or, without one, its place in the file."""
    found = row.get("qid") if isinstance(row, dict) else None
    return str(found) if found is not None and found != "" else place


def numbered(names: Iterable[str]) -> Iterator[str]:
    """The names in their order; one that was there before gets "#2", "#3" and so on."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name}#{seen[name]}"
