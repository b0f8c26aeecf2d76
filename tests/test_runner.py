"""One notebook through papermill: refused early, in place late."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_project import SHARED, make_project, write_notebook

from jomed.config import ConfigError
from jomed.notebooks import notebook_parameters
from jomed.runner import (
    MATRIX_PID,
    NotebookError,
    cell_error,
    end_with_matrix,
    parameter_value,
    run_notebook,
)

PARAMETERS = f"profile = 'tiny'\nseed: int = 0\n{SHARED}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOMED_ROOT", str(tmp_path))
    monkeypatch.setenv("JOMED_RUNS", "out")
    monkeypatch.setenv("JOMED_PROGRESS", "1")
    return make_project(tmp_path)


def executed(project: Path) -> list[str]:
    return sorted(path.name for path in project.glob("out/*/executed/*"))


def test_unknown_parameters_are_refused_before_anything_starts(project: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"reader\.ipynb: unknown parameter 'sed'; did you mean 'seed'"
    ):
        run_notebook("04_train_reader", {"sed": 1})
    with pytest.raises(ConfigError, match="unknown parameter 'matrix'"):
        run_notebook("04_train_reader", {"matrix": "tiny"})
    with pytest.raises(ConfigError, match="seed"):
        run_notebook("04_train_reader", {"seed": "one"})
    with pytest.raises(
        ConfigError, match=r"'04_train_raeder' in .*; did you mean '04_train_reader'"
    ):
        run_notebook("04_train_raeder", {})
    assert not (project / "out").exists()


def test_a_notebook_is_in_place_only_when_it_ran_to_its_end(project: Path) -> None:
    code = (
        "import os, pathlib\n"
        "here = sorted(path.name for path in pathlib.Path('out/tiny/executed').iterdir())\n"
        "print(seed, os.environ['JOMED_PROGRESS'], here)\n"
        "assert seed != 3, 'three is \\x1b[31mtoo\\x1b[0m many'"
    )
    write_notebook(project, "01_prepare_corpora", PARAMETERS, code)
    target = run_notebook("01_prepare_corpora", {"seed": 2})
    assert executed(project) == [target.name]
    cells = json.loads(target.read_text())["cells"]
    text = "".join(line for line in cells[-1]["outputs"][0]["text"])
    running = target.name.removesuffix(".ipynb") + ".running.ipynb"
    assert text == f"2 0 [{running!r}]\n"

    with pytest.raises(NotebookError) as caught:
        run_notebook("01_prepare_corpora", {"seed": 3})
    failed = caught.value.failed
    assert failed.name == target.name.removesuffix(".ipynb") + ".failed.ipynb"
    assert cell_error(failed) == "cell [3]: AssertionError: three is too many"
    assert str(failed) in str(caught.value)
    # 01 does not depend on the seed: the failed notebook lies beside the one that was made before
    assert executed(project) == sorted([target.name, failed.name])
    assert run_notebook("01_prepare_corpora", {"seed": 2}) == target
    assert executed(project) == [target.name]


def test_a_dead_kernel_is_a_failure(project: Path) -> None:
    write_notebook(project, "01_prepare_corpora", PARAMETERS, "import os; os._exit(1)")
    with pytest.raises(NotebookError, match="kernel died"):
        run_notebook("01_prepare_corpora", {})
    assert [name.endswith(".failed.ipynb") for name in executed(project)] == [True]


def test_parameters_are_read_and_not_run(project: Path) -> None:
    text = "# a comment\nprofile: str = 'tiny'\nseed = -1\noverrides = {'stage2.steps': 2}\nprint()"
    path = write_notebook(project, "mine", text, "")
    wanted = {"profile": "tiny", "seed": -1, "overrides": {"stage2.steps": 2}}
    assert notebook_parameters(path) == wanted
    path = write_notebook(project, "mine", "seed = int('1')", "")
    with pytest.raises(ConfigError, match="'seed' is not a plain value"):
        notebook_parameters(path)
    path.write_text(path.read_text().replace("parameters", "parametres"))
    with pytest.raises(ConfigError, match="0 cells have the tag 'parameters'"):
        notebook_parameters(path)
    path.write_text("[]")
    with pytest.raises(ConfigError, match="not a notebook"):
        notebook_parameters(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("3", 3), ("-1", -1), ("1e-4", 1e-4), ("null", None), ("true", True)],
        *[("retina", "retina"), ("2026-01-02", "2026-01-02"), ("", "")],
        ('{"stage2.steps": 2}', {"stage2.steps": 2}),
    ],
)
def test_values_from_the_command_line(text: str, value: object) -> None:
    found = parameter_value(text)
    assert found == value
    assert type(found) is type(value)


def test_a_job_ends_soon_after_its_matrix_was_killed() -> None:
    matrix = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    code = (
        "import time; from jomed.runner import end_with_matrix; end_with_matrix(); "
        "print('up', flush=True); time.sleep(60)"
    )
    environment = os.environ | {MATRIX_PID: str(matrix.pid)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE
    ) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == b"up\n"
        assert job.poll() is None
        matrix.kill()
        matrix.communicate()
        assert job.wait(timeout=10) == 1


def test_without_a_matrix_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MATRIX_PID, raising=False)
    started: list[object] = []
    monkeypatch.setattr("threading.Thread.start", lambda self: started.append(self))
    end_with_matrix()
    assert started == []
