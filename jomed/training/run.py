"""The training loop of stage 2: refresh candidates, step, validate, checkpoint."""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from jomed.config import RunConfig
from jomed.progress import event_writer, track
from jomed.retrieval.encoders import Encoder, FloatArray
from jomed.retrieval.head import QueryHead
from jomed.retrieval.index import Index
from jomed.retrieval.shards import IntArray
from jomed.settings import HeadName
from jomed.storage import EVENTS
from jomed.training import LOG_FILE
from jomed.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from jomed.training.errors import TrainingError
from jomed.training.losses import marginal_log_likelihood
from jomed.training.mining import Candidates, Likelihoods, Queries, mine
from jomed.training.optimisation import (
    cosine_rate,
    gradient_norm,
    make_optimiser,
    recipe_loss,
    set_rate,
)
from jomed.training.sampling import SampleStream, shuffled_likelihoods

HEAD_FILE = "head.safetensors"


class HeadRun:
    """State of one training run; `train_head` prepares it and says what it computes."""

    def __init__(
        self,
        config: RunConfig,
        head: HeadName,
        index: Index,
        encoder: Encoder,
        parts: Mapping[str, Queries],
        likelihoods: Likelihoods,
        folder: Path,
    ) -> None:
        self._settings, self._seed, self._benchmark = config.stage2, config.seed, config.benchmark
        self._index, self._device, self._folder = index, encoder.device, folder
        self._batch_size, self._likelihoods = encoder.batch_size, likelihoods
        self._train, self._val = parts["train"], parts["val"]
        self._head = QueryHead(encoder.image_tower, head, config.stage2.alpha)
        self._optimiser = make_optimiser(self._head.trained, config.stage2)
        self._loss = recipe_loss(config.stage2)
        self._tau_r = 1.0 if config.stage2.recipe == "released" else config.stage2.tau_r
        self._stream = self._sample_stream()
        self._fingerprint = self._identity(encoder)
        self._progress = Progress()

    def train(self) -> Progress:
        """Run, or go on from the checkpoint, until the last step or until patience runs out."""
        settings = self._settings
        restored = load_checkpoint(
            self._folder, self._head.trained, self._optimiser, self._fingerprint
        )
        self._open_log(restored)
        try:
            if restored is None:
                self._validate()
            else:
                self._progress = restored
            blocks = track(self._blocks(), f"training the {self._head.head} head")
            for start, end in blocks:
                if self._progress.stale >= settings.patience:
                    break
                self._train_block(range(start, end))
                if end % settings.eval_every == 0 or end == settings.steps:
                    self._validate()
        finally:
            if self._events is not None:
                self._events.close()
        return self._progress

    def _blocks(self) -> list[tuple[int, int]]:
        """Step ranges that share one candidate refresh; validations start a new one.

        Because a checkpoint is written after each validation, a resumed run starts with the same
        refresh as the uninterrupted one.
        """
        settings = self._settings
        cuts = {
            *range(0, settings.steps, settings.refresh_every),
            *range(0, settings.steps, settings.eval_every),
            settings.steps,
        }
        edges = sorted(cut for cut in cuts if cut >= self._progress.step)
        return list(itertools.pairwise(edges))

    def _train_block(self, steps: range) -> None:
        size = self._settings.batch_size
        batches = [self._stream.batch(step, size) for step in steps]
        positions, places = np.unique(np.concatenate(batches), return_inverse=True)
        pool = self._mine(self._train, positions)[1]
        for number, (step, batch) in enumerate(zip(steps, batches, strict=True)):
            mine_of = places[number * size : (number + 1) * size]
            self._train_step(step, batch, pool.take(mine_of))

    def _train_step(self, step: int, batch: IntArray, candidates: Candidates) -> None:
        settings = self._settings
        ids = [self._train.ids[int(position)] for position in batch]
        gold = candidates.squashed if settings.recipe == "released" else candidates.gold
        if settings.likelihoods == "shuffled":
            gold = shuffled_likelihoods(gold, ids, self._seed, step)
        # Copied: products over memory that numpy allotted can differ in the last bit between
        # processes, with its alignment, and training would carry that into the results.
        vectors = torch.from_numpy(self._index.vectors(self._head.head, candidates.rows)).clone()
        embedded = self._train.embed(self._head, batch)
        scores = torch.einsum("bd,bkd->bk", embedded, vectors.to(self._device))
        loss = self._loss(scores, torch.from_numpy(gold).to(self._device))
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = gradient_norm(self._head.trained.parameters(), settings)
        if not (math.isfinite(loss.item()) and math.isfinite(norm)):
            raise TrainingError(
                f"loss {loss.item()}, gradient norm {norm} at step {step} with samples {ids}: "
                "lower stage2.learning_rate or raise stage2.tau_r, and look at these samples"
            )
        rate = settings.learning_rate * cosine_rate(step, settings.steps, settings.warmup_steps)
        set_rate(self._optimiser, rate)
        self._optimiser.step()
        self._progress.step = step + 1
        right = candidates.right
        self._log(step=step + 1, loss=loss.item(), norm=norm, rate=rate, hits=int(right.sum()))
        shown = {"loss": loss.item(), "gradient_norm": norm, "learning_rate": rate}
        self._show("train", step + 1, **shown, hit_rate=float(right.mean()))

    def _validate(self) -> None:
        """Measure the live head, keep it if it is the best so far, and write a checkpoint."""
        scores, candidates = self._mine(self._val, np.arange(len(self._val.ids)))
        value = marginal_log_likelihood(
            torch.from_numpy(scores), torch.from_numpy(candidates.gold), tau_r=self._tau_r
        )
        mean, progress = value.mean().item(), self._progress
        if math.isnan(progress.first):
            progress.first = mean
        if mean > progress.best:
            progress.best, progress.best_step, progress.stale = mean, progress.step, 0
            self._head.save(self._folder / HEAD_FILE)
        else:
            progress.stale += 1
        right = candidates.right
        self._log(
            step=progress.step,
            val=mean,
            hits=int(right.sum()),
            pairs=right.size,
            samples_with_hit=int(right.any(axis=1).sum()),
            samples=len(right),
        )
        self._show("validation", progress.step, log_likelihood=mean, hit_rate=float(right.mean()))
        if self._events is not None:
            self._events.flush()  # what the checkpoint counts as done is there after a kill
        progress.log_bytes = (self._folder / LOG_FILE).stat().st_size
        save_checkpoint(
            self._folder, self._head.trained, self._optimiser, progress, self._fingerprint
        )

    def _mine(self, queries: Queries, positions: IntArray) -> tuple[FloatArray, Candidates]:
        return mine(
            self._head,
            queries,
            positions,
            self._index,
            self._likelihoods,
            self._settings.candidates,
            self._batch_size,
        )

    def _sample_stream(self) -> SampleStream:
        """Class-balanced where each sample has one label; other tasks have no classes."""
        samples, benchmark = self._train.samples, self._benchmark
        if not (self._settings.balanced and benchmark.task == "single_label"):
            return SampleStream(len(samples), self._seed)
        classes = samples["answer"].tolist()
        empty = [answer for answer in benchmark.answers if answer not in set(classes)]
        if empty:
            raise TrainingError(
                f"stage2.balanced takes equally many training samples of every answer of "
                f"{benchmark.name}, and there is none of {empty}: set stage2.balanced to false, "
                "raise data.sample_limits.train or add such samples"
            )
        return SampleStream(len(samples), self._seed, classes)

    def _identity(self, encoder: Encoder) -> str:
        content = {
            "settings": self._settings.model_dump(mode="json"),
            "head": self._head.head,
            "seed": self._seed,
            "encoder": encoder.key,
            "index": self._index.key,
            "train": self._train.ids,
            "val": self._val.ids,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def _open_log(self, restored: Progress | None) -> None:
        """Cut the log back to what the checkpoint knows, so that no step appears twice."""
        path = self._folder / LOG_FILE
        path.touch()
        with path.open("r+b") as file:
            file.truncate(0 if restored is None else restored.log_bytes)
        first_step = 0 if restored is None else restored.step + 1
        self._events = event_writer(self._folder / EVENTS, first_step)

    def _show(self, part: str, step: int, **values: float) -> None:
        """Add values to the event files, which only repeat the log."""
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{part}/{name}", value, step)

    def _log(self, **entry: float) -> None:
        with (self._folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
