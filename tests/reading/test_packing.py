from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reading_cases import PROMPTS

from jomed.data.images import ImageError, open_image
from jomed.reading import packing
from jomed.reading.image_limits import limit_side
from jomed.reading.packing import ReaderError, model_inputs, pad_ids
from jomed.reading.prompts import prompt_messages
from jomed.reading.reader import Reader


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 32), (64, 32)), ((128, 64), (64, 32)), ((100, 300), (21, 64)), ((1000, 2), (64, 1))],
)
def test_the_longest_side_is_limited_and_never_enlarged(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert limit_side(Image.new("RGB", size), 64).size == expected


def whole(reader: Reader, prompts: list, root: Path) -> dict[str, torch.Tensor]:  # type: ignore[type-arg]
    """Run the processor on whole prompts, as its documentation says."""
    processor = reader.packer.processor
    texts = [
        processor.apply_chat_template(
            prompt_messages(p), tokenize=False, add_generation_prompt=True
        )
        for p in prompts
    ]
    images = [limit_side(open_image(a, root), 64) for p in prompts for a in p.images]
    return processor(  # type: ignore[no-any-return]
        text=texts, images=images, add_special_tokens=False, return_tensors="pt",
        padding=True, padding_side="left",
    )  # fmt: skip


def test_assembled_prompts_equal_the_processors_own(reader: Reader, image_root: Path) -> None:
    packed = reader.packer.pack(PROMPTS)
    for prompt, parts in zip(PROMPTS, packed, strict=True):
        expected = whole(reader, [prompt], image_root)["input_ids"][0].numpy()
        assert parts.ids.tolist() == expected.tolist()
        assert parts.images == prompt.images


def test_model_inputs_equal_the_processors_own(reader: Reader, image_root: Path) -> None:
    inputs = model_inputs(reader.packer, reader.packer.pack(PROMPTS), endings=None)
    expected = whole(reader, list(PROMPTS), image_root)
    assert inputs.keys() == expected.keys()
    for name, tensor in inputs.items():
        assert torch.equal(tensor, expected[name].to(tensor.dtype)), name


def test_spelled_out_markup_is_removed_from_texts(reader: Reader) -> None:
    packer = reader.packer
    markup = "".join(t.content for t in packer.tokenizer.added_tokens_decoder.values())
    dirty = replace(PROMPTS[0], record_text=f"hello {markup}world", question=f"what{markup} is it?")
    clean, cleaned = packer.pack([PROMPTS[0], dirty])
    assert clean.ids.tolist() == cleaned.ids.tolist()


def test_each_image_is_opened_and_processed_once(
    load_reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, opened = load_reader("qwen2_vl"), []

    def counting(address: str, root: Path) -> Image.Image:
        opened.append(address)
        return open_image(address, root)

    reader.packer.pack(PROMPTS[:1])
    monkeypatch.setattr(packing, "open_image", counting)
    for _ in range(2):
        model_inputs(reader.packer, reader.packer.pack(PROMPTS), endings=None)
    assert sorted(opened) == ["c.png", "d.png"]


def test_an_image_that_the_processor_refuses_is_named_among_others(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = type(reader.packer.processor).__call__

    def refusing(self: object, images: list[Image.Image], **rest: object) -> object:
        if any(image.size == (18, 64) for image in images):  # d.png
            raise ValueError("too narrow")
        return process(self, images=images, **rest)

    monkeypatch.setattr(type(reader.packer.processor), "__call__", refusing)
    with pytest.raises(ReaderError, match=r"image d\.png cannot be processed: too narrow"):
        reader.packer.pack(PROMPTS)
    assert reader.packer.pixels("c.png").numel()


def test_a_tokenizer_that_joins_text_across_images_is_refused(
    load_reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = load_reader("qwen2_vl")
    whole_prompt = reader.packer._run
    monkeypatch.setattr(
        reader.packer,
        "_run",
        lambda texts, images: whole_prompt([text.replace("hello", "") for text in texts], images),
    )
    with pytest.raises(ReaderError, match="otherwise than its parts"):
        reader.packer.pack(PROMPTS)


def test_a_template_without_images_is_refused(load_reader: Callable[..., Reader]) -> None:
    reader = load_reader("qwen2_vl")
    reader.packer.processor.chat_template = "{{ messages[0]['role'] }}"
    with pytest.raises(ReaderError, match="0 image placeholders"):
        reader.packer.pack(PROMPTS)


def test_a_missing_image_is_named(reader: Reader) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        reader.packer.pack([replace(PROMPTS[0], query_image="nowhere.png")])


def test_rows_are_padded_on_either_side() -> None:
    rows = [np.array([1, 2, 3]), np.array([4])]
    assert pad_ids(rows, 0, left=True)[0].tolist() == [[1, 2, 3], [0, 0, 4]]
    ids, mask = pad_ids(rows, 0, left=False)
    assert (ids.tolist(), mask.tolist()) == ([[1, 2, 3], [4, 0, 0]], [[1, 1, 1], [1, 0, 0]])
