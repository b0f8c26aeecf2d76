"""The published models' templates, stop tokens and image sizes, through processors built here."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from published_processors import published_processor
from tiny_models import save_images

from jomed.data.images import open_image
from jomed.reading.families import FAMILIES
from jomed.reading.image_limits import limit_side
from jomed.reading.packing import PromptPacker
from jomed.reading.prompts import Prompt, prompt_messages
from jomed.reading.tries import answer_ids
from jomed.settings import PromptConfig

SETTINGS = PromptConfig(max_side=256, max_pixels=None, max_text_chars=2000)
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
QUESTION = "Does this breast ultrasound image show signs of cancer?"
FULL = Prompt("record.png", "shows pneumonia, 3 mm", "query.png", QUESTION)
CLOSED_BOOK = Prompt(None, None, "query.png", QUESTION)
QWEN_FULL = (
    f"<|im_start|>user\n{PICTURE}background: shows pneumonia, 3 mm\n\n{PICTURE}{QUESTION}<|im_end|>"
    "\n<|im_start|>assistant\n"
)
QWEN_CLOSED = f"<|im_start|>user\n{PICTURE}{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
RENDERED = {
    "qwen2_vl": (SYSTEM + QWEN_FULL, SYSTEM + QWEN_CLOSED),
    "qwen2_5_vl": (SYSTEM + QWEN_FULL, SYSTEM + QWEN_CLOSED),
    "qwen3_vl": (QWEN_FULL, QWEN_CLOSED),
    "pixtral": (
        f"<s>[INST][IMG]background: shows pneumonia, 3 mm\n\n[IMG]{QUESTION}[/INST]",
        f"<s>[INST][IMG]{QUESTION}[/INST]",
    ),
}
STOPS = {"pixtral": "</s>"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"record.png": (256, 256), "query.png": (1000, 300), "small.png": (28, 28)}
    return save_images(tmp_path_factory.mktemp("published"), sizes)


@pytest.fixture(scope="module", params=[*RENDERED, "pixtral, text"])
def packer(request: pytest.FixtureRequest, root: Path) -> PromptPacker:
    family, _, key = request.param.partition(", ")
    processor = published_processor(family, key or "content")
    return PromptPacker(processor, FAMILIES[family], root, SETTINGS)


def conversation(prompt: Prompt, root: Path) -> list[dict[str, Any]]:
    """Return the chat with its images inside, as a processor's documentation gives it."""
    messages = prompt_messages(prompt)
    slots = [part for part in messages[0]["content"] if part["type"] == "image"]
    for part, address in zip(slots, prompt.images, strict=True):
        part["image"] = limit_side(open_image(address, root), SETTINGS.max_side)
    return messages


def test_prompts_are_rendered_to_the_letter(packer: PromptPacker) -> None:
    assert (packer.rendered(FULL), packer.rendered(CLOSED_BOOK)) == RENDERED[packer.family.name]


def test_packed_prompts_equal_what_the_processor_makes_of_the_chat(
    packer: PromptPacker, root: Path
) -> None:
    for prompt, packed in zip((FULL, CLOSED_BOOK), packer.pack([FULL, CLOSED_BOOK]), strict=True):
        whole = packer.processor.apply_chat_template(
            conversation(prompt, root), tokenize=True, add_generation_prompt=True, return_dict=True
        )
        assert packed.ids.tolist() == list(whole["input_ids"][0])
        first = packer.tokenizer.bos_token_id
        assert first is None or packed.ids.tolist().count(first) == 1


def test_an_answer_ends_with_the_token_that_ends_the_templates_own_turns(
    packer: PromptPacker,
) -> None:
    said = [*prompt_messages(FULL), {"role": "assistant", "content": "Yes"}]
    whole = packer.processor.apply_chat_template(said, tokenize=False)
    end = STOPS.get(packer.family.name, "<|im_end|>")
    assert packer.tokenizer.eos_token == end
    assert whole.removeprefix(packer.rendered(FULL)).rstrip("\n") == f"Yes{end}"
    tokens = answer_ids(packer.tokenizer, "Yes")
    both = packer.tokenizer(packer.rendered(FULL) + f"Yes{end}", add_special_tokens=False)
    assert both["input_ids"][-len(tokens) :] == tokens


# One token per 28 x 28 px (Qwen3-VL 32 x 32 px). Pixtral: one per 16 x 16 px and one more per row.
# 1000 x 300 px is 256 x 77 px behind a limit of 256 px.
TOKENS = {
    "qwen2_vl": {"record": 9 * 9, "limited": 9 * 3, "query": 36 * 11, "small": 2 * 2},
    "qwen2_5_vl": {"record": 9 * 9, "limited": 9 * 3, "query": 36 * 11, "small": 2 * 2},
    # Smaller images are enlarged to 256 x 256 px or more: 77 px high become 160 px.
    "qwen3_vl": {"record": 8 * 8, "limited": 15 * 5, "query": 31 * 9, "small": 8 * 8},
    "pixtral": {"record": 17 * 16, "limited": 17 * 5, "query": 64 * 19, "small": 3 * 2},
}


@pytest.mark.parametrize("family", TOKENS)
def test_numbers_of_tokens_of_an_image(family: str, root: Path) -> None:
    def count(address: str, max_side: int, max_pixels: int | None = None) -> int:
        settings = PromptConfig(max_side=max_side, max_pixels=max_pixels, max_text_chars=9)
        packer = PromptPacker(published_processor(family), FAMILIES[family], root, settings)
        return len(packer.snippet(address).ids)

    assert TOKENS[family] == {
        "record": count("record.png", 1000),
        "limited": count("query.png", 256),
        "query": count("query.png", 1000),
        "small": count("small.png", 1000),
    }
    # 154 x 46 px of 1000 x 300 px: 168 x 56 px for Qwen-VL, 160 x 48 px for Pixtral.
    budget = {"qwen2_vl": 6 * 2, "qwen2_5_vl": 6 * 2, "qwen3_vl": 15 * 5, "pixtral": 11 * 3}
    assert count("query.png", 1000, 7130) == budget[family]


def test_the_pixel_budget_holds_behind_the_side_limit() -> None:
    image = Image.new("RGB", (1000, 300))
    assert limit_side(image, 256, None).size == (256, 77)
    # 256 x 77 = 19,712 px; the square root of 10,000 / 19,712 is 0.7122.
    assert limit_side(image, 256, 10_000).size == (182, 54)
    assert limit_side(image, 256, 19_712).size == (256, 77)
    assert limit_side(Image.new("RGB", (900, 1)), 1000, 100).size == (100, 1)
    assert limit_side(Image.new("RGB", (1, 900)), 1000, 100).size == (1, 100)
    assert limit_side(Image.new("RGB", (4, 4)), 9, 1).size == (1, 1)
    assert limit_side(image, 2000, 10**6) is image
