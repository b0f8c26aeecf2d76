"""Settings, questions and closers that the tests of closing by a model share."""

from pathlib import Path
from typing import Any

from jomed.catalogue import Access
from jomed.reading.closing import Closer
from jomed.reading.closing_prompt import OpenQuestion
from jomed.settings import ClosingConfig

SETTINGS: dict[str, Any] = {
    "method": "llm", "model": "small-model", "store": "unused.jsonl", "endpoint": None,
    "key_variable": None, "parallel": 2, "timeout": 20.0, "tries": 2, "enforce_schema": True,
}  # fmt: skip


def closing_settings(**change: Any) -> ClosingConfig:
    """Settings of closing by a model, without credential."""
    return ClosingConfig(**{**SETTINGS, **change})


def closer_for(store: Path, access: Access = "open", count: int = 2, **change: Any) -> Closer:
    """A closer of the benchmark "quiz"."""
    return Closer(closing_settings(**change), store, count, "quiz", access)


def questions(count: int) -> list[OpenQuestion]:
    """Different questions "q0", "q1", ..."""
    return [OpenQuestion(f"q{n}", f"what is {n}?", f"answer {n}") for n in range(count)]
