"""Prompt assembly: token ids and pixel tensors, the same for scoring, generation and stage 1.

Every image goes through the processor once, many in one call, and its tokens come from the image
token alone, once for each size. The ids of a prompt are its tokenised text with these image
snippets in between, which equals the processor's result for the whole prompt (checked on the first
prompt of every packer) at a fraction of the cost.
"""

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from jomed.data.images import open_image
from jomed.reading.caches import TensorCache
from jomed.reading.families import ReaderFamily
from jomed.reading.image_limits import limit_side
from jomed.reading.prompts import Prompt, prompt_messages
from jomed.settings import PromptConfig

PIXEL_CACHE_BYTES = 2 * 1024**3
"""Enough for the images of PROMPTS_AT_ONCE prompts of 256 px: none is then opened twice."""
IMAGES_AT_ONCE = 64
"""Images per call of the processor, most of whose time per call does not depend on their number."""
_THREADS = 8


class ReaderError(RuntimeError):
    """A reader cannot be loaded, or cannot read a prompt; the message says which and why."""


@dataclass(frozen=True, slots=True)
class ImageSnippet:
    """One image as tokens: ids (n,) and the row of sizes that the model asks for (1, 2 or 3)."""

    ids: np.ndarray
    geometry: torch.Tensor


@dataclass(frozen=True, slots=True)
class PackedPrompt:
    """A prompt as token ids (L,), with the addresses of its images in the order of their tokens.

    The first ``lead`` tokens, up to the query image, are the same for every query beside the same
    record; 0 in closed book.
    """

    ids: np.ndarray
    images: tuple[str, ...]
    lead: int


class PromptPacker:
    """Turns prompts into token ids and images into pixel tensors for one processor."""

    def __init__(self, processor: Any, family: ReaderFamily, root: Path, settings: PromptConfig):
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.family = family
        self.root = root
        self.settings = settings
        self._snippets: dict[str, ImageSnippet] = {}
        self._ids_of_size: dict[tuple[int, ...], np.ndarray] = {}
        self._pixels = TensorCache(PIXEL_CACHE_BYTES)
        specials = [t.content for t in self.tokenizer.added_tokens_decoder.values() if t.special]
        longest_first = sorted(map(re.escape, specials), key=len, reverse=True)
        self._special = re.compile("|".join(longest_first) or r"(?!)")
        self._checked = False

    @property
    def image_token(self) -> int:
        """Id of the token that stands for one patch of an image."""
        return int(self.processor.image_token_id)

    def snippet(self, address: str) -> ImageSnippet:
        """Return an image's tokens; an image is processed once."""
        if address not in self._snippets:
            self._process([address])
        return self._snippets[address]

    def pixels(self, address: str) -> torch.Tensor:
        """Return the processor's pixel tensor of an image."""
        kept = self._pixels.get(address)
        return self._process([address])[0] if kept is None else kept

    def geometry(self, addresses: Sequence[str]) -> torch.Tensor:
        """Return the sizes of several images, one row each."""
        return torch.cat([self.snippet(address).geometry for address in addresses])

    def image_inputs(self, addresses: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the model's image arguments for several images."""
        pixels = [self.pixels(address) for address in addresses]
        return self.family.image_inputs(pixels, self.geometry(addresses))

    def pack(self, prompts: Sequence[Prompt]) -> list[PackedPrompt]:
        """Return token ids and image addresses of prompts; all texts are tokenised together.

        Special tokens that a text spells out are removed from it: they would be read as markup.
        """
        self._prepare(address for prompt in prompts for address in prompt.images)
        rendered: dict[tuple[bool, str | None, str], list[str]] = {}
        for prompt in prompts:
            seen = _seen(prompt)
            if seen not in rendered:
                rendered[seen] = self._chunks(prompt)
        chunks = [rendered[_seen(prompt)] for prompt in prompts]
        distinct = list(dict.fromkeys(chunk for many in chunks for chunk in many if chunk))
        ids = self.tokenizer(distinct, add_special_tokens=False)["input_ids"] if distinct else []
        of_chunk = {"": np.empty(0, np.int64)}
        of_chunk.update((c, np.asarray(i, np.int64)) for c, i in zip(distinct, ids, strict=True))
        packed = []
        for prompt, texts in zip(prompts, chunks, strict=True):
            parts = [of_chunk[texts[0]]]
            for address, text in zip(prompt.images, texts[1:], strict=True):
                parts += [self.snippet(address).ids, of_chunk[text]]
            closed = prompt.record_image is None and prompt.record_text is None
            lead = 0 if closed else sum(map(len, parts[:-2]))
            packed.append(PackedPrompt(np.concatenate(parts), prompt.images, lead))
        if prompts and not self._checked:
            self._check(prompts[0], packed[0])
        return packed

    def rendered(self, prompt: Prompt) -> str:
        """Return the text of a prompt, markup and image placeholders included."""
        text = prompt.record_text
        clean = replace(
            prompt,
            record_text=None if text is None else self._special.sub("", text),
            question=self._special.sub("", prompt.question),
        )
        return str(
            self.processor.apply_chat_template(
                prompt_messages(clean), tokenize=False, add_generation_prompt=True
            )
        )

    def most_image_tokens(self) -> int:
        """Return the tokens of a square image of the largest side: no other has more."""
        side = self.settings.max_side
        image = limit_side(Image.new("RGB", (side, side)), side, self.settings.max_pixels)
        outputs = self._run([self.processor.image_token], [image])
        return int(outputs["input_ids"].shape[1])

    def _chunks(self, prompt: Prompt) -> list[str]:
        chunks = self.rendered(prompt).split(self.processor.image_token)
        if len(chunks) != len(prompt.images) + 1:
            raise ReaderError(
                f"the chat template of the {self.family.name} processor made {len(chunks) - 1} "
                f"image placeholders ({self.processor.image_token}) for {len(prompt.images)} images"
            )
        return chunks

    def _open(self, address: str) -> Image.Image:
        limits = (self.settings.max_side, self.settings.max_pixels)
        return limit_side(open_image(address, self.root), *limits)

    def _prepare(self, addresses: Iterable[str]) -> None:
        """Process the images that have not been, many at a time."""
        absent = [a for a in dict.fromkeys(addresses) if a not in self._snippets]
        for start in range(0, len(absent), IMAGES_AT_ONCE):
            self._process(absent[start : start + IMAGES_AT_ONCE])

    def _process(self, addresses: Sequence[str]) -> list[torch.Tensor]:
        """Open images and remember their tokens and pixels; returns the pixels of each."""
        with ThreadPoolExecutor(_THREADS) as pool:
            images = list(pool.map(self._open, addresses))
        try:
            outputs = self.processor(images=images, return_tensors="pt")
        except ValueError as error:
            if len(addresses) > 1:  # one by one, so that the error can say which it is
                return [tensor for address in addresses for tensor in self._process([address])]
            raise ReaderError(f"image {addresses[0]} cannot be processed: {error}") from error
        sizes = outputs[self.family.geometry_name]
        pixels = self.family.split_pixels(outputs["pixel_values"], sizes)
        for i, (address, image) in enumerate(zip(addresses, images, strict=True)):
            self._snippets[address] = ImageSnippet(self._ids(sizes[i], image), sizes[i : i + 1])
            self._pixels.put(address, pixels[i])
        return pixels

    def _ids(self, size: torch.Tensor, image: Image.Image) -> np.ndarray:
        """Return the tokens of an image; they depend on its size alone."""
        known = tuple(size.tolist())
        if known not in self._ids_of_size:
            ids = self._run([self.processor.image_token], [image])["input_ids"][0]
            self._ids_of_size[known] = ids.numpy().astype(np.int64)
        return self._ids_of_size[known]

    def _run(self, texts: list[str], images: list[Image.Image]) -> Any:
        return self.processor(
            text=texts, images=images, add_special_tokens=False, return_tensors="pt"
        )

    def _check(self, prompt: Prompt, packed: PackedPrompt) -> None:
        images = [self._open(address) for address in prompt.images]
        whole = self._run([self.rendered(prompt)], images)["input_ids"][0].numpy()
        if not np.array_equal(whole, packed.ids):
            raise ReaderError(
                f"the {self.family.name} tokenizer reads a whole prompt otherwise than its parts; "
                "this reader cannot be scored exactly"
            )
        self._checked = True


def _seen(prompt: Prompt) -> tuple[bool, str | None, str]:
    """What decides a prompt's text: two of many queries beside one record often read alike."""
    return prompt.record_image is not None, prompt.record_text, prompt.question


def pad_ids(rows: Sequence[np.ndarray], fill: int, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return padded ids (B, L) and the mask (B, L) that is 1 at real tokens."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), fill, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for i, row in enumerate(rows):
        span = slice(longest - len(row), None) if left else slice(len(row))
        ids[i, span], mask[i, span] = row, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def model_inputs(
    packer: PromptPacker, packed: Sequence[PackedPrompt], endings: Sequence[np.ndarray] | None
) -> dict[str, torch.Tensor]:
    """Return the arguments of the whole model for left-padded prompts (generation, stage 1).

    ``endings`` are token ids to put behind each prompt: the answers, in training.
    """
    rows = [prompt.ids for prompt in packed]
    if endings is not None:
        rows = [np.concatenate(pair) for pair in zip(rows, endings, strict=True)]
    ids, mask = pad_ids(rows, packer.tokenizer.pad_token_id, left=True)
    images = packer.image_inputs([address for prompt in packed for address in prompt.images])
    text = packer.family.text_inputs(ids, packer.image_token)
    return {"input_ids": ids, "attention_mask": mask, **text, **images}
