"""The whole method on one image: retrieve with both heads, prompt, answer, weigh, fuse (Eq. 3).

For a sample of the benchmark (`diagnose_sample`) and for any image file (`diagnose_image`). Stages
01-05 of the run must be finished. Nothing here is a medical device.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from jomed.artifacts import data_root
from jomed.config import RunConfig
from jomed.data.hashes import image_phash, image_sha
from jomed.data.images import open_image
from jomed.evaluation.methods import method_named
from jomed.evaluation.predictions import ScoredSample, predict
from jomed.reading.answers import AnswerSet, answer_sets, asks_yes_no, spoken_answer
from jomed.reading.prompts import build_prompt
from jomed.reading.reader import Reader
from jomed.records import Prediction, Record, Sample, rows_of
from jomed.reporting.figures import Candidate, Case
from jomed.stages.data import read_samples
from jomed.stages.evaluation import Examiner
from jomed.stages.index import Finder

BEFORE_AND_AFTER = ("standard_rag", "jomed")
OWN = "own"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one method makes of one image.

    `case` holds image, question, gold answer ("" if unknown), candidates with their answers and
    weights p_R, and the fused answer. `prompts`: the text that the reader sees under each
    candidate. `answers`: the answer set C; `likelihoods` (K, |C|): p^C(c | z_k, x, q);
    `probabilities` (|C|,): p(c | x, q) after fusion.
    """

    method: str
    case: Case
    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    likelihoods: np.ndarray
    probabilities: np.ndarray

    def table(self, most: int = 10) -> pd.DataFrame:
        """One row per candidate and a fused one: head, source, weight, answer, p^C per answer.

        Of a large answer set only the `most` likely answers after fusion have a column.
        """
        likely = np.sort(np.argsort(-self.probabilities, kind="stable")[:most])
        answers = [self.answers[place] for place in likely]
        rows = [
            {"head": c.head, "source": c.record_id.split(":")[0], "weight": c.weight}
            | {"answer": c.answer}
            | dict(zip(answers, values[likely].tolist(), strict=True))
            for c, values in zip(self.case.candidates, self.likelihoods, strict=True)
        ]
        fused = {"head": "fused", "source": "", "weight": 1.0, "answer": self.case.fused_answer}
        fused |= dict(zip(answers, self.probabilities[likely].tolist(), strict=True))
        return pd.DataFrame([*rows, fused])


def diagnose_sample(
    config: RunConfig,
    reader: Reader,
    sample_id: str,
    methods: Sequence[str] = BEFORE_AND_AFTER,
) -> dict[str, Diagnosis]:
    """Diagnose one sample of the benchmark by each method. KeyError for an unknown sample id."""
    samples = read_samples(config).samples
    chosen = samples[samples["sample_id"] == sample_id]
    if chosen.empty:
        raise KeyError(f"{config.benchmark.name} has no sample {sample_id!r}")
    # As at the test split: the gold answer decides nothing, not even the answer set.
    asked = pd.concat([samples[samples["split"] == "train"], chosen.assign(split="test")])
    asked = asked.drop_duplicates("sample_id", keep="last")
    sets = answer_sets(asked, config.benchmark)
    return _diagnose(config, reader, chosen.assign(split="test"), sets, methods, data_root(config))


def diagnose_image(
    config: RunConfig,
    reader: Reader,
    image: Path | str,
    question: str | None = None,
    answers: Sequence[str] | None = None,
    methods: Sequence[str] = BEFORE_AND_AFTER,
) -> dict[str, Diagnosis]:
    """Diagnose any image file by each method; the gold answer stays unknown.

    `question` defaults to the benchmark's own. `answers` close the question; without them the
    answer set is that of the benchmark, and a free question that is not of the yes/no kind is
    answered in the reader's own words. Raises ValueError without a question, ImageError for a file
    that is no image.
    """
    path = Path(image).resolve()
    asked = question or config.benchmark.question
    if asked is None:
        raise ValueError(f"{config.benchmark.name} has no question of its own: give one")
    with _root_with(config, path) as (root, address):
        sample = _own_sample(config, root, address, asked, answers is not None)
        row = pd.DataFrame([{name: getattr(sample, name) for name in Sample.__slots__}])
        samples = pd.concat([read_samples(config).samples.query("split == 'train'"), row])
        sets = answer_sets(samples, config.benchmark)
        if answers is not None:
            sets[sample.sample_id] = AnswerSet(tuple(answers))
        data = config.data.model_copy(update={"root": str(root)})
        moved = config.model_copy(update={"data": data})
        return _diagnose(moved, reader.anew(root), row, sets, methods, root)


def _diagnose(
    config: RunConfig,
    reader: Reader,
    row: pd.DataFrame,
    sets: Mapping[str, AnswerSet],
    methods: Sequence[str],
    root: Path,
) -> dict[str, Diagnosis]:
    finder = Finder(config, row.reset_index(drop=True))
    sample = rows_of(row, Sample)[0]
    own = {key: value for key, value in sets.items() if key == sample.sample_id}
    examiner = Examiner(config, reader, finder, finder.queries.samples, own)
    return {name: _one(examiner, sample, name, root) for name in methods}


def _one(examiner: Examiner, sample: Sample, name: str, root: Path) -> Diagnosis:
    """Examine the sample by one method and put everything that is shown together."""
    config, reader = examiner.config, examiner.reader
    scored = examiner.examine(method_named(name))
    prediction = predict(
        method_named(name), scored, config.inference.tau_f, config.inference.fusion
    )[0]
    *rows, fused = prediction.rows
    table = examiner.finder.records.set_index("record_id", drop=False)
    records = rows_of(table.loc[[row.record_id for row in rows]], Record)
    known = bool(sample.answer) or not sample.sample_id.startswith(f"{OWN}:")
    case = Case(
        sample_id=sample.sample_id,
        image=open_image(sample.image, root),
        question=sample.question,
        gold=spoken_answer(sample.answer, config.benchmark),
        candidates=tuple(
            _shown(row, record, known, root) for row, record in zip(rows, records, strict=True)
        ),
        fused_answer=fused.answer,
        fused_correct=fused.correct if known else None,
        access=config.benchmark.access,
    )
    prompts = [build_prompt(sample, record, config.prompt) for record in records]
    return Diagnosis(
        method=name,
        case=case,
        prompts=tuple(reader.packer.rendered(prompt) for prompt in prompts),
        answers=prediction.answers,
        likelihoods=_likelihoods(scored[0], [record.record_id for record in records]),
        probabilities=prediction.probabilities,
    )


def _shown(row: Prediction, record: Record, known: bool, root: Path) -> Candidate:
    return Candidate(
        record_id=record.record_id,
        head=row.head,
        image=open_image(record.image, root),
        text=record.text,
        answer=row.answer,
        weight=row.weight,
        correct=row.correct if known else None,
        access=record.access,
    )


def _likelihoods(scored: ScoredSample, record_ids: Sequence[str]) -> np.ndarray:
    table = np.stack([np.asarray(scored.log_likelihoods[i], float) for i in record_ids])
    return np.asarray(softmax(table, axis=1))


def _own_sample(config: RunConfig, root: Path, address: str, question: str, closed: bool) -> Sample:
    """A sample without a gold answer, named by what it shows and asks: scores are kept by name."""
    image = open_image(address, root)
    sha = image_sha(image)
    kinds = {"single_label": "label", "multi_label": "labels"}
    free = "closed" if closed or asks_yes_no(question) else "open"
    digest = hashlib.sha256(question.encode()).hexdigest()[:8]
    return Sample(
        sample_id=f"{OWN}:{sha}:{digest}",
        benchmark=config.benchmark.name,
        split="test",
        image=address,
        question=question,
        answer="",
        answer_type="closed" if closed else kinds.get(config.benchmark.task, free),
        question_type="",
        group="",
        image_sha=sha,
        image_phash=image_phash(image),
    )


@contextmanager
def _root_with(config: RunConfig, image: Path) -> Iterator[tuple[Path, str]]:
    """A data root that holds one more image, and its address: links, nothing is copied."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for entry in data_root(config).iterdir():
            (root / entry.name).symlink_to(entry)
        address = f"{OWN}-image{image.suffix}"
        (root / address).symlink_to(image)
        yield root, address
