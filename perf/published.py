"""The published stage 2 and evaluation, as the baseline of the speed measurements.

Written from a description of what the released code does, and as slow as it is there, no slower:
whatever one visit of a sample needs is computed anew at every visit. Images are opened and
processed, prompts tokenised, answers generated greedily without a cache, where the whole model, its
vision tower included, runs again for every token; candidates are encoded again instead of taken
from the index, five at a time, and the query again for every five. What the description leaves
open is decided in favour of speed: logits at the last position only, a snapshot of the image tower
alone, no evaluation during training.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import get_cosine_schedule_with_warmup

from jomed.config import RunConfig
from jomed.data.images import open_image
from jomed.reading.image_limits import limit_side
from jomed.reading.packing import PromptPacker
from jomed.reading.prompts import Prompt, build_prompt
from jomed.reading.reader import Reader
from jomed.records import Record, Sample
from jomed.retrieval.encoders import Encoder
from jomed.retrieval.index import Index

CHUNK = 5
"""Candidates of every query that are encoded and read together."""
SNAPSHOT_EVERY = 10
"""Steps after which the copy of the head that finds candidates is taken anew."""
EVALUATED = 2
"""Records of each head at inference."""
SCALE = 1000.0
Pair = tuple[Sample, Record]


class PublishedReader:
    """Greedy answers to (sample, record) pairs, every token at the price of a whole forward."""

    def __init__(self, reader: Reader, config: RunConfig) -> None:
        self._model: Any = reader.model
        self._packer: PromptPacker = reader.packer
        self._settings, self._limit = config.prompt, config.inference.max_new_tokens
        self._stops = torch.tensor(reader.model.generation_config.eos_token_id)
        self.forwards = 0
        """Full forwards so far, in prompts times tokens."""

    def generate(self, pairs: Sequence[Pair]) -> tuple[list[str], list[Tensor]]:
        """Answers and the scores of every decode step, each (N, vocabulary)."""
        prompts = [build_prompt(*pair, self._settings) for pair in pairs]
        ids, mask, images = self._inputs(prompts)
        start, ended = ids.shape[1], torch.zeros(len(ids), dtype=torch.bool)
        scores: list[Tensor] = []
        while len(scores) < self._limit and not ended.all():
            logits = self._next(ids, mask, images)
            scores.append(logits)
            said = logits.argmax(dim=1).masked_fill(ended, self._packer.tokenizer.pad_token_id)
            ended |= torch.isin(said, self._stops)
            ids = torch.cat([ids, said[:, None]], dim=1)
            mask = torch.cat([mask, torch.ones_like(said)[:, None]], dim=1)
        return self.decode(ids[:, start:]), scores

    def decode(self, tokens: Tensor) -> list[str]:
        """Texts of generated tokens (N, T), each up to its end of turn."""
        stops, texts = set(self._stops.tolist()), []
        for row in tokens.tolist():
            end = next((i for i, token in enumerate(row) if token in stops), len(row))
            text = self._packer.tokenizer.decode(row[:end], skip_special_tokens=True)
            texts.append(text.strip())
        return texts

    def label_tokens(self, answers: Sequence[str]) -> list[list[int]]:
        """Tokens of each label, without an end of turn."""
        return [self._packer.tokenizer(a, add_special_tokens=False)["input_ids"] for a in answers]

    def _inputs(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Left-padded ids and mask (N, L), and the images' tensors, all from the files."""
        addresses = [address for prompt in prompts for address in prompt.images]
        images = [
            limit_side(open_image(address, self._packer.root), self._settings.max_side)
            for address in addresses
        ]
        inputs = self._packer.processor(
            text=[self._packer.rendered(prompt) for prompt in prompts],
            images=images,
            padding=True,
            padding_side="left",
            add_special_tokens=False,
            return_tensors="pt",
        )
        family = self._packer.family
        kept = {name: inputs[name] for name in ("pixel_values", family.geometry_name)}
        return inputs["input_ids"], inputs["attention_mask"], kept

    @torch.inference_mode()
    def _next(self, ids: Tensor, mask: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        self.forwards += len(ids)
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            **self._packer.family.text_inputs(ids, self._packer.image_token),
            **images,
            use_cache=False,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()


@dataclass(frozen=True, slots=True)
class Library:
    """What both sides search and read: encoder, index, its records by row, and the data root."""

    encoder: Encoder
    index: Index
    records: Sequence[Record]
    root: Path

    def pixels(self, addresses: Sequence[str]) -> Tensor:
        """Images from their files, preprocessed for the encoder."""
        return self.encoder.pixels([open_image(address, self.root) for address in addresses])

    def passages(self, rows: Tensor, head: str) -> Tensor:
        """Encode records (B, n) again with the frozen tower of a head -> (B, n, d).

        Rounded to half precision, as the index stores them, so that both sides score alike.
        """
        chosen = [self.records[row] for row in rows.flatten().tolist()]
        if head == "text":
            vectors = self.encoder.encode_texts([record.text for record in chosen])
        else:
            pixels = self.pixels([record.image for record in chosen])
            vectors = self.encoder.encode_pixels(pixels)
        return torch.from_numpy(vectors).half().float().reshape(*rows.shape, -1).clone()


class PublishedStage2:
    """Training of one head as it was published; the other head stays untrained."""

    def __init__(
        self,
        config: RunConfig,
        reader: PublishedReader,
        library: Library,
        exclude: Mapping[str, set[int]],
        gold: Mapping[str, int],
        answers: Sequence[str],
        head: str,
        steps: int,
    ) -> None:
        settings = config.stage2
        self._reader, self._library, self._head = reader, library, head
        self._exclude, self._gold, self._labels = exclude, gold, reader.label_tokens(answers)
        self._alpha, self._k = settings.alpha, settings.candidates
        if self._k % CHUNK:
            raise ValueError(f"{self._k} candidates are not a multiple of {CHUNK}")
        self._frozen = library.encoder.image_tower
        self._towers = {
            name: copy.deepcopy(self._frozen).requires_grad_(True) for name in ("text", "image")
        }
        self._trained = self._towers[head]
        self._snapshot = copy.deepcopy(self._trained)
        self._optimiser = torch.optim.AdamW(
            self._trained.parameters(), lr=settings.learning_rate, weight_decay=1.0
        )
        self._schedule = get_cosine_schedule_with_warmup(
            self._optimiser, settings.warmup_steps, steps
        )
        self._done = 0
        self.visited: list[tuple[str, str]] = []

    def step(self, batch: Sequence[Sample]) -> float:
        """One optimiser step; returns 1000 times the mean over all B*K terms of the divergence."""
        pixels = self._library.pixels([sample.image for sample in batch])
        for name, tower in self._towers.items():
            self._find(batch, pixels, tower, name, EVALUATED)  # its result is never used
        rows = self._find(batch, pixels, self._snapshot, self._head, self._k)
        parts = [self._chunk(batch, pixels, chunk) for chunk in rows.split(CHUNK, dim=1)]
        scores = torch.cat([part[0] for part in parts], dim=1)
        gold = torch.cat([part[1] for part in parts], dim=1)
        student = scores.log_softmax(dim=1)
        target = (gold.log_softmax(dim=1) + scores.detach().log_softmax(dim=1)).softmax(dim=1)
        loss = SCALE * F.kl_div(student, target, reduction="mean")
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._schedule.step()
        self._done += 1
        if self._done % SNAPSHOT_EVERY == 0:
            self._snapshot = copy.deepcopy(self._trained)
        return loss.item()

    def _chunk(
        self, batch: Sequence[Sample], pixels: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores r and gold values of five candidates of every query, (B, 5) each."""
        with torch.no_grad():
            self._frozen(pixels)  # encoded for a value that is never used
        query = self._mixed(pixels, self._trained)
        scores = torch.einsum("bd,bkd->bk", query, self._library.passages(rows, self._head))
        records = self._library.records
        pairs = [
            (sample, records[row])
            for sample, line in zip(batch, rows.tolist(), strict=True)
            for row in line
        ]
        self.visited += [(sample.sample_id, record.record_id) for sample, record in pairs]
        steps = self._reader.generate(pairs)[1]
        right = torch.tensor([self._gold[sample.sample_id] for sample, _ in pairs])
        return scores, gold_values(steps, self._labels, right).reshape(rows.shape)

    def _mixed(self, pixels: Tensor, tower: torch.nn.Module) -> Tensor:
        with torch.no_grad():
            frozen = self._frozen(pixels)
        return (1.0 - self._alpha) * frozen + self._alpha * tower(pixels)

    @torch.no_grad()
    def _find(
        self, batch: Sequence[Sample], pixels: Tensor, tower: torch.nn.Module, head: str, k: int
    ) -> Tensor:
        query = self._mixed(pixels, tower).numpy()
        exclude = [self._exclude[sample.sample_id] for sample in batch]
        return torch.from_numpy(self._library.index.search(query, head, k, exclude)[1])


def gold_values(steps: Sequence[Tensor], labels: Sequence[Sequence[int]], right: Tensor) -> Tensor:
    """log softmax(softmax(l))[right], where l is a label's mean score over its own tokens."""
    means = [
        torch.stack([steps[t][:, token] for t, token in enumerate(label)]).mean(dim=0)
        for label in labels
    ]
    values = torch.stack(means, dim=1)
    return values.softmax(dim=1).log_softmax(dim=1).gather(1, right[:, None])[:, 0]


@dataclass(frozen=True, slots=True)
class Views:
    """What the published evaluation says about one sample: its pairs' answers and three fusions."""

    pairs: tuple[str, ...]
    fused: str
    image: str
    text: str


def evaluate(
    reader: PublishedReader,
    library: Library,
    samples: Sequence[Sample],
    exclude: Mapping[str, set[int]],
    batch_size: int = 2,
) -> Iterator[Views]:
    """The published evaluation with untrained heads: every candidate is generated for twice."""
    tower = library.encoder.image_tower
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        pixels = library.pixels([sample.image for sample in batch])
        found: dict[str, Any] = {}
        for head in ("image", "text"):
            with torch.no_grad():
                query = tower(pixels).numpy()
            outside = [exclude[sample.sample_id] for sample in batch]
            found[head] = library.index.search(query, head, EVALUATED, outside)
        pairs = {
            head: [
                (sample, library.records[row])
                for sample, line in zip(batch, rows.tolist(), strict=True)
                for row in line
            ]
            for head, (_, rows) in found.items()
        }
        reader.generate([*pairs["image"], *pairs["text"]])  # all four, and then thrown away
        answers = {head: reader.generate(pairs[head]) for head in ("image", "text")}
        for place in range(len(batch)):
            yield _views(reader, place, {h: found[h][0][place] for h in found}, answers)


def _views(
    reader: PublishedReader,
    place: int,
    scores: Mapping[str, Any],
    answers: Mapping[str, tuple[list[str], list[Tensor]]],
) -> Views:
    """Six views of one query from the generations of both heads, of which three are fused."""
    here = slice(place * EVALUATED, (place + 1) * EVALUATED)
    raw = {head: torch.from_numpy(values.copy()).double() for head, values in scores.items()}
    relative = torch.cat([raw[head] / raw[head].max() for head in ("image", "text")])
    steps = {head: [step[here] for step in answers[head][1]] for head in ("image", "text")}
    both = [torch.cat(pair) for pair in zip(steps["image"], steps["text"], strict=False)]
    return Views(
        pairs=(*answers["image"][0][here], *answers["text"][0][here]),
        fused=_fuse(reader, both, relative),
        image=_fuse(reader, steps["image"], raw["image"]),
        text=_fuse(reader, steps["text"], raw["text"]),
    )


def _fuse(reader: PublishedReader, steps: Sequence[Tensor], scores: Tensor) -> str:
    """The answer whose tokens win the weighted mean of the candidates' scores, step by step."""
    weights = scores.softmax(dim=0)
    tokens = [int((weights @ step.double()).argmax()) for step in steps]
    return reader.decode(torch.tensor([tokens]))[0]
