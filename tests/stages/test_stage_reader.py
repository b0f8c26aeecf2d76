"""Stage 04: the fine-tuned reader and what it was made from."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_run import Run

from jomed.artifacts import MissingArtifact, artifact
from jomed.config import RunConfig, load_config, with_overrides
from jomed.data.guard import AccessError
from jomed.reading.answers import AnswerSet
from jomed.reading.prompts import Prompt
from jomed.stages.reader import export_reader, prepare_reader, read_reader, train_reader
from jomed.storage import EVENTS, locked


def test_training_saw_every_sample_beside_its_candidates(run: Run) -> None:
    sizes = run.samples.samples["split"].value_counts()
    report, count = run.reader.report, run.config.stage1.candidates_per_head
    assert report.steps == run.config.stage1.max_steps
    # Each head brings `count` records; a record that both bring is shown once.
    assert count * sizes["train"] <= report.train_examples <= 2 * count * sizes["train"]
    assert count * sizes["val"] <= report.val_examples <= 2 * count * sizes["val"]


def test_a_finished_reader_is_read_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jomed.stages.reader.finetune_reader", None)
    again = prepare_reader(run.config)
    assert again.report == run.reader.report
    assert again.reader.key == run.reader.reader.key
    sample = run.samples.samples.iloc[0]
    prompt = Prompt(None, "a text", sample["image"], sample["question"])
    answers = AnswerSet(run.config.benchmark.answers)
    first, second = (r.reader.score([prompt], answers) for r in (run.reader, again))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_a_missing_reader_names_its_notebook(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=r"04_train_reader\.ipynb"):
        read_reader(load_config("tiny", runs_dir=tmp_path))


def test_the_manifest_says_where_it_comes_from(run: Run) -> None:
    provenance = artifact(run.config, "reader").manifest()["provenance"]
    assert provenance["config"] == run.config.hash
    assert provenance["models"] == {"tiny_qwen2vl": "trained here", "tiny_clip": "trained here"}
    corpus = artifact(run.config, "corpus").manifest()["content"]
    assert provenance["data"]["corpus"] == corpus[:12]


def on_two_processes(config: RunConfig) -> subprocess.CompletedProcess[str]:
    """Run `jomed finetune` for a configuration on two processes of this machine."""
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "jomed"]
    options = {
        "profile": config.profile,
        "benchmark": config.benchmark.name,
        "backbone": config.backbone.name,
        "overrides": config.overrides,
        "runs-dir": str(config.runs_dir),
    }
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    return subprocess.run(
        [sys.executable, "-m", *launch, "finetune", *given],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_two_processes_make_the_adapter_of_one(run: Run, tmp_path: Path) -> None:
    # 40 examples a step in batches of 10: of an epoch's last step, one batch is short and two are
    # empty, and the steps go on into the next epoch.
    changes = {
        "stage1.batch_size": 10, "stage1.gradient_accumulation": 4, "stage1.max_steps": 5,
    }  # fmt: skip
    config = with_overrides(run.config, changes)
    examples = run.reader.report.train_examples
    assert examples % 10
    assert 0 < examples % 40 < 20
    assert examples < 5 * 40
    made = artifact(config, "reader").path
    alone = tmp_path / "alone"
    train_reader(config).rename(alone)

    done = on_two_processes(config)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [str(made)]
    adapters = [load_file(path / "adapter/adapter_model.safetensors") for path in (alone, made)]
    assert any(tensor.abs().max() > 1e-3 for name, tensor in adapters[0].items() if "_B" in name)
    for name, tensor in adapters[1].items():
        torch.testing.assert_close(tensor, adapters[0][name], rtol=0, atol=1e-5)
    one, two = (json.loads((path / "report.json").read_text()) for path in (alone, made))
    for kind in ("training", "evaluations"):
        losses = [[entry["loss"] for entry in report.pop(kind)] for report in (one, two)]
        assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert two.pop("best_loss") == pytest.approx(one.pop("best_loss"), abs=1e-5)
    assert two == one
    left = {path.name for path in made.iterdir()} - {EVENTS}
    assert left == {"COMPLETE", "adapter", "manifest.json", "plan.json", "report.json"}


def test_two_processes_that_cannot_share_a_step_are_told(run: Run) -> None:
    config = with_overrides(run.config, {"stage1.gradient_accumulation": 3})
    done = on_two_processes(config)
    assert done.returncode != 0
    assert "2 processes cannot share the 3 batches of a step" in done.stderr
    assert not artifact(config, "reader").is_complete()


def test_a_reader_in_training_is_not_trained_by_another_process(run: Run) -> None:
    config = with_overrides(run.config, {"stage1.max_steps": 1})
    made = artifact(config, "reader").path
    with (
        locked(made.parent / f".{made.name}.lock", wait=False),
        pytest.raises(RuntimeError, match="another process is writing"),
    ):
        train_reader(config)


def test_an_export_holds_what_stage_1_trains_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = export_reader([run.config], tmp_path / "out")
    trained = run.reader.report
    assert (report.train, report.val) == (trained.train_examples, trained.val_examples)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["provenance"]["config"] == run.config.hash
    monkeypatch.setattr(RunConfig, "access", ("credentialed",))
    (tmp_path / ".git").mkdir()
    with pytest.raises(AccessError, match="credentialed data must not get into one"):
        export_reader([run.config], tmp_path / "private")
