"""The command line: what it prints, what it refuses, and its exit codes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_project import make_project, write_notebook

from jomed.__main__ import main
from jomed.config import load_config
from jomed.phantom.world import provide_data
from jomed.plan import tasks
from jomed.storage import locked

COMMANDS = ("plan", "run", "matrix", "check-data", "finetune", "export-llamafactory")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOMED_ROOT", str(tmp_path))
    monkeypatch.delenv("JOMED_RUNS", raising=False)
    monkeypatch.delenv("JOMED_DATA", raising=False)
    return make_project(tmp_path)


class Command:
    """Calls the command line and keeps what it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.out = self.err = ""

    def __call__(self, *words: str) -> int:
        self.monkeypatch.setattr("sys.argv", ["jomed", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        self.out, self.err = self.capsys.readouterr()
        return int(ended.value.code or 0)


@pytest.fixture
def call(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    return Command(monkeypatch, capsys)


def test_help_names_every_command(call: Command) -> None:
    assert call("--help") == 0
    assert all(name in call.out for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("plan --profile tinny", "did you mean 'tiny'"),
        ("plan --profile tiny --matrix walktrough", "did you mean 'walkthrough'"),
        ("plan --profile tiny --only bakbone=tiny_pixtral", "did you mean 'backbone'"),
        ("plan --profile paper --matrix tiny", "choose a published model"),
        ("plan --profile tiny --gpu h10", "no GPU 'h10' in params/gpus.yaml; did you mean 'h100'"),
        ("plan --profile tiny --csv nowhere/plan.csv", "--csv nowhere/plan.csv: No such file"),
        ("plan --profile tiny --rate 0", "--rate 0: give the scored pairs per second"),
        ("run 04_train_reader -p sed 1", "did you mean 'seed'"),
        ("run 04_train_reader -p benchmark retnia", "did you mean 'retina'"),
        ("run 04_train_reader -p overrides stage2.setps:3", "overrides"),
        ('run 04_train_reader -p overrides {"stage2.setps":3}', "did you mean 'steps'"),
        ("run 04_train_reader -p seed", "expected -p NAME VALUE, got '-p seed'"),
        ("run 04_train_reader seed 1", "expected -p NAME VALUE, got 'seed 1'"),
        ("run 44_train_reader", "did you mean '04_train_reader'"),
        ("check-data --profile retina_small", "set JOMED_DATA to the data's folder"),
        ("finetune --profile tiny --backbone tiny_pixtrl", "did you mean 'tiny_pixtral'"),
        ("export-llamafactory --profile tiny --benchmark retnia --out x", "did you mean 'retina'"),
        ("matrix --profile retina_small", "set JOMED_DATA to the data's folder"),
    ],
)
def test_wrong_words_end_with_a_message_and_no_traceback(
    call: Command, project: Path, words: str, message: str
) -> None:
    assert call(*words.split()) == 1
    assert message in call.err
    assert "Traceback" not in call.err
    assert not (project / "runs").exists()


def test_plan_lists_states_and_runs_nothing(call: Command, project: Path) -> None:
    first = tasks("tiny")[0]
    first.target.parent.mkdir(parents=True)
    first.target.write_text("{}")
    assert call("plan", "--profile", "tiny", "--only", "benchmark=retina") == 0
    listed = call.out.partition("\n\n")[0] + "\n"
    lines = [line.split("  ", 1) for line in listed.splitlines()]
    found = {title.strip(): state.strip() for title, state in lines[:-1]}
    assert found["01_prepare_corpora all"] == "done"
    assert found["02_prepare_benchmarks retina"] == "ready"
    wait = "waiting for 04_train_reader retina.tiny_pixtral.s0"
    assert found["05_train_retriever retina.tiny_pixtral.s0"] == wait
    assert listed.splitlines()[-1] == "1 of 10 done"
    assert list(project.glob("runs/*/*/*")) == [first.target]
    assert call("matrix", "--profile", "tiny", "--only", "benchmark=retina", "--dry-run") == 0
    assert call.out == listed


def test_plan_estimates_every_run(call: Command, tmp_path: Path) -> None:
    file = tmp_path / "plan.csv"
    assert call("plan", "--profile", "paper", "--gpu", "h100", "--csv", str(file)) == 0
    assert "breast.qwen2_vl_7b         3       546/78/156" in call.out
    assert "of the dense bfloat16 peak of NVIDIA H100 SXM, 989 TFLOP/s" in call.out
    assert len(file.read_text().splitlines()) == 1 + 8 * 2
    assert call("plan", "--profile", "tiny", "--only", "benchmark=retina", "--rate", "5") == 0
    assert "Estimated, not measured." in call.out
    assert "the given rate, 5 scored pairs/s" in call.out
    assert "All 2 runs:" in call.out


def test_planning_loads_no_deep_learning_library() -> None:
    code = "import sys, jomed.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", code), check=False).returncode == 0


def test_a_finished_matrix_starts_nothing(
    call: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task in tasks("tiny"):
        task.target.parent.mkdir(parents=True, exist_ok=True)
        task.target.write_text("{}")
    monkeypatch.setattr("subprocess.Popen", None)
    assert call("matrix", "--profile", "tiny") == 0
    assert "nothing to do: all 28 notebooks are executed" in call.out


def test_two_at_once_are_refused(call: Command, project: Path) -> None:
    with locked(project / "runs/tiny/executed/.matrix.lock", wait=False):
        assert call("matrix", "--profile", "tiny") == 1
    assert "another `jomed matrix` runs profile 'tiny'" in call.err


def test_run_prints_the_path_or_the_error(call: Command, project: Path) -> None:
    parameters = "profile = 'tiny'\nseed = 0\noverrides = None\nruns_dir = None"
    write_notebook(project, "06_evaluate", parameters, "assert seed == 1, 'not one'")
    assert call("run", "06_evaluate", "-p", "seed", "1") == 0
    executed = Path(call.out.strip())
    assert executed.parent == project / "runs/tiny/executed"
    assert executed.name.startswith("06_evaluate.retina.tiny_qwen2vl.s1.")
    assert json.loads(executed.read_text())["cells"]
    assert call("run", "06_evaluate") == 1
    assert "AssertionError: not one" in call.err
    assert ".failed.ipynb" in call.err


@pytest.mark.parametrize("command", ["finetune", "export-llamafactory --out exported"])
def test_stage_1_says_which_notebook_must_come_first(
    call: Command, project: Path, command: str
) -> None:
    assert call(*command.split(), "--profile", "tiny") == 1
    assert "notebooks/02_prepare_benchmarks.ipynb" in call.err
    assert "Traceback" not in call.err
    assert not Path("exported").exists()


def test_check_data_reads_what_is_there(call: Command, project: Path) -> None:
    assert call("check-data", "--profile", "tiny") == 0
    assert "needs no data" in call.out
    config = load_config("tiny")
    root = provide_data(config)
    assert call("check-data", "--profile", "tiny") == 0
    rows = {
        line.split()[1]: line.split() for line in call.out.splitlines() if len(line.split()) > 7
    }
    assert all(rows[name][0] in ("present", "partial") for name in config.data.corpora)
    assert rows["retina"][:6] == ["present", "retina", "*", "46", "0", "46"]
    assert "credentialed PhysioNet Credentialed Health Data License 1.5.0" in call.out

    (root / config.benchmark.path).write_bytes(b"PK")
    questions = root / load_config("tiny", benchmark="vqa_rad").benchmark.path
    shutil.rmtree(questions)
    assert call("check-data", "--profile", "tiny") == 1
    assert "\ncorrupt  retina *" in call.out
    assert "a truncated download?" in call.out
    assert "\nmissing  vqa_rad *" in call.out
    assert "profile 'tiny' lacks: retina, vqa_rad" in call.err
    assert call("check-data", "--data-dir", str(root), "--images", "0") == 1
    assert "partial  roco *" in call.out
    assert call("check-data", "--data-dir", str(root / "nothing")) == 2
