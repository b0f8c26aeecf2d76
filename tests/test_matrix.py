"""A matrix through Snakemake: failures stay where they are, and a kill costs only time."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from fake_project import RUN, SHARED, make_project, write_notebook

from jomed.artifacts import MissingArtifact, artifact
from jomed.config import RunConfig, load_config
from jomed.phantom.models import provide_encoder
from jomed.phantom.world import provide_data
from jomed.plan import failed_path, tasks
from jomed.stages.data import prepare_corpora, prepare_samples
from jomed.stages.evaluation import prepare_evaluation
from jomed.stages.finished import read_evaluation
from jomed.stages.index import prepare_index
from jomed.stages.reader import prepare_reader, read_reader
from jomed.stages.retriever import prepare_head

START = "from jomed.config import configure\nconfig = configure(globals())\n"
STAGES = {
    "01_prepare_corpora": (
        "from jomed.phantom.world import provide_data\n"
        "from jomed.stages.data import prepare_corpora\n"
        "provide_data(config), prepare_corpora(config)"
    ),
    "02_prepare_benchmarks": (
        "from jomed.stages.data import prepare_samples\nprepare_samples(config)"
    ),
    "03_build_index": (
        "from jomed.phantom.models import provide_encoder\n"
        "from jomed.stages.index import prepare_index\n"
        "prepare_index(config, provide_encoder(config))"
    ),
    "04_train_reader": "from jomed.stages.reader import prepare_reader\nprepare_reader(config)",
    "05_train_retriever": (
        "from jomed.stages.reader import read_reader\n"
        "from jomed.stages.retriever import prepare_head\n"
        "reader = read_reader(config).reader\n"
        "for head in config.stage2.heads:\n"
        "    prepare_head(config, head, reader)"
    ),
    "06_evaluate": (
        "from jomed.stages.evaluation import prepare_evaluation\n"
        "from jomed.stages.reader import read_reader\n"
        "prepare_evaluation(config, read_reader(config).reader)"
    ),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOMED_ROOT", str(tmp_path))
    monkeypatch.delenv("JOMED_RUNS", raising=False)
    return make_project(tmp_path, {name: START + code for name, code in STAGES.items()})


def call(project: Path, *words: str) -> tuple[int, str, float]:
    """Exit code, output and seconds of `jomed matrix` on one run of the tiny profile."""
    start = time.monotonic()
    done = subprocess.run(command(*words), cwd=project, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr, time.monotonic() - start


def command(*words: str) -> list[str]:
    chosen = ("--profile", "tiny", "--matrix", "walkthrough")
    return [sys.executable, "-m", "jomed", "matrix", *chosen, *words]


def prepare(project: Path) -> RunConfig:
    """Do 01 to 03 without notebooks, to spare their start, and mark them as executed."""
    config = load_config("tiny", runs_dir=project / "runs")
    provide_data(config)
    prepare_corpora(config)
    prepare_samples(config)
    prepare_index(config, provide_encoder(config))
    for task in tasks("tiny", "walkthrough")[:3]:
        task.target.parent.mkdir(parents=True, exist_ok=True)
        task.target.write_text("{}")
    return config


def run_straight(config: RunConfig) -> pd.DataFrame:
    """The predictions of 04 to 06 without notebooks and without interruption."""
    reader = prepare_reader(config).reader
    for head in config.stage2.heads:
        prepare_head(config, head, reader)
    return prepare_evaluation(config, reader).predictions


def wait_for(found: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not list(found.glob(pattern)):
        assert process.poll() is None, "the matrix ended before it could be killed"
        assert time.monotonic() < deadline, f"no {pattern} in {found}"
        time.sleep(0.05)


def test_a_killed_matrix_goes_on_to_the_same_predictions(project: Path) -> None:
    config = prepare(project)
    shutil.copytree(project / "runs", project / "straight")
    executed = project / "runs/tiny/executed"
    with subprocess.Popen(
        command("--only", "seed=0"), cwd=project, stdout=subprocess.DEVNULL
    ) as process:
        wait_for(project / "runs/tiny/reader", ".*.unfinished/*", process)
        process.kill()
    assert not artifact(config, "reader").is_complete()
    with pytest.raises(MissingArtifact):
        read_reader(config)
    assert [path.name[-14:] for path in executed.glob("04*")] == [".running.ipynb"]

    code, output, _ = call(project, "--only", "seed=0")
    assert code == 0, output
    assert "4 of 7 notebooks to run" in output
    assert "[7/7] done   00_explore_a_case" in output
    straight = run_straight(load_config("tiny", runs_dir=project / "straight"))
    pd.testing.assert_frame_equal(read_evaluation(config).predictions, straight)

    code, output, seconds = call(project, "--only", "seed=0")
    assert (code, "nothing to do: all 7 notebooks are executed" in output) == (0, True)
    assert seconds < 10


def test_a_failure_stops_only_what_needs_it(project: Path) -> None:
    fail_without_pixtral = "print(backbone)\nassert 'pixtral' in backbone, 'only pixtral'"
    bodies: Mapping[str, str] = dict.fromkeys(STAGES, "print(backbone)")
    for name, code in {**bodies, "05_train_retriever": fail_without_pixtral}.items():
        write_notebook(project, name, f"profile = 'tiny'\n{RUN}{SHARED}", code)
    planned = {task.title: task for task in tasks("tiny", only=["benchmark=retina"])}
    for title, task in planned.items():
        if title[:2] in ("01", "02", "03", "04"):
            task.target.parent.mkdir(parents=True, exist_ok=True)
            task.target.write_text("{}")
    words = ["--profile", "tiny", "--only", "benchmark=retina"]
    done = subprocess.run(
        [sys.executable, "-m", "jomed", "matrix", *words],
        cwd=project,
        capture_output=True,
        text=True,
        env=os.environ | {"JOMED_ROOT": str(project)},
    )
    assert done.returncode == 1
    failed = planned["05_train_retriever retina.tiny_qwen2vl.s0"]
    assert f"failed: {failed.title}: cell [3]: AssertionError: only pixtral" in done.stdout
    assert str(failed_path(failed.target)) in done.stdout
    assert failed_path(failed.target).is_file()
    left = "06_evaluate retina.tiny_qwen2vl.s0, 00_explore_a_case retina.tiny_qwen2vl.s0"
    assert f"not run because of that: {left}" in done.stdout
    assert planned["06_evaluate retina.tiny_pixtral.s0"].done
    assert not failed.done


def test_a_variant_reaches_its_notebooks_through_snakemake(project: Path) -> None:
    with (project / "params" / "matrix.yaml").open("a") as file:
        file.write(
            "sides:\n  benchmarks: [retina]\n  backbones: [tiny_qwen2vl]\n  encoder: tiny_clip\n"
            "  seeds: [0]\n  variants:\n    emdr2: {stage2.loss: emdr2}\n"
        )
    for name in STAGES:
        code = "from jomed.config import configure\nprint(configure(globals()).stage2.loss)"
        write_notebook(project, name, f"profile = 'tiny'\n{RUN}{SHARED}", code)
    planned = tasks("tiny", "sides", ["variant=emdr2"])
    for task in planned[:4]:
        task.target.parent.mkdir(parents=True, exist_ok=True)
        task.target.write_text("{}")
    words = ["--profile", "tiny", "--matrix", "sides", "--only", "variant=emdr2"]
    done = subprocess.run(
        [sys.executable, "-m", "jomed", "matrix", *words],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done   06_evaluate retina.tiny_qwen2vl.s0 emdr2" in done.stdout
    for task in planned[4:]:
        assert '"emdr2\\n"' in task.target.read_text()


def test_a_matrix_that_cannot_start_shows_why(project: Path) -> None:
    (project / "Snakefile").write_text("raise ValueError('no such rule')\n")
    code, output, _ = call(project)
    assert code == 1
    assert "no such rule" in output
    assert "Snakemake ended with code 1" in output
