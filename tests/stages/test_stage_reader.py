"""Stage 04: the fine-tuned reader and what it was made from."""

from pathlib import Path

import numpy as np
import pytest
from tiny_run import Run

from jomed.artifacts import MissingArtifact, artifact
from jomed.config import load_config
from jomed.reading.answers import AnswerSet
from jomed.reading.prompts import Prompt
from jomed.stages.reader import prepare_reader, read_reader


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
