"""Configurations, prompts and rows that the tests of this room share."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from jomed.config import RunConfig, load_config
from jomed.data.images import open_image
from jomed.reading.answers import AnswerSet
from jomed.reading.image_limits import limit_side
from jomed.reading.prompts import Prompt, prompt_messages
from jomed.reading.reader import Reader
from jomed.records import Record, Sample

SIZES = {
    "a.png": (28, 28),
    "b.png": (56, 42),
    "c.png": (90, 40),
    "d.png": (20, 70),
    "like_a.png": (28, 28),  # other pixels, the same tokens
}
PROMPTS = (
    Prompt("a.png", "hello world", "b.png", "what is it?"),
    Prompt("c.png", "hi", "d.png", "is it?"),
    Prompt(None, None, "c.png", "which one is it, and where?"),
    Prompt("d.png", None, "a.png", "x"),
    Prompt(None, "a text only", "b.png", "x"),
)
ONE_TOKEN = AnswerSet(("0", "1", "2"))
SEVERAL = AnswerSet(("yes", "no", "yes it is", "3, 7", "3", ""))


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


@torch.inference_mode()
def naive_score(reader: Reader, prompt: Prompt, answer: str, root: Path, end: bool) -> float:
    """Return the teacher-forced log-probability of one answer from one full forward pass."""
    processor, model = reader.packer.processor, reader.model
    text = processor.apply_chat_template(
        prompt_messages(prompt), tokenize=False, add_generation_prompt=True
    )
    said = answer + (processor.tokenizer.eos_token if end else "")
    images = [limit_side(open_image(address, root), 64) for address in prompt.images]
    inputs = processor(
        text=[text + said], images=images, add_special_tokens=False, return_tensors="pt"
    )
    logp = model(**inputs).logits[0].log_softmax(-1)
    ids = inputs["input_ids"][0]
    count = len(processor.tokenizer(said, add_special_tokens=False)["input_ids"])
    places = range(len(ids) - count, len(ids))
    return float(sum(logp[place - 1, ids[place]] for place in places))


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
