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
from jomed.reading.forward import check_context, score_batch, takes_masks
from jomed.reading.loading import load_base, reader_key
from jomed.reading.packing import PackedPrompt, PromptPacker, model_inputs
from jomed.reading.prompts import Prompt
from jomed.reading.rows import make_rows, plan_batches
from jomed.reading.tries import AnswerTrie, build_trie, scored_tokens

FEATURE_CACHE_BYTES = 2 * 1024**3
PROMPTS_AT_ONCE = 1024
"""Prompts that are packed together; those beside one record share its tokens, and the rows that
they make are sorted by length before they are cut into batches."""


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
        """Yield batch by batch (indices of the prompts, their scores), each with its own set.

        Among PROMPTS_AT_ONCE prompts, the tokens of a record are read once for many that show it.
        """
        share = takes_masks(self.model)
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            packed = self.packer.pack(prompts[start : start + PROMPTS_AT_ONCE])
            tries = [self._trie(answers) for answers in answer_sets[start:][: len(packed)]]
            rows = make_rows(packed, tries, self.token_budget, share)
            for batch in plan_batches([row.length for row in rows], self.token_budget):
                chosen = [rows[i] for i in batch]
                features = self._features_of([image for row in chosen for image in row.images])
                values = score_batch(self.model, self.packer, chosen, features)
                yield [start + place for row in chosen for place in row.places], values

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
            lengths = [len(prompt.ids) + max_new_tokens for prompt in packed]
            for batch in plan_batches(lengths, self.token_budget):
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
    def _features_of(self, addresses: Sequence[str]) -> list[torch.Tensor]:
        """Return what the vision tower says of images, in their order."""
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
