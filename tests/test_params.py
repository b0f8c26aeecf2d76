"""Overrides, and errors that name file, key and remedy."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from jomed.config import ConfigError, load_config, project_root

PARAMS = project_root() / "params"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of params/ that a test may change."""
    shutil.copytree(PARAMS, tmp_path / "params")
    monkeypatch.setenv("JOMED_ROOT", str(tmp_path))
    monkeypatch.delenv("JOMED_RUNS", raising=False)
    return tmp_path


def tiny_steps(**change: Any) -> int:
    tiny = load_config("tiny", **change).backbone.tiny
    assert tiny is not None
    return tiny.steps


def test_overrides_as_mapping_nested_mapping_and_text_agree() -> None:
    plain = load_config(overrides={"stage2.steps": 7, "backbone.token_budget": 64})
    nested = load_config(overrides={"stage2": {"steps": 7}, "backbone": {"token_budget": 64}})
    json_text = load_config(overrides='{"stage2.steps": 7, "backbone.token_budget": 64}')
    yaml_text = load_config(overrides="stage2.steps: 7\nbackbone:\n  token_budget: 64")
    assert plain.stage2.steps == 7
    assert plain.backbone.token_budget == 64
    assert plain == nested == json_text == yaml_text


def test_exponent_without_a_point_is_a_number() -> None:
    assert load_config(overrides="stage2.learning_rate: 2e-4").stage2.learning_rate == 2e-4


def test_profile_overrides_give_way_to_the_callers() -> None:
    assert tiny_steps() == 4
    assert tiny_steps(overrides={"backbone.tiny.steps": 5}) == 5
    assert load_config("phantom").benchmark.md5 is None
    assert load_config("retina_small").benchmark.md5[28] == "bd4c0672f1bba3e3a89f0e4e876791e4"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"overrides": {"stage2.setps": 3}}, ["overrides", "'stage2.setps'", "'steps'"]),
        ({"overrides": {"stag2.steps": 3}}, ["overrides", "'stag2'", "'stage2'"]),
        ({"overrides": {"data.world.sed": 3}}, ["overrides", "'data.world.sed'", "'seed'"]),
        ({"overrides": {"backbone.famly": "x"}}, ["overrides", "'backbone.famly'", "'family'"]),
        ({"overrides": {"stage2.steps": "ten"}}, ["overrides", "stage2.steps", "integer", "ten"]),
        ({"overrides": {"stage2.steps": 0}}, ["stage2.steps", "greater than 0"]),
        ({"overrides": {"stage2.balanced": 1}}, ["stage2.balanced", "boolean"]),
        ({"overrides": {"stage2.loss": "kl"}}, ["stage2.loss", "posterior_kl"]),
        ({"overrides": {"stage1.lora_rank.x": 1}}, ["'stage1.lora_rank'", "no keys below"]),
        ({"overrides": {"seed": 1}}, ["'seed'", "not an override"]),
        ({"overrides": {"benchmark.name": "x"}}, ["'benchmark.name'", "not an override"]),
        ({"overrides": "[1, 2]"}, ["overrides", "mapping"]),
        ({"overrides": "a: [1"}, ["overrides", "YAML"]),
        ({"overrides": "stage2.steps: 1\nstage2.steps: 2"}, ["repeated key 'stage2.steps'"]),
        ({"profile": "phanton"}, ["profiles", "'phanton'", "did you mean 'phantom'"]),
        ({"benchmark": "../profiles/tiny"}, ["benchmarks", "valid:", "retina"]),
        ({"seed": -1}, ["seed"]),
        ({"seed": True}, ["seed", "integer"]),
        ({"seed": "0"}, ["seed", "integer"]),
        ({"matrix": 3}, ["matrix", "string"]),
        ({"profile": "paper"}, ["'tiny_qwen2vl'", "synthetic world", "published model"]),
        ({"overrides": {"encoder.model_id": "ViT-B-32"}}, ["overrides", "either model_id"]),
        ({"overrides": {"data.corpora": ["training_split"]}}, ["record_text"]),
        ({"overrides": {"closing.method": "llm"}}, ["closing", "needs a model and a store"]),
        ({"overrides": {"closing.method": "gpt"}}, ["closing.method", "distractors"]),
        ({"overrides": {"closing.tries": 0}}, ["closing.tries", "greater than 0"]),
    ],
)
def test_wrong_settings_are_refused_with_a_reason(
    arguments: dict[str, object], parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(**arguments)  # type: ignore[arg-type]
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("endpoint", "https://user:sk-secret@example.org/v1"),
        ("endpoint", "https://example.org/v1?key=sk-secret"),
        ("endpoint", "http://sk-secret\\@127.0.0.1/v1"),
        ("endpoint", "sk-secret"),
        ("key_variable", "sk-secret"),
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"closing: {key}") as caught:
        load_config(overrides={f"closing.{key}": value})
    assert "secret" not in str(caught.value)


def test_plain_addresses_are_endpoints() -> None:
    plain = ("http://127.0.0.1:8000/v1", "https://api.example.org/v1/", "http://[::1]:8000")
    for address in plain:
        assert load_config(overrides={"closing.endpoint": address}).closing.endpoint == address


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("  alpha: 0.8\n", "", ["params/profiles/phantom.yaml", "missing key 'stage2.alpha'"]),
        ("  alpha: 0.8", "  alpa: 0.6", ["unknown key 'stage2.alpa'", "did you mean 'alpha'"]),
        ("  alpha: 0.8", "  alpha: 1.6", ["stage2.alpha", "less than or equal to 1"]),
        ("  alpha: 0.8", "  alpha: 0.8\n  alpha: 0.7", ["phantom.yaml", "repeated key 'alpha'"]),
    ],
)
def test_errors_in_a_file_name_the_file(
    project: Path, old: str, new: str, parts: list[str]
) -> None:
    file = project / "params" / "profiles" / "phantom.yaml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_config()
    for part in parts:
        assert part in str(caught.value)


def test_a_part_is_named_by_its_file(project: Path) -> None:
    file = project / "params" / "encoders" / "tiny_clip.yaml"
    file.write_text("name: other\n" + file.read_text())
    with pytest.raises(ConfigError, match=r"encoders/tiny_clip\.yaml: 'name'"):
        load_config()
