"""Candidate lists of the methods: sizes, weights used, and never the query's own record."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tiny_run import Run, whole_run

from jomed.artifacts import MissingArtifact, data_root
from jomed.config import load_config
from jomed.evaluation.methods import METHODS, method_named
from jomed.stages.candidates import candidate_lists, weight_file
from jomed.stages.finished import outcome
from jomed.stages.index import Finder
from jomed.stages.retriever import prepare_head, shuffled_control

RETRIEVING = ("standard_rag", "text_head", "jomed")


@pytest.fixture(scope="module")
def finder(run: Run) -> Finder:
    samples = run.samples.samples
    return Finder(run.config, samples[samples["split"] == "test"])


@pytest.mark.parametrize("name", ["closed_book", "random_records", *RETRIEVING])
def test_every_sample_has_the_lists_of_the_method(name: str, run: Run, finder: Finder) -> None:
    method, count = method_named(name), run.config.inference.candidates_per_head
    lists = candidate_lists(run.config, finder, method)
    assert list(lists) == finder.queries.ids
    sizes = {"none": 1, "random": 2 * count, "text": count, "image": count}
    for found in lists.values():
        assert tuple(found) == method.lists
        for listed, entry in found.items():
            assert len(set(entry.record_ids)) == len(entry.record_ids) == sizes[listed]


def test_untrained_and_trained_heads_rank_differently(run: Run, finder: Finder) -> None:
    assert weight_file(run.config, "text", "untrained") is None
    untrained = finder.embed(finder.untrained("text"))
    np.testing.assert_array_equal(untrained, finder.queries.features)
    outcomes = outcome(run.config, "text")
    trained = finder.embed(finder.trained(weight_file(run.config, "text", "trained")))
    assert outcomes["best_step"] == 0 or (trained != untrained).any()


def test_methods_that_share_a_head_search_with_it_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = run.samples.samples
    finder = Finder(run.config, samples[samples["split"] == "test"])
    searched, search = [], finder.index.search

    def counted(queries: np.ndarray, head: str, *rest: object) -> object:
        searched.append(head)
        return search(queries, head, *rest)

    monkeypatch.setattr(finder.index, "search", counted)
    plain, text_head, both = (
        candidate_lists(run.config, finder, method_named(name)) for name in RETRIEVING
    )
    assert sorted(searched) == ["image", "image", "text", "text"]
    for sample_id, found in text_head.items():
        assert found == {"image": plain[sample_id]["image"], "text": both[sample_id]["text"]}


def test_shuffled_heads_have_to_be_trained_first(run: Run, finder: Finder, tmp_path: Path) -> None:
    method = METHODS["shuffled"]
    with pytest.raises(MissingArtifact, match=r"05_train_retriever\.ipynb") as caught:
        candidate_lists(run.config, finder, method)
    command = str(caught.value).splitlines()[-1]
    assert json.dumps({"stage2.candidates": 3})[1:-1] in command
    assert '"stage2.likelihoods": "shuffled"' in command
    control = shuffled_control(run.config)
    for head in ("text", "image"):
        prepare_head(control, head, run.reader.reader)
    lists = candidate_lists(run.config, finder, method)
    assert {tuple(found) for found in lists.values()} == {("image", "text")}


def test_random_records_depend_on_the_seed(run: Run, finder: Finder) -> None:
    method = method_named("random_records")
    first = candidate_lists(run.config, finder, method)
    assert candidate_lists(run.config, finder, method) == first
    other = run.config.model_copy(update={"seed": 1})
    assert candidate_lists(other, finder, method) != first


@pytest.fixture(scope="module")
def labelled_run(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The retina_small profile, very short, on the phantom's RetinaMNIST file."""
    root = tmp_path_factory.mktemp("data")
    target = root / run.config.benchmark.path
    target.parent.mkdir()
    shutil.copy(data_root(run.config) / run.config.benchmark.path, target)
    short = {"benchmark.md5": None, "data.root": str(root), "stage2.candidates": 4}
    short |= {"evaluation.methods": ["random_records", "standard_rag", "jomed"]}
    for name in ("stage1", "stage2", "backbone", "encoder"):
        changed = {"stage1": "max_steps", "stage2": "steps"}.get(name, "tiny.steps")
        short[f"{name}.{changed}"] = 2
    return whole_run(load_config("retina_small", overrides=short, runs_dir=root / "runs"))


def test_no_sample_is_its_own_evidence(labelled_run: Run) -> None:
    config, samples = labelled_run.config, labelled_run.samples.samples
    finder = Finder(config, samples)
    shas = dict(zip(finder.records["record_id"], finder.records["image_sha"], strict=True))
    own = dict(zip(samples["sample_id"], samples["image_sha"], strict=True))
    train = set(samples.loc[samples["split"] == "train", "sample_id"])
    assert {f"training_split:{sample_id}" for sample_id in train} == set(shas)
    for name in ("random_records", *RETRIEVING):
        for sample_id, found in candidate_lists(config, finder, method_named(name)).items():
            shown = {record_id for entry in found.values() for record_id in entry.record_ids}
            assert f"training_split:{sample_id}" not in shown
            assert own[sample_id] not in {shas[record_id] for record_id in shown}
    # Every training sample leaves out its own record; the world repeats three of them in test.
    left_out = dict(zip(finder.queries.ids, map(len, finder.queries.exclude), strict=True))
    assert all(left_out[sample_id] == 1 for sample_id in train)
    assert sum(left_out.values()) == len(train) + 3


def test_stage_2_counts_the_self_matches_it_left_out(labelled_run: Run) -> None:
    train = (labelled_run.samples.samples["split"] == "train").sum()
    for head in ("text", "image"):
        assert outcome(labelled_run.config, head)["excluded"] == train


def test_tiny_models_without_a_world_are_made_for_one_benchmark(labelled_run: Run) -> None:
    report = asdict(labelled_run.reader.report)
    assert report["train_examples"] > 0
    assert labelled_run.evaluated.labels == ("0", "1", "2", "3", "4")
    assert set(labelled_run.evaluated.predictions["method"]) == {
        "random_records", "standard_rag", "jomed",
    }  # fmt: skip
