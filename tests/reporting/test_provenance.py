import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from jomed.config import load_config, project_root
from jomed.reporting.provenance import LABEL_NOTES, RESTRICTED, Provenance, label_note


def test_label_note() -> None:
    assert label_note("phantom") == "phantom world: these numbers say nothing about medicine"
    assert label_note(None) == ""
    assert label_note("retina_small") == (
        "tiny models trained on this benchmark's own training split: "
        "compare methods, not with the paper"
    )
    assert label_note("pilot data: not for publication") == "pilot data: not for publication"


@pytest.mark.parametrize("path", sorted((project_root() / "params/profiles").glob("*.yaml")))
def test_every_label_of_a_profile_has_its_sentence(path: Path) -> None:
    label = yaml.safe_load(path.read_text())["label"]
    assert label is None or label in LABEL_NOTES


def test_the_sentence_of_the_profile_is_in_the_caption(tmp_path: Path) -> None:
    caption = Provenance.of(load_config("retina_small", runs_dir=tmp_path)).caption("Table")
    assert caption.startswith("Table. tiny models trained on")


def test_of_several_runs(tmp_path: Path) -> None:
    runs = [load_config("tiny", seed=seed, runs_dir=tmp_path) for seed in (1, 0)]
    both = Provenance.of(runs)
    assert "profile tiny; benchmark retina; backbone tiny_qwen2vl" in both.line
    assert "seed 0, 1" in both.line
    assert both.line == Provenance.of(runs[::-1]).line
    assert both.line != Provenance.of(runs[0]).line
    assert runs[0].hash in Provenance.of(runs[0]).line
    assert both.label == runs[0].label
    assert both.private_root.is_relative_to(tmp_path)
    commits = {str(run["commit"]) for run in both.details["runs"]}  # type: ignore[attr-defined]
    assert not any(commit[:9] in both.line for commit in commits)


def test_runs_of_two_profiles_are_refused(tmp_path: Path) -> None:
    runs = [load_config(name, runs_dir=tmp_path) for name in ("tiny", "phantom")]
    with pytest.raises(ValueError, match="one profile"):
        Provenance.of(runs)


def test_titles_replace_names(provenance: Provenance) -> None:
    frame = pd.DataFrame({"benchmark": ["retina", "other"], "method": ["retina", "q"]})
    named = provenance.named(frame)
    assert named["benchmark"].tolist() == ["RetinaMNIST", "other"]
    assert named["method"].tolist() == ["retina", "q"]


def test_restricted_items_leave_the_project(provenance: Provenance) -> None:
    assert provenance.folder("figures") == provenance.root / "figures" / "phantom"
    assert provenance.folder("figures", restricted=True).is_relative_to(provenance.private_root)
    assert RESTRICTED in provenance.caption("T", restricted=True)
    assert RESTRICTED not in provenance.caption("T")


def test_sidecar_holds_stamp_and_hashes(provenance: Provenance, tmp_path: Path) -> None:
    item = tmp_path / "a.csv"
    item.write_bytes(b"abc")
    provenance.write_sidecar([item], tmp_path / "a.json", restricted=False)
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["sha256"]["a.csv"].startswith("ba7816bf8f01cfea")  # SHA-256 of "abc"
    assert content["runs"] == [{"commit": "abc"}]
    assert content["label"] == "phantom"
