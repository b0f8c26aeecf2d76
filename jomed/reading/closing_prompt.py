"""What a language model is asked to close an open question, and what counts as its reply."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from jomed.catalogue import BenchmarkConfig
from jomed.reading.answers import normalise_answer, open_to_training, spoken_answer
from jomed.reading.endpoint import BadReplyError

MAX_OPTION_CHARS = 500
PROMPT = """\
You close open questions about medical images. You are given a question and its correct answer, \
not the image. Write exactly {count} wrong answers that could stand beside the correct one in a \
multiple-choice question. Each wrong answer
- is of the same kind as the correct one (an organ for an organ, a finding for a finding, a number \
for a number), about as long and as precise;
- is plausible to somebody who knows the question but has not seen the image;
- is certainly wrong if the correct answer is right: no synonym, abbreviation or rewording of it, \
nothing that includes it and nothing that it includes;
- differs in meaning from the other wrong answers;
- is a real answer: not "none of these", "all of these" or "unknown".
Reply with JSON and nothing else: {{"options": ["first wrong answer", ...]}}"""
# Without the number of options: not every server that enforces schemas knows such bounds.
REPLY_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"options": {"type": "array", "items": {"type": "string"}}},
    "required": ["options"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """An open question with its gold answer as the reader says it."""

    sample_id: str
    question: str
    gold: str


def open_questions(samples: pd.DataFrame, benchmark: BenchmarkConfig) -> list[OpenQuestion]:
    """Return the open questions of training and validation.

    Those of the test split stay open: their gold answers are neither read nor sent.
    """
    chosen = samples[open_to_training(samples)]
    return [
        OpenQuestion(
            str(row.sample_id), str(row.question).strip(), spoken_answer(str(row.answer), benchmark)
        )
        for row in chosen.itertuples(index=False)
    ]


def messages(
    question: OpenQuestion, count: int, problem: BadReplyError | None = None
) -> list[dict[str, str]]:
    """Return the conversation that asks for options, after a reply with this problem if any."""
    asked = json.dumps(
        {"question": question.question, "correct_answer": question.gold}, ensure_ascii=False
    )
    if problem is not None:
        asked += f"\nAn earlier reply to this could not be used: {problem}."
    return [
        {"role": "system", "content": PROMPT.format(count=count)},
        {"role": "user", "content": asked},
    ]


class _Options(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    options: list[str]


def parse_options(text: str, gold: str, count: int) -> tuple[str, ...]:
    """Return the options of a reply: JSON, whatever stands around it (a code fence, say).

    Raises BadReplyError.
    """
    try:
        found = _Options.model_validate_json(text[text.find("{") : text.rfind("}") + 1])
    except ValidationError:
        raise BadReplyError('no JSON object {"options": [strings]}') from None
    return checked_options(found.options, gold, count)


def checked_options(options: Sequence[str], gold: str, count: int) -> tuple[str, ...]:
    """Return options with single spaces, all different and none the gold answer.

    Two answers are the same where `normalise_answer` says so. Raises BadReplyError, which names an
    option by its place.
    """
    if len(options) != count:
        raise BadReplyError(f"{len(options)} options instead of {count}")
    seen = {normalise_answer(gold): "the correct answer"}
    kept = []
    for place, option in enumerate(options, start=1):
        text, form = " ".join(option.split()), normalise_answer(option)
        if not form or not text.isprintable() or len(text) > MAX_OPTION_CHARS:
            raise BadReplyError(f"option {place} is empty, too long or not printable")
        if form in seen:
            raise BadReplyError(f"option {place} reads like {seen[form]}")
        seen[form] = f"option {place}"
        kept.append(text)
    return tuple(kept)
