"""Tiny readers: real classes, a tokenizer that splits as answers need it, sizes from settings."""

from typing import Any

import pytest
import torch
from PIL import Image

from jomed.catalogue import TinyBackboneConfig
from jomed.phantom.tiny_readers import (
    PIXTRAL_SPECIAL,
    QWEN_SPECIAL,
    build_model,
    build_processor,
    train_tokenizer,
)
from jomed.reading.families import FAMILIES

TEXTS = ("chest radiograph of a man aged 45. the study shows bronchitis.", "Yes", "No", "0 1 2 3")
TINY = TinyBackboneConfig(
    hidden=32,
    layers=2,
    heads=4,
    vision_hidden=16,
    vision_layers=1,
    image_size=56,
    patch=14,
    vocabulary=300,
    steps=1,
    batch_size=2,
    learning_rate=1e-3,
)
CLASSES = {name: family.model_class for name, family in FAMILIES.items()}
# 56 px in patches of 14 px: 4 x 4, merged 2 x 2 by Qwen-VL; Pixtral ends every row but the last
# with [IMG_BREAK] and the last one with [IMG_END], which are not image tokens.
IMAGE_TOKENS = {"qwen2_vl": 4, "qwen2_5_vl": 4, "qwen3_vl": 4, "pixtral": 16}


@pytest.fixture(scope="module", params=sorted(CLASSES))
def built(request: pytest.FixtureRequest) -> tuple[str, Any, Any]:
    processor = build_processor(request.param, TINY, TEXTS)
    torch.manual_seed(0)
    return request.param, processor, build_model(request.param, TINY, processor).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(TEXTS, 200, QWEN_SPECIAL, eos_token="<|im_end|>")


def test_a_digit_is_one_token_and_numbers_are_split(tokenizer: Any) -> None:
    assert tokenizer.tokenize("10, 7") == ["1", "0", ",", "7"]


def test_a_known_word_is_the_same_token_everywhere(tokenizer: Any) -> None:
    assert tokenizer.tokenize("bronchitis.") == ["bronchitis", "."]
    inside = tokenizer("shows bronchitis here").input_ids
    assert tokenizer("bronchitis").input_ids[0] in inside


def test_every_printable_character_has_a_token(tokenizer: Any) -> None:
    for code in range(33, 127):
        assert "[UNK]" not in tokenizer.tokenize(chr(code))


def test_special_tokens_stay_whole_and_the_vocabulary_has_a_limit(tokenizer: Any) -> None:
    for token in QWEN_SPECIAL:
        assert tokenizer.tokenize(token) == [token]
    assert len(tokenizer) <= 200
    assert len(train_tokenizer(TEXTS, 130, PIXTRAL_SPECIAL)) <= 130


def test_the_same_texts_give_the_same_tokenizer_in_whatever_order() -> None:
    texts = [f"{text} {number}" for text in TEXTS for number in range(30)]
    one, *others = (
        train_tokenizer(order, 200, QWEN_SPECIAL).get_vocab()
        for order in (texts, texts, texts[::-1], texts)
    )
    assert all(other == one for other in others)


@pytest.mark.parametrize("answer", ["bronchitis", "Yes", "a radiograph of a man", "chest shows"])
def test_an_answer_is_decoded_as_it_was_said(tokenizer: Any, answer: str) -> None:
    assert tokenizer.decode(tokenizer(answer).input_ids, skip_special_tokens=True) == answer


def test_sizes_come_from_the_settings(built: tuple[str, Any, Any]) -> None:
    family, processor, model = built
    text, vision = model.config.text_config, model.config.vision_config
    assert isinstance(model, CLASSES[family])
    assert (text.hidden_size, text.num_hidden_layers, text.num_attention_heads) == (32, 2, 4)
    assert text.vocab_size == len(processor.tokenizer) <= TINY.vocabulary
    assert vision.patch_size == 14
    assert model.get_output_embeddings().weight.shape == (len(processor.tokenizer), 32)


@pytest.mark.parametrize("size", [(56, 56), (28, 28), (200, 200)])
def test_an_image_has_the_tokens_of_its_patches(
    built: tuple[str, Any, Any], size: tuple[int, int]
) -> None:
    family, processor, model = built
    content = [{"type": "image"}, {"type": "text", "text": "which finding?"}]
    chat = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    inputs = processor(text=[chat], images=[Image.new("RGB", size)], return_tensors="pt")
    image_token = model.config.image_token_id
    # Qwen-VL scales every image to the same area; Pixtral only makes large ones smaller.
    expected = 4 if (family, size) == ("pixtral", (28, 28)) else IMAGE_TOKENS[family]
    assert int((inputs["input_ids"] == image_token).sum()) == expected
    with torch.inference_mode():
        logits = model(**inputs).logits
    assert logits.shape == (1, inputs["input_ids"].shape[1], len(processor.tokenizer))
    assert torch.isfinite(logits).all()


def test_the_seed_decides_the_weights(built: tuple[str, Any, Any]) -> None:
    family, processor, model = built
    torch.manual_seed(0)
    same = build_model(family, TINY, processor).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, same[name])
