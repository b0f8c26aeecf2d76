"""Configurations, prompts and rows that the tests of this room share."""

import os
import signal
from collections.abc import Callable

import pandas as pd

from jomed.config import RunConfig, load_config
from jomed.reading.prompts import Prompt
from jomed.records import Record, Sample

SIZES = {"a.png": (28, 28), "b.png": (56, 42), "c.png": (90, 40), "d.png": (20, 70)}
PROMPTS = (
    Prompt("a.png", "hello world", "b.png", "what is it?"),
    Prompt("c.png", "hi", "d.png", "is it?"),
    Prompt(None, None, "c.png", "which one is it, and where?"),
    Prompt("d.png", None, "a.png", "x"),
    Prompt(None, "a text only", "b.png", "x"),
)


def make_config(
    family: str = "qwen2_vl", benchmark: str = "retina", **overrides: object
) -> RunConfig:
    """Return the tiny profile with small prompts; overrides are written with __ for a dot."""
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    small = {"prompt.max_side": 64, "prompt.max_text_chars": 60, "runtime.device": "cpu"}
    return load_config(
        profile="tiny",
        benchmark=benchmark,
        backbone="tiny_pixtral" if family == "pixtral" else "tiny_qwen2vl",
        overrides={**small, "backbone.family": family, "backbone.token_budget": 700, **dotted},
    )


def sample_frame(*rows: dict[str, str]) -> pd.DataFrame:
    """Return samples from partial rows."""
    base = dict.fromkeys(Sample.__slots__, "")
    base |= {"benchmark": "x", "split": "train", "answer_type": "label", "question": "which?"}
    return pd.DataFrame([{**base, **row} for row in rows])


def record_frame(*rows: dict[str, str]) -> pd.DataFrame:
    """Return records from partial rows."""
    base = dict.fromkeys(Record.__slots__, "") | {"access": "open"}
    return pd.DataFrame([{**base, **row} for row in rows])


def killed(work: Callable[[], None]) -> bool:
    """Run work in a process of its own and tell whether SIGKILL ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
