"""What a run has to compute, as counts of reader passes: pure functions of settings and sizes."""

from collections.abc import Iterable
from dataclasses import dataclass

from jomed.config import ConfigError, RunConfig
from jomed.evaluation.methods import METHODS
from jomed.params import nearest
from jomed.settings import HEAD_NAMES, SampleLimits, Stage1Config, Stage2Config

CONTROL = "shuffled"
"""The method whose heads are trained once more, on likelihoods of other records."""


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """Samples by split, open questions of the test split, and the mean size of an answer set.

    ``counted`` tells counts of finished samples from those that a benchmark's publisher states.
    """

    train: int
    val: int
    test: int
    open_test: int
    answers: float
    counted: bool


@dataclass(frozen=True, slots=True)
class Spread:
    """A number that depends on the course of training: ``least``, a stated guess, and ``most``."""

    least: int
    likely: int
    most: int


@dataclass(frozen=True, slots=True)
class Workload:
    """Reader passes of one run.

    Stage 1: ``examples`` forward and backward, ``checks`` forward (validation). Stage 2: ``pairs``
    forward, each (sample, record) once (method, section 4.3). Evaluation: ``scored`` pairs forward,
    and ``generated`` answers to open questions, a forward pass and its new tokens each.
    """

    examples: int
    checks: int
    pairs: Spread
    scored: int
    generated: int

    @property
    def forwards(self) -> int:
        """All passes together, with the likely number of pairs."""
        return self.examples + self.checks + self.pairs.likely + self.scored + self.generated


def published_counts(
    config: RunConfig, sizes: dict[str, int] | None, open_share: float, answers: float
) -> SampleCounts | None:
    """Counts of samples that are not there yet, from the ``sizes`` of the published splits.

    A benchmark without a validation split gets one of ``data.val_share`` of its training split.
    Nothing is known without training and test split. ``answers`` is the mean size of an answer set.
    """
    if sizes is None or not {"train", "test"} <= set(sizes):
        return None
    train, val = sizes["train"], sizes.get("val")
    if val is None:
        val = round(config.data.val_share * train)
        train -= val
    limits = config.data.sample_limits
    found = {"train": train, "val": val, "test": sizes["test"]}
    kept = {split: _limited(count, limits, split) for split, count in found.items()}
    return SampleCounts(
        **kept, open_test=round(open_share * kept["test"]), answers=answers, counted=False
    )


def _limited(count: int, limits: SampleLimits, split: str) -> int:
    most: int | None = getattr(limits, split)
    return count if most is None else min(count, most)


def workload(
    config: RunConfig, counts: SampleCounts, records: int | None, drift: float
) -> Workload:
    """What a run computes for so many samples and ``records`` in the index (None: not known)."""
    examples, checks = stage1_passes(config.stage1, counts.val)
    scored, generated = evaluation_passes(
        config.evaluation.methods, config.inference.candidates_per_head, counts
    )
    return Workload(
        examples=examples,
        checks=checks,
        pairs=stage2_pairs(config.stage2, counts, records, drift, trained_heads(config)),
        scored=scored,
        generated=generated,
    )


def trained_heads(config: RunConfig) -> int:
    """Query heads that a run trains, those of the shuffled control included."""
    return len(config.stage2.heads) * (2 if CONTROL in config.evaluation.methods else 1)


def stage1_passes(settings: Stage1Config, val: int) -> tuple[int, int]:
    """Examples that stage 1 trains on, with repeats, and forward passes of its validations.

    Every sample has one example per candidate of both heads: an upper bound, since a record that
    both heads find counts once.
    """
    examples = settings.max_steps * settings.batch_size * settings.gradient_accumulation
    candidates = len(HEAD_NAMES) * settings.candidates_per_head
    return examples, settings.max_steps // settings.eval_every * val * candidates


def stage2_pairs(
    settings: Stage2Config, counts: SampleCounts, records: int | None, drift: float, heads: int
) -> Spread:
    """Unique (sample, record) pairs that training ``heads`` query heads asks the reader for.

    A sample brings K pairs when it is first looked up; each later look-up (a training step, a
    validation) brings from none to K more, by the guess a share ``drift`` of K. At the least, all
    heads find the same records; at the most, none is found twice, but for the end of the index.
    """
    k = settings.candidates if records is None else min(settings.candidates, records)
    visits = settings.steps * settings.batch_size
    seen = min(counts.train, visits)
    validations = 1 + -(-settings.steps // settings.eval_every)
    first = (seen + counts.val) * k
    later = (visits - seen + (validations - 1) * counts.val) * k
    whole = None if records is None else (seen + counts.val) * records

    def capped(pairs: int) -> int:
        return pairs if whole is None else min(pairs, whole)

    return Spread(
        least=first,
        likely=capped(heads * (first + round(drift * later))),
        most=capped(heads * (first + later)),
    )


def evaluation_passes(
    methods: Iterable[str], per_head: int, counts: SampleCounts
) -> tuple[int, int]:
    """Scored pairs and generated answers of a test split, what methods share counted once.

    Labels and closed questions: a pair is scored once, whichever methods show it. An open question
    has its own answer set under each method, the pool of its candidates' generations: pairs are
    scored once per method, generations are shared. Upper bound, as heads find some records both.
    """
    shown: dict[tuple[object, ...], int] = {}
    of_methods = 0
    for name in methods:
        lists = _lists(name, per_head)
        shown |= lists
        of_methods += sum(lists.values())
    shared = sum(shown.values())
    closed = counts.test - counts.open_test
    return closed * shared + counts.open_test * of_methods, counts.open_test * shared


def _lists(name: str, per_head: int) -> dict[tuple[object, ...], int]:
    """Candidate lists of a method with their lengths; equal keys show the same prompts."""
    if name not in METHODS:
        raise ConfigError(f"evaluation.methods: unknown method {name!r}{nearest(name, METHODS)}")
    method = METHODS[name]
    parts = (method.source, method.record_image, method.record_text)
    if method.source == "none":
        return {parts: 1}
    if method.source == "random":
        return {parts: len(HEAD_NAMES) * per_head}
    return {(*parts, *head): per_head for head in method.heads}
