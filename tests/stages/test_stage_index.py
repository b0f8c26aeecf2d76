"""Stage 03: the index holds the readable records, and finding never returns the query itself."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_run import Run

from jomed.artifacts import MissingArtifact, artifact, data_root
from jomed.config import load_config
from jomed.evaluation.fusion import HeadList
from jomed.phantom.models import provide_backbone, provide_encoder
from jomed.retrieval.index import Index
from jomed.stages.finished import pretraining_losses
from jomed.stages.index import Finder, joined, prepare_index, skipped_in_index


@pytest.fixture(scope="module")
def finder(run: Run) -> Finder:
    return Finder(run.config, run.samples.samples)


def test_every_record_is_in_the_index(run: Run) -> None:
    index = Index.open(artifact(run.config, "index").require())
    assert index.record_ids == run.corpora.records["record_id"].tolist()
    assert skipped_in_index(run.config).empty


def test_an_image_that_broke_after_stage_01_is_a_counted_skip(run: Run, tmp_path: Path) -> None:
    config = run.config.model_copy(update={"runs_dir": tmp_path})
    for stage in ("world", "corpus", "encoder"):
        shutil.copytree(artifact(run.config, stage).path, artifact(config, stage).path)
    victim = run.corpora.records.iloc[0]
    (data_root(config) / victim["image"]).write_bytes(b"no image")
    index = prepare_index(config, provide_encoder(config))
    assert victim["record_id"] not in index.record_ids
    assert index.size == len(run.corpora.records) - 1
    (row,) = skipped_in_index(config).itertuples()
    assert (row.item, row.source) == (victim["record_id"], victim["source"])


def test_a_finished_index_is_read_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jomed.stages.index.build_index", None)
    again = prepare_index(run.config, provide_encoder(run.config))
    rows = np.arange(again.size)
    first = Index.open(artifact(run.config, "index").require())
    np.testing.assert_array_equal(again.vectors("text", rows), first.vectors("text", rows))


def test_missing_index_and_records_name_their_notebooks(run: Run, tmp_path: Path) -> None:
    empty = load_config("tiny", runs_dir=tmp_path)
    with pytest.raises(MissingArtifact, match=r"03_build_index\.ipynb"):
        skipped_in_index(empty)
    encoder = provide_encoder(run.config)
    with pytest.raises(MissingArtifact, match=r"01_prepare_corpora\.ipynb"):
        prepare_index(empty, encoder)


def test_tiny_models_are_trained_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for train in ("pretrain_encoder", "pretrain_reader"):
        monkeypatch.setattr(f"jomed.phantom.models.{train}", None)
    assert provide_encoder(run.config).dim == 48
    assert provide_backbone(run.config) == artifact(run.config, "backbone").path
    assert run.config.encoder.tiny is not None
    assert len(pretraining_losses(run.config, "encoder")) == run.config.encoder.tiny.steps


def test_an_untrained_head_ranks_by_the_frozen_encoder(run: Run, finder: Finder) -> None:
    found = finder.find(finder.untrained("image"), 3)
    assert list(found) == run.samples.samples["sample_id"].tolist()
    index = finder.index
    similar = finder.queries.features @ index.vectors("image", np.arange(index.size)).T
    for row, (sample_id, listed) in enumerate(found.items()):
        allowed = [r for r in np.argsort(-similar[row], kind="stable")
                   if r not in finder.queries.exclude[row]]  # fmt: skip
        assert listed.record_ids == tuple(index.record_ids[r] for r in allowed[:3]), sample_id
        np.testing.assert_allclose(listed.scores, similar[row][allowed[:3]], atol=1e-3)


def test_candidates_of_both_heads_come_once_each(finder: Finder) -> None:
    both = finder.untrained_candidates(2)
    image, text = (finder.find(finder.untrained(head), 2) for head in ("image", "text"))
    for sample_id, record_ids in both.items():
        assert len(set(record_ids)) == len(record_ids)
        assert set(record_ids) == {*image[sample_id].record_ids, *text[sample_id].record_ids}


def test_joined_keeps_the_order_of_the_lists() -> None:
    first, second = HeadList(("b", "a"), (2.0, 1.0)), HeadList(("a", "c"), (2.0, 1.0))
    assert joined("s", [{"s": first}, {"s": second}]) == ["b", "a", "c"]
