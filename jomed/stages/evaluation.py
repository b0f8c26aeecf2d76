"""Stage 06: score the candidates of every method, predict, and measure."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from jomed.artifacts import artifact, score_table_path, stamp
from jomed.config import ConfigError, RunConfig
from jomed.data.leakage import leaked_samples
from jomed.evaluation.estimates import EvaluatedRun
from jomed.evaluation.methods import Method, method_named
from jomed.evaluation.predictions import ScoredSample, label_scores, predict
from jomed.reading.answers import AnswerSet, answer_sets, pool_answer_set, spoken_answer
from jomed.reading.prompts import PromptParts
from jomed.reading.reader import Reader
from jomed.reading.scores import GenerationTable, ScoreTable
from jomed.reading.scoring import generate_pairs, score_pairs, table_key
from jomed.records import PREDICTION_SCHEMA, write_rows
from jomed.stages.candidates import candidate_lists
from jomed.stages.data import read_corpora, read_samples
from jomed.stages.finished import measured_labels, read_evaluation
from jomed.stages.index import Finder


@dataclass(frozen=True, slots=True)
class Examiner:
    """Reader, samples and candidate finder of one run's test split."""

    config: RunConfig
    reader: Reader
    finder: Finder
    samples: pd.DataFrame
    sets: Mapping[str, AnswerSet]

    def examine(self, method: Method) -> list[ScoredSample]:
        """Candidates of a method for every test sample, with the reader's log-likelihoods."""
        lists = candidate_lists(self.config, self.finder, method)
        pairs = [
            (sample_id, record_id)
            for sample_id, found in lists.items()
            for record_id in dict.fromkeys(i for one in found.values() for i in one.record_ids)
        ]
        parts = _parts(method)
        said = self._generations(pairs, parts)
        sets = {**self.sets, **_pools(said)}
        data = (self.samples, self.finder.records)
        key = table_key(self.reader, parts)
        with closing(ScoreTable(score_table_path(self.config), key)) as table:
            values = score_pairs(self.reader, table, *data, pairs, sets, self.config, parts)
        scored: dict[str, dict[str, np.ndarray]] = {}
        for (sample_id, record_id), row in zip(pairs, values, strict=True):
            scored.setdefault(sample_id, {})[record_id] = row
        return [
            ScoredSample(
                sample_id=str(row.sample_id),
                answer_type=str(row.answer_type),
                gold=spoken_answer(str(row.answer), self.config.benchmark),
                answers=sets[str(row.sample_id)].answers,
                found=lists[str(row.sample_id)],
                log_likelihoods=scored[str(row.sample_id)],
                generations=said.get(str(row.sample_id)),
            )
            for row in self.samples.itertuples(index=False)
        ]

    def _generations(
        self, pairs: list[tuple[str, str]], parts: PromptParts
    ) -> dict[str, dict[str, str]]:
        """The reader's own words for the open questions among the pairs."""
        kinds = dict(zip(self.samples["sample_id"], self.samples["answer_type"], strict=True))
        open_pairs = [pair for pair in pairs if kinds[pair[0]] == "open"]
        if not open_pairs:
            return {}
        data = (self.samples, self.finder.records)
        key = table_key(self.reader, parts)
        with closing(GenerationTable(score_table_path(self.config), key)) as table:
            texts = generate_pairs(self.reader, table, *data, open_pairs, self.config, parts)
        said: dict[str, dict[str, str]] = {}
        for (sample_id, record_id), text in zip(open_pairs, texts, strict=True):
            said.setdefault(sample_id, {})[record_id] = text
        return said


def _parts(method: Method) -> PromptParts:
    if method.record_image and not method.record_text:
        return "image"
    return "caption" if method.record_text and not method.record_image else "record"


def _pools(said: Mapping[str, Mapping[str, str]]) -> dict[str, AnswerSet]:
    return {sample_id: pool_answer_set(texts.values()) for sample_id, texts in said.items()}


def open_examiner(config: RunConfig, reader: Reader) -> Examiner:
    """The examiner of a run's test split. Samples whose image cannot be opened are left out."""
    torch.set_num_threads(config.runtime.threads)
    samples = read_samples(config).samples
    test = _tested(config, samples)
    finder = Finder(config, test)
    sets = answer_sets(samples, config.benchmark)
    wanted = set(finder.queries.ids)
    kept = {sample_id: answers for sample_id, answers in sets.items() if sample_id in wanted}
    return Examiner(config, reader, finder, finder.queries.samples, kept)


def _tested(config: RunConfig, samples: pd.DataFrame) -> pd.DataFrame:
    """The test split without what the profile excludes."""
    test, kinds = samples[samples["split"] == "test"], config.evaluation.exclude_leaks
    if not kinds:
        return test
    records, own = read_corpora(config).records, config.benchmark.same_groups
    leaked = leaked_samples(samples, records, "test", kinds, own)
    kept = test[~test["sample_id"].isin(leaked)]
    if kept.empty:
        raise ConfigError(
            f"all {len(test)} test samples of {config.benchmark.name} leak "
            f"({', '.join(kinds)}); take kinds out of evaluation.exclude_leaks"
        )
    return kept


def prepare_evaluation(config: RunConfig, reader: Reader) -> EvaluatedRun:
    """Predictions of all methods of the profile on the test split (artefact `evaluation`)."""
    made = artifact(config, "evaluation")
    if not made.is_complete():
        examiner = open_examiner(config, reader)
        labels = measured_labels(config)
        with made.writing(**stamp(config)) as folder:
            rows = []
            for name in config.evaluation.methods:
                predictions = predict(
                    method_named(name),
                    examiner.examine(method_named(name)),
                    config.inference.tau_f,
                    config.inference.fusion,
                )
                rows += [row for prediction in predictions for row in prediction.rows]
                if labels:
                    frame = label_scores(predictions, labels)
                    frame.to_parquet(folder / f"label_scores.{name}.parquet")
            write_rows(folder / "predictions.parquet", rows, PREDICTION_SCHEMA)
    return read_evaluation(config)
