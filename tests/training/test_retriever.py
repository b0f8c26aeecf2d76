import json
from collections import Counter

import numpy as np
import pytest
import torch
import toy_world
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jomed.progress import can_write_events
from jomed.retrieval.head import QueryHead
from jomed.storage import EVENTS
from jomed.training.checkpoint import CHECKPOINT_FILE
from jomed.training.mining import Likelihoods, Queries, mine
from jomed.training.retriever import TrainingError, train_head
from jomed.training.run import HeadRun


def train(world, folder, score=None, samples=None, head="image", **stage2):
    return train_head(
        toy_world.config(**stage2),
        head,
        world.index,
        world.encoder,
        world.samples if samples is None else samples,
        world.records,
        score or world.score,
        world.gold,
        world.root,
        folder,
    )


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def validations(folder):
    return [entry for entry in log(folder) if "val" in entry]


def hit_rate(entry):
    return entry["hits"] / entry["pairs"]


def test_likelihoods_raise_the_hit_rate_and_shuffled_ones_do_not(world, tmp_path):
    report = train(world, tmp_path / "true")
    first, *_, last = validations(tmp_path / "true")
    assert hit_rate(first) < 0.75
    assert hit_rate(last) > hit_rate(first) + 0.15
    assert report.best > report.first + 0.1
    assert (report.steps, report.best_step > 0) == (60, True)

    train(world, tmp_path / "shuffled", likelihoods="shuffled")
    first, *_, last = validations(tmp_path / "shuffled")
    assert hit_rate(last) < hit_rate(first) + 0.05


@pytest.mark.parametrize("loss", ["perplexity_distillation", "emdr2", "reverse_kl"])
def test_every_loss_learns(world, tmp_path, loss):
    report = train(world, tmp_path, loss=loss, steps=40)
    first, *_, last = validations(tmp_path)
    assert hit_rate(last) > hit_rate(first) + 0.05
    assert report.best > report.first


def test_released_recipe_ignores_temperatures_loss_and_clipping(world, tmp_path):
    settings = {"recipe": "released", "steps": 6, "warmup_steps": 0, "learning_rate": 1e-3}
    train(world, tmp_path / "a", **settings)
    train(world, tmp_path / "b", **settings, tau_r=0.5, tau_g=3.0, loss="emdr2", clip_norm=1e-9)
    assert log(tmp_path / "a") == log(tmp_path / "b")
    steps = [entry for entry in log(tmp_path / "a") if "loss" in entry]
    # A flat prior, K = 12: 1000 / 12 times a KL of at most a few hundredths.
    assert all(0.05 < entry["loss"] < 10 for entry in steps)


def test_each_pair_is_scored_once_in_big_calls(world, tmp_path):
    calls = []

    def score(pairs):
        calls.append(len(pairs))
        return world.score(pairs)

    train(world, tmp_path, score, steps=20, eval_every=10)
    assert max(Counter(world.asked).values()) == 1
    assert len(calls) <= 4 + 3  # four refreshes, three validations


def test_untouched_head_is_the_first_validation(world, tmp_path):
    train(world, tmp_path, steps=1, eval_every=1)
    queries = Queries(
        world.samples[world.samples["split"] == "val"],
        world.encoder,
        world.root,
        world.records,
        world.index,
    )
    head = QueryHead(world.encoder.image_tower, "image", 0.0)
    likelihoods = Likelihoods(world.score, world.gold, world.index.record_ids)
    scores, found = mine(head, queries, np.arange(32), world.index, likelihoods, 12, 16)
    weights = np.exp(scores / 0.1) / np.exp(scores / 0.1).sum(axis=1, keepdims=True)
    expected = np.log((weights * np.exp(found.gold)).sum(axis=1)).mean()
    assert validations(tmp_path)[0]["val"] == pytest.approx(expected, abs=1e-4)
    assert validations(tmp_path)[0]["hits"] == found.right.sum()


def same_tower(tower, saved, prefix=""):
    state = tower.state_dict()
    return all(torch.equal(saved[prefix + name], tensor) for name, tensor in state.items())


def test_patience_stops_and_the_best_head_is_kept_not_the_last(world, tmp_path):
    settings = {"likelihoods": "shuffled", "steps": 60, "eval_every": 5, "patience": 2}
    report = train(world, tmp_path, **settings)
    values = {entry["step"]: entry["val"] for entry in validations(tmp_path)}
    assert list(values) == [0, 5, 10]  # worse twice
    assert (report.steps, report.best_step, report.best) == (10, 0, values[0])
    best = QueryHead.load(report.path, world.encoder.image_tower).trained
    assert same_tower(best, world.encoder.image_tower.state_dict())
    assert not same_tower(best, load_file(tmp_path / CHECKPOINT_FILE), "tower/")


def test_head_that_keeps_improving_is_the_last_one(world, tmp_path):
    report = train(world, tmp_path, steps=10, eval_every=5)
    values = [entry["val"] for entry in validations(tmp_path)]
    assert values == sorted(values)
    assert (report.best_step, report.best, report.first) == (10, values[-1], values[0])
    best = QueryHead.load(report.path, world.encoder.image_tower).trained
    assert same_tower(best, load_file(tmp_path / CHECKPOINT_FILE), "tower/")


class KilledError(Exception):
    pass


@pytest.mark.parametrize("recipe", ["jomed", "released"])
def test_killed_run_resumes_to_the_identical_head(world, tmp_path, monkeypatch, recipe):
    settings = {"steps": 24, "eval_every": 8, "refresh_every": 3, "recipe": recipe}
    whole = train(world, tmp_path / "whole", **settings)
    plain = HeadRun._train_step

    def failing(self, step, batch, candidates):
        if step == 13:
            raise KilledError
        plain(self, step, batch, candidates)

    monkeypatch.setattr(HeadRun, "_train_step", failing)
    with pytest.raises(KilledError):
        train(world, tmp_path / "killed", **settings)
    assert len(log(tmp_path / "killed")) == 13 + 2
    resumed_from = []

    def noting(self, step, batch, candidates):
        resumed_from.append(step)
        plain(self, step, batch, candidates)

    monkeypatch.setattr(HeadRun, "_train_step", noting)
    resumed = train(world, tmp_path / "killed", **settings)
    assert resumed_from == list(range(8, 24))
    assert (resumed.best, resumed.best_step) == (whole.best, whole.best_step)
    for name in ("head.safetensors", CHECKPOINT_FILE):
        left, right = (load_file(tmp_path / run / name) for run in ("whole", "killed"))
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)
    assert log(tmp_path / "killed") == log(tmp_path / "whole")


def test_finished_run_is_not_trained_again(world, tmp_path):
    first = train(world, tmp_path, steps=6)
    world.asked.clear()
    assert train(world, tmp_path, steps=6) == first
    assert world.asked == []


def test_checkpoint_of_other_settings_is_refused(world, tmp_path):
    train(world, tmp_path, steps=2)
    with pytest.raises(TrainingError, match="other settings"):
        train(world, tmp_path, steps=2, alpha=0.5)


def test_text_head_searches_the_text_vectors(world, tmp_path):
    report = train(world, tmp_path, head="text", steps=2)
    assert QueryHead.load(report.path, world.encoder.image_tower).head == "text"
    entry = validations(tmp_path)[0]
    train(world, tmp_path / "image", steps=2)
    assert entry["val"] != validations(tmp_path / "image")[0]["val"]


def test_self_matches_are_counted(world, tmp_path):
    samples = world.samples.copy()
    samples.loc[[0, 1], "image_sha"] = ["record 3", "record 4"]
    assert train(world, tmp_path, samples=samples, steps=1).excluded == 2


def test_loss_that_is_not_finite_names_step_and_samples_and_loses_nothing(
    world, tmp_path, monkeypatch
):
    settings = {"steps": 12, "eval_every": 4}
    train(world, tmp_path / "whole", **settings)
    plain = HeadRun._train_step

    def broken(self, step, batch, candidates):
        if step == 6:
            self._loss = lambda scores, gold: scores.sum() * float("nan")
        plain(self, step, batch, candidates)

    with monkeypatch.context() as patch:
        patch.setattr(HeadRun, "_train_step", broken)
        message = r"nan.* at step 6 with samples \['toy:train/.*lower stage2.learning_rate"
        with pytest.raises(TrainingError, match=message):
            train(world, tmp_path / "mended", **settings)
    train(world, tmp_path / "mended", **settings)  # from the checkpoint of step 4
    left, right = (load_file(tmp_path / n / "head.safetensors") for n in ("whole", "mended"))
    assert all(torch.equal(left[key], right[key]) for key in left)
    assert log(tmp_path / "mended") == log(tmp_path / "whole")


def test_more_candidates_than_a_sample_can_have_are_refused_before_the_first_step(world, tmp_path):
    match = "stage2.candidates is 161, but sample 'toy:train/0' can have 160 records"
    with pytest.raises(TrainingError, match=match):
        train(world, tmp_path, candidates=161)
    samples = world.samples.copy()
    samples.loc[1, "image_sha"] = "record 3"
    match = "is 160, but sample 'toy:train/1' can have 159 records: .* 1 match the sample itself"
    with pytest.raises(TrainingError, match=match):
        train(world, tmp_path, samples=samples, candidates=160)
    assert world.asked == []
    assert train(world, tmp_path, samples=samples, candidates=159, steps=1).steps == 1


def test_a_class_without_samples_is_named_where_classes_are_balanced(world, tmp_path):
    without = world.samples[
        (world.samples["answer"] != "2") | (world.samples["split"] == "val")
    ].reset_index(drop=True)
    with pytest.raises(TrainingError, match=r"there is none of \['2'\]: set stage2.balanced to"):
        train(world, tmp_path, samples=without, steps=1)
    assert train(world, tmp_path, samples=without, steps=1, balanced=False).steps == 1


def shown(folder):
    """What TensorBoard shows: tag -> [(step, value)]."""
    accumulator = EventAccumulator(str(folder / EVENTS))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def logged(folder):
    """The same from the log."""
    found = {}
    for entry in log(folder):
        names = {"val": "validation/log_likelihood"}
        if "loss" in entry:
            names = {"loss": "train/loss", "norm": "train/gradient_norm"}
            names |= {"rate": "train/learning_rate"}
        rate = entry["hits"] / entry.get("pairs", 16 * 12)
        part = "train" if "loss" in entry else "validation"
        values = [(tag, entry[key]) for key, tag in names.items()]
        for tag, value in [*values, (f"{part}/hit_rate", rate)]:
            found.setdefault(tag, []).append((entry["step"], pytest.approx(value, rel=1e-6)))
    return found


def test_event_files_show_the_log_and_no_step_twice_after_a_kill(world, tmp_path, monkeypatch):
    settings = {"steps": 12, "eval_every": 4}
    train(world, tmp_path / "whole", **settings)
    assert shown(tmp_path / "whole") == logged(tmp_path / "whole")
    plain = HeadRun._train_step

    def failing(self, step, batch, candidates):
        if step == 7:
            raise KilledError
        plain(self, step, batch, candidates)

    with monkeypatch.context() as patch:
        patch.setattr(HeadRun, "_train_step", failing)
        with pytest.raises(KilledError):
            train(world, tmp_path / "killed", **settings)
    assert [step for step, _ in shown(tmp_path / "killed")["train/loss"]] == list(range(1, 8))
    train(world, tmp_path / "killed", **settings)
    assert len(list((tmp_path / "killed" / EVENTS).iterdir())) == 2
    assert shown(tmp_path / "killed") == logged(tmp_path / "whole")


def test_without_tensorboard_one_line_says_so_and_training_goes_on(
    world, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    can_write_events.cache_clear()
    try:
        for run in ("a", "b"):
            train(world, tmp_path / run, steps=2)
            assert not (tmp_path / run / EVENTS).exists()
            assert len(log(tmp_path / run)) == 4
    finally:
        can_write_events.cache_clear()
    assert [record.message.split(":")[0] for record in caplog.records] == ["no event files"]


def test_what_cannot_start_says_why(world, tmp_path):
    only_train = world.samples[world.samples["split"] == "train"]
    with pytest.raises(TrainingError, match="no val samples"):
        train(world, tmp_path / "b", samples=only_train)
    unknown = world.samples.copy()
    unknown.loc[0, "sample_id"] = "toy:new"
    with pytest.raises(TrainingError, match="toy:new"):
        train(world, tmp_path / "c", samples=unknown)
