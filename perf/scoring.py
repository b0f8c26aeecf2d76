"""How fast the reader scores pairs and evaluates a split.

    python perf/scoring.py                                # both measurements, a few minutes
    python perf/scoring.py --samples 10 --tested 20       # a quick look

Scoring is measured against a bare loop of `model(**batch)` over the same batches, made beforehand;
evaluation against the published one, which generates twice for every candidate. One process, one
thread, caches and score tables empty at the start of every round.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from published import Views, evaluate
from workload import Workload, machine, make_workload, now, sample_rows, seconds_of, show

from jomed.evaluation.fusion import HeadList
from jomed.evaluation.methods import Method, method_named
from jomed.evaluation.predictions import ScoredSample, predict
from jomed.reading.packing import model_inputs
from jomed.reading.rows import plan_batches
from jomed.reading.scores import ScoreTable
from jomed.reading.scoring import Pair, PromptBook, score_pairs, table_key
from jomed.stages.evaluation import Examiner
from jomed.stages.index import Finder

ROUNDS = 5
Row = tuple[str, str, str, bool]


def main(
    samples: Annotated[int, typer.Option(min=1, help="Samples whose pairs are scored.")] = 40,
    candidates: Annotated[int, typer.Option(min=1, help="Records scored beside each.")] = 50,
    tested: Annotated[int, typer.Option(min=1, help="Test samples that are evaluated.")] = 400,
    processor_time: Annotated[bool, typer.Option(help="For a machine that is busy.")] = False,
) -> None:
    """Measure everything and print one table."""
    work = make_workload({"inference.fusion": "released_logits"}, processor_time)
    print(machine())
    show([*_rate(work, samples, candidates), *_evaluation(work, tested)])


def _rate(work: Workload, samples: int, candidates: int) -> list[Row]:
    """Pairs per second of `score_pairs` and of the model alone, in turns, best of several."""
    pairs = _pairs(work, samples, candidates)
    batches = _batches(work, pairs)
    loops: list[Callable[[], object]] = [
        lambda: _score(work, pairs),
        lambda: _bare(work, batches),
        lambda: _language_model_alone(work, batches),
    ]
    best = [float("inf")] * len(loops)
    for _ in range(ROUNDS):
        for place, loop in enumerate(loops):
            best[place] = min(best[place], seconds_of(loop))
    ours, bare, without_images = (len(pairs) / seconds for seconds in best)
    share = ours / bare
    return [
        (f"score_pairs, {len(pairs)} pairs: pairs/s", f"{ours:,.0f}", "", True),
        (f"bare model(**batch), {len(batches)} batches: pairs/s", f"{bare:,.0f}", "", True),
        ("scoring: share of the bare loop's rate", f"{share:.0%}", ">= 85%", share >= 0.85),
        ("language model alone: pairs/s", f"{without_images:,.0f}", "", True),
        ("scoring: share of that", f"{ours / without_images:.0%}", "", True),
    ]


def _pairs(work: Workload, samples: int, candidates: int) -> list[Pair]:
    chosen = work.some("train", samples)
    images = work.library.pixels(chosen["image"].tolist())
    vectors = work.library.encoder.encode_pixels(images)
    rows = work.library.index.search(vectors, "text", candidates)[1]
    ids = work.library.index.record_ids
    return [(s, ids[r]) for s, line in zip(chosen["sample_id"], rows, strict=True) for r in line]


def _batches(work: Workload, pairs: Sequence[Pair]) -> list[dict[str, torch.Tensor]]:
    """The batches in which the library reads these pairs, as arguments of the whole model."""
    reader = work.cold_reader()
    book = PromptBook(work.samples, work.records, pairs, work.config)
    packed = reader.packer.pack([book.prompt(*pair) for pair in pairs])
    lengths = [len(prompt.ids) for prompt in packed]
    planned = plan_batches(lengths, reader.token_budget)
    return [model_inputs(reader.packer, [packed[i] for i in batch], None) for batch in planned]


def _score(work: Workload, pairs: Sequence[Pair]) -> None:
    reader = work.cold_reader()
    with (
        tempfile.TemporaryDirectory(prefix="jomed-perf-") as place,
        closing(ScoreTable(Path(place) / "scores.sqlite", table_key(reader))) as table,
    ):
        score_pairs(reader, table, work.samples, work.records, pairs, work.sets, work.config)


@torch.inference_mode()
def _bare(work: Workload, batches: Sequence[dict[str, torch.Tensor]]) -> None:
    for batch in batches:
        work.reader.model(**batch, use_cache=False, logits_to_keep=1)


@torch.inference_mode()
def _language_model_alone(work: Workload, batches: Sequence[dict[str, torch.Tensor]]) -> None:
    """The same prompts through the language model: what only sharing their tokens can beat."""
    model = work.reader.model
    for batch in batches:
        embedded = model.get_input_embeddings()(batch["input_ids"])
        model.model.language_model(inputs_embeds=embedded, use_cache=False)


def _evaluation(work: Workload, tested: int) -> list[Row]:
    """All candidates and fused answers of the test split, by the library and as published."""
    chosen = work.some("test", tested)
    exclude, rows = work.exclude(chosen), sample_rows(chosen)
    published = work.published()
    list(evaluate(published, work.library, rows[:4], exclude))
    _evaluate(work, 4)
    published.forwards = 0
    start = now()
    theirs = list(evaluate(published, work.library, rows, exclude))
    slow = now() - start
    start = now()
    ours = _evaluate(work, tested)
    fast = now() - start
    alike = sum(one == other for one, other in zip(ours, theirs, strict=True))
    met = alike == len(theirs)
    return [
        (f"published evaluation, {len(rows)} samples: s", f"{slow:.1f}", "", True),
        ("published: full forwards, times prompts", f"{published.forwards}", "", True),
        (f"library's evaluation, {len(rows)} samples: s", f"{fast:.2f}", "", True),
        ("evaluation: times as fast", f"{slow / fast:.1f}", ">= 4", slow / fast >= 4),
        ("evaluation: samples with equal answers in all views", f"{alike}", f"{len(rows)}", met),
    ]


def _evaluate(work: Workload, tested: int) -> list[Views]:
    """Candidates found, scored and fused as in notebook 06, three times over the same scores."""
    chosen = work.some("test", tested)
    reader = work.cold_reader()
    with tempfile.TemporaryDirectory(prefix="jomed-perf-") as place:
        runs = _runs_without_scores(work.config.runs_dir, Path(place))
        config = work.config.model_copy(update={"runs_dir": runs})
        finder = Finder(config, chosen)
        examiner = Examiner(config, reader, finder, finder.queries.samples, work.sets)
        method = method_named("standard_rag")
        scored = examiner.examine(method)
    joint = _answers(work, method, scored)
    alone = {
        head: _answers(work, replace(method, heads=((head, weights),)), _only(scored, head))
        for head, weights in method.heads
    }
    return [
        Views(
            pairs=_said(sample, joint[sample.sample_id][0]),
            fused=joint[sample.sample_id][1],
            image=alone["image"][sample.sample_id][1],
            text=alone["text"][sample.sample_id][1],
        )
        for sample in scored
    ]


def _answers(
    work: Workload, method: Method, scored: Sequence[ScoredSample]
) -> dict[str, tuple[dict[str, str], str]]:
    """By sample id: the answer under each record, and the fused one."""
    settings = work.config.inference
    return {
        found.sample_id: (
            {row.record_id: row.answer for row in found.rows[:-1]},
            found.rows[-1].answer,
        )
        for found in predict(method, scored, settings.tau_f, settings.fusion)
    }


def _only(scored: Sequence[ScoredSample], head: str) -> list[ScoredSample]:
    return [replace(sample, found={head: sample.found[head]}) for sample in scored]


def _said(sample: ScoredSample, answers: dict[str, str]) -> tuple[str, ...]:
    """The answers in the published order, where a record found by both heads comes twice."""
    lists: list[HeadList] = [sample.found["image"], sample.found["text"]]
    return tuple(answers[record_id] for found in lists for record_id in found.record_ids)


def _runs_without_scores(runs: Path, place: Path) -> Path:
    """A folder with the artefacts of `runs` but an empty score table."""
    (place / "phantom").mkdir()
    for path in (runs / "phantom").iterdir():
        if path.name != "scores":
            (place / "phantom" / path.name).symlink_to(path.resolve())
    return place


if __name__ == "__main__":
    typer.run(main)
