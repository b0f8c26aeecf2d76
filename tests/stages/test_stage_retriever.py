"""Stage 05: both heads, their outcome, and the shuffled control beside them."""

from pathlib import Path

import pytest
from tiny_run import Run

from jomed.artifacts import MissingArtifact, artifact
from jomed.config import load_config, with_overrides
from jomed.stages.finished import outcome, training_log
from jomed.stages.retriever import (
    prepare_head,
    shuffled_control,
    spoken,
    training_answers,
)
from jomed.storage import EVENTS
from jomed.training.errors import TrainingError

HEADS = ("text", "image")


def test_each_head_has_its_weights_log_and_outcome(run: Run) -> None:
    assert len(set(run.heads.values())) == 2
    for head in HEADS:
        assert run.heads[head].is_file()
        result, log = outcome(run.config, head), training_log(run.config, head)
        assert 0 < result["steps"] <= run.config.stage2.steps
        assert result["best"] >= result["first"]
        assert result["samples_without_gold"] == 0
        assert log["step"].max() == result["steps"]
    assert (
        outcome(run.config, "image")["pairs_scored"] > outcome(run.config, "text")["pairs_scored"]
    )


def test_a_finished_head_is_read_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jomed.stages.retriever.train_head", None)
    for head in HEADS:
        assert prepare_head(run.config, head, run.reader.reader) == run.heads[head]


def test_a_label_outside_of_the_answer_set_is_named_with_its_sample(run: Run) -> None:
    samples = run.samples.samples.copy()
    for split in ("train", "val"):
        changed = samples.copy()
        place = changed.index[changed["split"] == split][0]
        changed.loc[place, "answer"] = "9"
        name = changed.loc[place, "sample_id"]
        match = rf"{split} sample '{name}' has the answer '9'.* \('0', '1', .*retina\.yaml"
        with pytest.raises(TrainingError, match=match):
            training_answers(run.config, changed)
    tested = samples.copy()
    tested.loc[tested["split"] == "test", "answer"] = "9"
    assert training_answers(run.config, tested)[1] == training_answers(run.config, samples)[1]


def test_both_stages_leave_event_files_that_are_no_part_of_the_artefact(run: Run) -> None:
    for stage in ("reader", "head_text", "head_image"):
        made = artifact(run.config, stage)
        assert list((made.path / EVENTS).glob("events.out.tfevents.*"))
        assert not [name for name in made.manifest()["files"] if EVENTS in name]


def test_a_missing_head_names_its_notebook(tmp_path: Path) -> None:
    empty = load_config("tiny", runs_dir=tmp_path)
    for read in (outcome, training_log):
        with pytest.raises(MissingArtifact, match=r"05_train_retriever\.ipynb"):
            read(empty, "text")


def test_the_shuffled_control_has_its_own_heads_and_nothing_else(run: Run) -> None:
    control = shuffled_control(run.config)
    assert control.stage2.likelihoods == "shuffled"
    for stage in ("corpus", "samples", "encoder", "index", "backbone", "reader"):
        assert artifact(control, stage).path == artifact(run.config, stage).path
    for stage in ("head_text", "head_image", "evaluation"):
        assert artifact(control, stage).path != artifact(run.config, stage).path


def test_changes_keep_what_was_changed_before(run: Run) -> None:
    changed = with_overrides(run.config, {"stage2.loss": "emdr2"})
    assert changed.stage2.loss == "emdr2"
    assert changed.stage2.candidates == 3
    assert changed.evaluation.methods == run.config.evaluation.methods
    assert (changed.runs_dir, changed.benchmark) == (run.config.runs_dir, run.config.benchmark)
    twice = with_overrides(shuffled_control(changed), {"stage2.candidates": 2})
    assert (twice.stage2.loss, twice.stage2.likelihoods) == ("emdr2", "shuffled")
    assert twice.stage2.candidates == 2


def test_gold_positions_point_at_the_gold_answer(asked: Run) -> None:
    samples = asked.samples.samples
    sets, gold = training_answers(asked.config, samples)
    said = dict(zip(samples["sample_id"], spoken(asked.config, samples), strict=True))
    splits = dict(zip(samples["sample_id"], samples["split"], strict=True))
    assert gold.keys() <= {s for s, split in splits.items() if split != "test"}
    for sample_id, place in gold.items():
        assert sets[sample_id].answers[place] == said[sample_id]
    without = [s for s, split in splits.items() if split != "test" and s not in gold]
    assert all(splits[sample_id] == "val" for sample_id in without)
    assert outcome(asked.config, "text")["samples_without_gold"] == len(without)
