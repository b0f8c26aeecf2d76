import pytest

from jomed.reading.prompts import Prompt, build_prompt, cut_text, prompt_messages
from jomed.records import Record, Sample
from jomed.settings import PromptConfig

SETTINGS = PromptConfig(max_side=64, max_pixels=None, max_text_chars=10)
SAMPLE = Sample("s", "x", "test", "q.png", "which?", "1", "label", "", "g", "h", "")
RECORD = Record("r", "x", "r.png", "one two three", "g", "l", "open", "h", "")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(13, "one two three"), (12, "one two"), (7, "one two"), (6, "one"), (3, "one"), (2, "on")],
)
def test_texts_are_cut_between_words(limit: int, expected: str) -> None:
    assert cut_text("one two three", limit) == expected


def test_a_record_comes_before_the_query_and_its_text_between_the_images() -> None:
    content = prompt_messages(build_prompt(SAMPLE, RECORD, SETTINGS))[0]["content"]
    shown = [part.get("text", part["type"]) for part in content]
    assert shown == ["image", "background: one two\n\n", "image", "which?"]
    assert all(part["text"] == part["content"] for part in content if part["type"] == "text")


@pytest.mark.parametrize(
    ("record", "parts", "expected"),
    [
        (None, "record", Prompt(None, None, "q.png", "which?")),
        (RECORD, "caption", Prompt(None, "one two", "q.png", "which?")),
        (RECORD, "image", Prompt("r.png", None, "q.png", "which?")),
    ],
)
def test_parts_of_a_record_can_be_left_out(record, parts, expected) -> None:  # type: ignore[no-untyped-def]
    assert build_prompt(SAMPLE, record, SETTINGS, parts=parts) == expected
    images = [part for part in prompt_messages(expected)[0]["content"] if part["type"] == "image"]
    assert len(images) == len(expected.images)


def test_another_question_can_be_asked() -> None:
    assert build_prompt(SAMPLE, None, SETTINGS, "is it?").question == "is it?"
