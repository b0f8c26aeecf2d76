"""Artefacts are named by what they depend on, and a missing one says how to make it."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from jomed.artifacts import (
    MissingArtifact,
    artifact,
    data_root,
    score_table_path,
    short_stamp,
    stamp,
)
from jomed.config import ConfigError, RunConfig, load_config, project_root

STAGES = (
    "world", "corpus", "samples", "encoder", "index",
    "backbone", "reader", "head_text", "head_image", "evaluation",
)  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return load_config("tiny", runs_dir=tmp_path)


def test_paths_have_profile_stage_label_and_hash(config: RunConfig, tmp_path: Path) -> None:
    labels = {stage: artifact(config, stage).path.name.rpartition("-")[0] for stage in STAGES}
    run = "retina.tiny_qwen2vl.s0"
    assert labels == {
        "world": "all", "corpus": "all", "samples": "retina", "encoder": "tiny_clip",
        "index": "tiny_clip", "backbone": "tiny_qwen2vl", "reader": run, "head_text": run,
        "head_image": run, "evaluation": run,
    }  # fmt: skip
    for stage in STAGES:
        assert artifact(config, stage).path.parent == tmp_path / "tiny" / stage


def changed_by(profile: str = "tiny", **change: Any) -> set[str]:
    """The stages whose paths one change of the parameters moves."""
    base, other = load_config(profile), load_config(profile, **change)
    stages = [s for s in STAGES if s != "world" or base.data.world is not None]
    moved = {s for s in stages if artifact(base, s).path != artifact(other, s).path}
    return moved | ({"scores"} if score_table_path(base) != score_table_path(other) else set())


READER = {"reader", "head_text", "head_image", "evaluation"}
EVERYTHING = {*STAGES, "scores"}
LLM = {"closing.method": "llm", "closing.model": "o3", "closing.store": "x.jsonl"}


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"overrides": {"data.world.noise": 0.5}}, EVERYTHING),
        ({"overrides": {"data.min_text_chars": 9}}, {"corpus", "samples", "index", "scores"}),
        ({"overrides": {"index.shard_size": 9}}, {"index"}),
        ({"overrides": {"encoder.tiny.steps": 9}}, {"encoder", "index"}),
        ({"overrides": {"backbone.tiny.steps": 9}}, {"backbone", "scores"}),
        ({"overrides": {"prompt.max_side": 9}}, {"backbone", "scores"}),
        ({"overrides": {"stage1.max_steps": 9}}, set()),
        ({"benchmark": "vqa_rad"}, {"samples", "scores"}),
        ({"backbone": "tiny_pixtral"}, {"backbone", "scores"}),
        ({"seed": 1}, set()),
    ],
)
def test_a_change_moves_every_later_stage(change: dict[str, Any], stages: set[str]) -> None:
    assert changed_by(**change) == stages | READER


@pytest.mark.parametrize(
    ("overrides", "stages"),
    [
        ({"stage2.steps": 9}, READER - {"reader"}),
        ({"inference.distractors": 9}, READER - {"reader"}),
        (LLM, READER - {"reader"}),
        ({**LLM, "closing.model": "o4"}, READER - {"reader"}),
        (
            {"closing.store": "x.jsonl", "closing.endpoint": "http://h/v1", "closing.parallel": 9},
            set(),
        ),
        ({"inference.candidates_per_head": 9}, {"evaluation"}),
        ({"evaluation.confidence": 0.9}, {"evaluation"}),
        ({"runtime.threads": 9}, set()),
    ],
)
def test_a_change_moves_no_earlier_stage(overrides: dict[str, Any], stages: set[str]) -> None:
    assert changed_by(overrides=overrides) == stages


def test_records_from_the_training_split_belong_to_a_benchmark() -> None:
    config = load_config("retina_small")
    assert artifact(config, "corpus").path.name.startswith("retina-")
    assert artifact(config, "index").path.name.startswith("retina.tiny_clip-")
    assert {"corpus", "encoder", "index", "backbone"} <= changed_by(
        "retina_small", benchmark="breast"
    )


def test_missing_names_the_notebook_and_a_whole_command(tmp_path: Path) -> None:
    config = load_config(
        "tiny", "vqa_rad", seed=3, runs_dir=tmp_path / "my runs", overrides={"stage2.steps": 5}
    )
    with pytest.raises(MissingArtifact) as caught:
        artifact(config, "index").require()
    message = str(caught.value)
    assert "notebooks/03_build_index.ipynb" in message
    words = shlex.split(message.splitlines()[-1])
    assert words[:2] == ["mkdir", "-p"]
    assert words[4] == "papermill"
    assert Path(words[6]).parent == Path(words[2])
    assert Path(words[5]) == project_root() / "notebooks" / "03_build_index.ipynb"
    given = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "-p" and i > 6}
    given["seed"] = int(given["seed"])  # type: ignore[assignment]
    assert load_config(**given) == config  # type: ignore[arg-type]


def test_data_root_is_the_world_or_the_given_folder(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(MissingArtifact, match="01_prepare_corpora"):
        data_root(config)
    with artifact(config, "world").writing():
        pass
    assert data_root(config) == artifact(config, "world").path
    monkeypatch.setenv("JOMED_DATA", str(tmp_path))
    assert data_root(config) == artifact(config, "world").path
    assert data_root(load_config("retina_small")) == tmp_path
    monkeypatch.delenv("JOMED_DATA")
    with pytest.raises(ConfigError, match="set JOMED_DATA to the data's folder"):
        data_root(load_config("retina_small"))


def test_real_data_have_no_world() -> None:
    config = load_config("paper", backbone="qwen2_vl_7b", encoder="biomedclip")
    with pytest.raises(ConfigError, match="reads real data"):
        artifact(config, "world")


def test_stamp_says_where_a_result_comes_from(config: RunConfig) -> None:
    assert stamp(config)["data"] == {"corpus": None, "samples": None}
    with artifact(config, "samples").writing() as folder:
        (folder / "f").write_text("x")
    full = stamp(config)
    assert full["data"]["samples"] == artifact(config, "samples").manifest()["content"][:12]
    assert (full["config"], full["profile"], full["seed"]) == (config.hash, "tiny", 0)
    assert full["models"] == {"tiny_qwen2vl": "trained here", "tiny_clip": "trained here"}
    assert set(full["versions"]) >= {"torch", "transformers"}
    assert json.loads(json.dumps(full)) == full
    line = short_stamp(config)
    assert "\n" not in line
    assert config.hash in line
    assert "tiny/retina/tiny_qwen2vl/s0" in line


def test_stamp_outside_a_checkout_has_no_commit(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JOMED_ROOT", str(tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", os.fspath(tmp_path.parent))
    full = stamp(config)
    assert full["commit"] is None
    assert full["dirty"] is None
    assert "no commit" in short_stamp(config)
