"""The reader: a vision-language model that scores answer sets and generates answers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jomed.config import RunConfig
from jomed.reading.adapters import with_adapter
from jomed.reading.answers import AnswerSet
from jomed.reading.caches import TensorCache
from jomed.reading.families import FAMILIES
from jomed.reading.forward import check_context, score_batch
from jomed.reading.loading import load_base, reader_key
from jomed.reading.packing import PackedPrompt, PromptPacker, model_inputs
from jomed.reading.prompts import Prompt
from jomed.reading.tries import AnswerTrie, build_trie, scored_tokens

FEATURE_CACHE_BYTES = 2 * 1024**3
PROMPTS_AT_ONCE = 1024
"""Prompts that are packed together and sorted by length before they are cut into batches."""


def plan_batches(lengths: Sequence[int], extras: Sequence[int], budget: int) -> list[list[int]]:
    """Return batches of indices, longest first, of at most ``budget`` padded tokens each.

    A batch of n pads to n x (longest length + largest extra) tokens. An item that is larger
    than the budget makes a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-(lengths[i] + extras[i]), i))
    batches: list[list[int]] = []
    longest = widest = 0
    for index in order:
        length, extra = max(longest, lengths[index]), max(widest, extras[index])
        if not batches or (len(batches[-1]) + 1) * (length + extra) > budget:
            batches.append([])
            length, extra = lengths[index], extras[index]
        batches[-1].append(index)
        longest, widest = length, extra
    return batches


class Reader:
    """A frozen reader; ``key`` names it in the score table (see ``reader_key``).

    Vision features are computed once per image and kept, least recently used first to go, within
    ``FEATURE_CACHE_BYTES`` on the model's device.
    """

    def __init__(
        self, model: Any, packer: PromptPacker, token_budget: int, images_per_call: int, key: str
    ):
        self.model = model.requires_grad_(False)
        self.packer = packer
        self.token_budget = token_budget
        self.images_per_call = images_per_call
        self.key = key
        self._features = TensorCache(FEATURE_CACHE_BYTES)
        self._tries: dict[str, AnswerTrie] = {}

    @classmethod
    def load(
        cls, config: RunConfig, base: Path | str, adapter: Path | None, root: Path
    ) -> "Reader":
        """Load a reader from a folder or hub id, with a stage-1 adapter where one is given.

        ``root`` is the data root that image addresses are relative to. Raises ReaderError where
        a part is missing.
        """
        model, processor = load_base(config, base)
        key = reader_key(config, base, model, processor, adapter)
        if adapter is not None:
            model = with_adapter(model, adapter)
        family = FAMILIES[config.backbone.family]
        packer = PromptPacker(processor, family, root, config.prompt)
        backbone = config.backbone
        return cls(model, packer, backbone.token_budget, backbone.images_per_call, key)

    def anew(self, root: Path) -> "Reader":
        """Return this reader for images below another root, with nothing kept of former ones."""
        old = self.packer
        packer = PromptPacker(old.processor, old.family, root, old.settings)
        return Reader(self.model, packer, self.token_budget, self.images_per_call, self.key)

    def score(self, prompts: Sequence[Prompt], answers: AnswerSet) -> np.ndarray:
        """Return log p(c | prompt) for every prompt and answer, float32 (N, |C|).

        The log-probability of an answer is the sum over its tokens, the end-of-turn token
        included; only where all answers of the set are single tokens is it left out.
        """
        scores = np.empty((len(prompts), len(answers)), np.float32)
        for indices, values in self.score_batches(prompts, [answers] * len(prompts)):
            scores[indices] = np.stack(values)
        return scores

    def score_batches(
        self, prompts: Sequence[Prompt], answer_sets: Sequence[AnswerSet]
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Yield batch by batch (indices of the prompts, their scores), each with its own set."""
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            packed = self.packer.pack(prompts[start : start + PROMPTS_AT_ONCE])
            tries = [self._trie(answers) for answers in answer_sets[start:][: len(packed)]]
            lengths = [len(prompt.ids) for prompt in packed]
            extras = [trie.nodes for trie in tries]
            for batch in plan_batches(lengths, extras, self.token_budget):
                chosen = [packed[i] for i in batch]
                images = self._image_features(chosen)
                values = score_batch(
                    self.model, self.packer, chosen, [tries[i] for i in batch], images
                )
                yield [start + i for i in batch], values

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """Return greedy answers up to the end of the turn, stripped."""
        texts = [""] * len(prompts)
        for indices, said in self.generate_batches(prompts, max_new_tokens):
            for i, text in zip(indices, said, strict=True):
                texts[i] = text
        return texts

    def generate_batches(
        self, prompts: Sequence[Prompt], max_new_tokens: int
    ) -> Iterator[tuple[list[int], list[str]]]:
        """Yield batch by batch (indices of the prompts, their greedy answers)."""
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            packed = self.packer.pack(prompts[start : start + PROMPTS_AT_ONCE])
            lengths = [len(prompt.ids) for prompt in packed]
            extras = [max_new_tokens] * len(packed)
            for batch in plan_batches(lengths, extras, self.token_budget):
                said = self._generate_batch([packed[i] for i in batch], max_new_tokens)
                yield [start + i for i in batch], said

    @torch.inference_mode()
    def _generate_batch(self, packed: Sequence[PackedPrompt], max_new_tokens: int) -> list[str]:
        lengths = [len(prompt.ids) for prompt in packed]
        check_context(self.model, lengths, [max_new_tokens] * len(packed), "generation at most")
        inputs = model_inputs(self.packer, packed, endings=None)
        inputs = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
        output = self.model.generate(**inputs, max_new_tokens=max_new_tokens)
        stops = set(self.model.generation_config.eos_token_id)
        texts = []
        for row in output[:, inputs["input_ids"].shape[1] :].tolist():
            end = next((i for i, token in enumerate(row) if token in stops), len(row))
            text = self.packer.tokenizer.decode(row[:end], skip_special_tokens=True)
            texts.append(text.strip())
        return texts

    def _trie(self, answers: AnswerSet) -> AnswerTrie:
        if answers.key not in self._tries:
            tokens = scored_tokens(self.packer.tokenizer, answers.answers)
            self._tries[answers.key] = build_trie(tokens)
        return self._tries[answers.key]

    @torch.inference_mode()
    def _image_features(self, packed: Sequence[PackedPrompt]) -> list[torch.Tensor]:
        """Return what the vision tower says of all images of the prompts, in their order."""
        addresses = [address for prompt in packed for address in prompt.images]
        found: dict[str, torch.Tensor] = {}
        absent: list[str] = []
        for address in dict.fromkeys(addresses):
            kept = self._features.get(address)
            if kept is None:
                absent.append(address)
            else:
                found[address] = kept
        # Large ones first: some families fill the images of a call up to the size of the largest.
        absent.sort(key=lambda address: -len(self.packer.snippet(address).ids))
        for start in range(0, len(absent), self.images_per_call):
            chosen = absent[start : start + self.images_per_call]
            inputs = self.packer.image_inputs(chosen)
            moved = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
            output = self.model.get_image_features(**moved, return_dict=True)
            features = self.packer.family.features(output)
            for address, feature in zip(chosen, features, strict=True):
                self._features.put(address, feature)
                found[address] = feature
        return [found[address] for address in addresses]
