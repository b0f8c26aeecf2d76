"""The one prompt of stage 1, stage 2 and inference: retrieved record, query image, question."""

from dataclasses import dataclass
from typing import Any, Literal

from jomed.records import Record, Sample
from jomed.settings import PromptConfig

PROMPT_VERSION = "1"
"""Part of every reader key: raise it whenever a change here alters what a reader sees."""

PromptParts = Literal["record", "caption", "image"]
"""What of a record enters the prompt: image and text, text only, or image only."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to the reader; a part that is None is left out.

    Images are addresses relative to the data root. A closed-book prompt has neither part of a
    record.
    """

    record_image: str | None
    record_text: str | None
    query_image: str
    question: str

    @property
    def images(self) -> tuple[str, ...]:
        """Addresses of the prompt's images in the order in which the reader sees them."""
        shown = (self.record_image, self.query_image)
        return tuple(address for address in shown if address is not None)


def cut_text(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of a text, cut at a word boundary where there is one."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    boundary = next((i for i in range(limit, 0, -1) if head[i].isspace()), limit)
    return head[:boundary].rstrip()


def build_prompt(
    sample: Sample,
    record: Record | None,
    settings: PromptConfig,
    question: str | None = None,
    parts: PromptParts = "record",
) -> Prompt:
    """Return the prompt of a sample beside one record, or without one (closed book).

    The question is the sample's own unless ``question`` is given; record texts longer than
    ``settings.max_text_chars`` are cut at a word boundary; ``parts`` chooses what of the record
    is shown.
    """
    image = record.image if record is not None and parts != "caption" else None
    text = record.text if record is not None and parts != "image" else None
    return Prompt(
        record_image=image,
        record_text=None if text is None else cut_text(text, settings.max_text_chars),
        query_image=sample.image,
        question=sample.question if question is None else question,
    )


def prompt_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Return the chat of a prompt: one user turn, in the order that the method fixes.

    Retrieved image, ``background: {text}`` and an empty line, query image, question.
    """
    content: list[dict[str, str]] = []
    if prompt.record_image is not None:
        content.append({"type": "image"})
    if prompt.record_text is not None:
        content.append(_text_part(f"background: {prompt.record_text}\n\n"))
    content += [{"type": "image"}, _text_part(prompt.question)]
    return [{"role": "user", "content": content}]


def _text_part(text: str) -> dict[str, str]:
    # Published Pixtral chat templates differ in the key that they read, so both are there.
    return {"type": "text", "text": text, "content": text}
