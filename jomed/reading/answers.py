"""Answer sets: the closed set of answers over which a reader's likelihood is normalised."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from jomed.catalogue import BenchmarkConfig

YES_NO = ("no", "yes")
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = re.compile(r"[^\w\s]")
_AUXILIARIES = frozenset(
    {"am", "are", "can", "could", "did", "do", "does", "had", "has", "have", "is", "may", "might"}
    | {"must", "should", "was", "were", "will", "would"}
)


class AnswersError(ValueError):
    """An answer set cannot be made, or an answer is not in it."""


def normalise_answer(answer: str) -> str:
    """Return an answer in the form in which two answers are compared.

    Unicode-compatible, case-folded, without punctuation, single spaces; without articles too,
    unless nothing else is left (label "A").
    """
    text = _PUNCTUATION.sub(" ", unicodedata.normalize("NFKC", answer).casefold())
    words = text.split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def spoken_answer(answer: str, benchmark: BenchmarkConfig) -> str:
    """Return an answer as the reader says it: the target of stage 1 and the member of a set.

    Labels are said verbatim; answers of visual question answering in lower case, with single
    spaces and without a full stop, so that "Yes", "yes" and "yes." are one answer.
    """
    if benchmark.task != "vqa":
        return answer
    return " ".join(answer.casefold().split()).rstrip(" .")


@dataclass(frozen=True)
class AnswerSet:
    """The answers C of one sample, all different; their order is the order of the scores."""

    answers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.answers or len(set(self.answers)) != len(self.answers):
            raise AnswersError(f"an answer set needs answers that differ, got {self.answers!r}")

    @cached_property
    def key(self) -> str:
        """Hash of the answers and their order, 16 hex digits: part of the score table's key."""
        return hashlib.sha256(json.dumps(self.answers).encode()).hexdigest()[:16]

    def index(self, answer: str) -> int:
        """Return the position of an answer: the exact one, else the only one that reads alike.

        Raises AnswersError where there is none, for instance where the gold answer of a
        validation or test sample was never seen in training.
        """
        if answer in self.answers:
            return self.answers.index(answer)
        wanted = normalise_answer(answer)
        alike = [i for i, known in enumerate(self.answers) if normalise_answer(known) == wanted]
        if len(alike) != 1:
            raise AnswersError(f"answer {answer!r} is not in the answer set {self.answers!r}")
        return alike[0]

    def __contains__(self, answer: str) -> bool:
        """Tell whether ``index`` finds the answer."""
        try:
            self.index(answer)
        except AnswersError:
            return False
        return True

    def __len__(self) -> int:
        return len(self.answers)


def pool_answer_set(generations: Iterable[str]) -> AnswerSet:
    """Return the set of an open question at inference: the candidates' generations, once each.

    Generations that read alike count once (the first one is kept) and empty ones are left out,
    unless there is nothing else.
    """
    distinct: dict[str, str] = {}
    for text in generations:
        distinct.setdefault(normalise_answer(text) or text.strip(), text.strip())
    answers = tuple(text for text in distinct.values() if text)
    return AnswerSet(answers or ("",))


def answer_sets(
    samples: pd.DataFrame,
    benchmark: BenchmarkConfig,
    wrong_options: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, AnswerSet]:
    """Return the answer set of every sample that has one (method, section 4.1), by sample id.

    ``single_label``: the label strings. ``multi_label``: the distinct answers of the training
    split. Closed questions: {no, yes}, else the training answers of the question's type. Open
    questions of training and validation: the gold answer and their ``wrong_options`` (by sample
    id; see ``drawn_distractors`` and `jomed.reading.closing`), without these no set; those of the
    test split get none here (see ``pool_answer_set``). The gold answer of a test sample is never
    read; that of a validation sample only for its open questions.
    """
    train = samples[samples["split"] == "train"]
    if benchmark.task == "vqa":
        return _vqa_sets(samples, _spoken(train, benchmark), benchmark, wrong_options or {})
    if benchmark.task == "single_label":
        shared = AnswerSet(benchmark.answers)
    else:
        if train.empty:
            raise AnswersError(f"{benchmark.name}: no training sample to take the answers from")
        shared = AnswerSet(tuple(sorted(set(train["answer"]))))
    return dict.fromkeys(samples["sample_id"], shared)


def drawn_distractors(
    samples: pd.DataFrame, benchmark: BenchmarkConfig, count: int, seed: int
) -> dict[str, list[str]]:
    """Draw ``count`` wrong options for the open questions of training and validation.

    They are training answers of the same question type, and of the others where those run out; by
    sample id. The draw depends on seed, sample id and training answers alone.
    """
    spoken = _spoken(samples[samples["split"] == "train"], benchmark)
    pool = _by_type(spoken[spoken["answer_type"] == "open"])
    drawn = {}
    for row in samples[open_to_training(samples)].itertuples(index=False):
        rng = np.random.default_rng(_sample_seed(seed, str(row.sample_id)))
        gold = spoken_answer(str(row.answer), benchmark)
        kind = str(row.question_type)
        drawn[str(row.sample_id)] = _distractors(gold, kind, pool, count, rng)
    return drawn


def open_to_training(samples: pd.DataFrame) -> pd.Series:
    """Which samples are open questions whose gold answer may be read: not those of the test."""
    return (samples["answer_type"] == "open") & (samples["split"] != "test")


def _spoken(samples: pd.DataFrame, benchmark: BenchmarkConfig) -> pd.DataFrame:
    return samples.assign(answer=[spoken_answer(a, benchmark) for a in samples["answer"]])


def _vqa_sets(
    samples: pd.DataFrame,
    train: pd.DataFrame,
    benchmark: BenchmarkConfig,
    wrong_options: Mapping[str, Sequence[str]],
) -> dict[str, AnswerSet]:
    closed = _by_type(train[train["answer_type"] == "closed"])
    sets: dict[str, AnswerSet] = {}
    for row in samples.itertuples(index=False):
        sample_id = str(row.sample_id)
        gold = spoken_answer(str(row.answer), benchmark) if row.split != "test" else None
        if row.answer_type == "closed":
            said = gold if row.split == "train" else None
            sets[sample_id] = _closed_set(str(row.question), str(row.question_type), said, closed)
        elif gold is not None and sample_id in wrong_options:
            wrong = [spoken_answer(option, benchmark) for option in wrong_options[sample_id]]
            sets[sample_id] = AnswerSet(tuple(sorted([gold, *wrong])))
    return sets


def _closed_set(
    question: str, kind: str, said: str | None, closed: dict[str, list[str]]
) -> AnswerSet:
    # A training sample whose gold answer is not yes or no shows that its question, however it is
    # worded, is no yes/no question; the other splits have the wording only.
    if asks_yes_no(question) and said in {None, *YES_NO}:
        return AnswerSet(YES_NO)
    answers = closed.get(kind) or sorted({a for many in closed.values() for a in many})
    if not answers:
        raise AnswersError("no closed training question to take the answers of a choice from")
    return AnswerSet(tuple(answers))


def asks_yes_no(question: str) -> bool:
    """Tell from its wording whether a question wants yes or no: "is ... ?" without an "or"."""
    words = re.findall(r"[a-z]+", question.casefold())
    return bool(words) and words[0] in _AUXILIARIES and "or" not in words


def _by_type(samples: pd.DataFrame) -> dict[str, list[str]]:
    """Distinct answers of each question type, sorted; of answers that read alike the first."""
    found: dict[str, list[str]] = {}
    for kind, answers in samples.groupby("question_type")["answer"]:
        found[str(kind)] = _distinct(sorted(answers))
    return found


def _distinct(answers: Iterable[str]) -> list[str]:
    kept: dict[str, str] = {}
    for answer in answers:
        kept.setdefault(normalise_answer(answer), answer)
    return list(kept.values())


def _distractors(
    gold: str, kind: str, pool: dict[str, list[str]], count: int, rng: np.random.Generator
) -> list[str]:
    """Draw wrong answers: of the same question type, and of the others where those run out."""
    taken = {normalise_answer(gold)}
    drawn: list[str] = []
    others = _distinct(sorted(a for name, many in pool.items() if name != kind for a in many))
    for answers in (pool.get(kind, []), others):
        free = [answer for answer in answers if normalise_answer(answer) not in taken]
        chosen = _draw(free, count - len(drawn), rng)
        drawn += chosen
        taken |= {normalise_answer(answer) for answer in chosen}
    if not drawn:
        raise AnswersError(f"no wrong training answer to set beside the open answer {gold!r}")
    return drawn


def _draw(answers: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    picks = rng.choice(len(answers), size=min(count, len(answers)), replace=False)
    return [answers[i] for i in picks]


def _sample_seed(seed: int, sample_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{sample_id}".encode()).digest()[:8])
