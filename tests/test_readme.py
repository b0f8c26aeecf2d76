"""What the README says can be done, can be done."""

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from jomed.config import ConfigError, configure, load_config, project_root
from jomed.notebooks import notebook_parameters
from jomed.runner import parameter_value

ROOT = project_root()
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
LOOKS = [c for c in COMMANDS if c.startswith("python -m jomed") and " run " not in c]
EXECUTES = [c for c in COMMANDS if c.startswith("papermill ") or " run " in c]
TARGETS = [c for c in COMMANDS if c.startswith("make")]
# Folders that a first run makes, and an address below the data folder.
MADE = ("tables/phantom/", "figures/phantom/", "runs/")


def call(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def parts(command: str) -> tuple[Path, dict[str, object]]:
    """The notebook of a command and the parameters that it gives."""
    words = shlex.split(command)
    given = {words[i + 1]: parameter_value(words[i + 2]) for i, w in enumerate(words) if w == "-p"}
    name = words[1] if words[0] == "papermill" else f"notebooks/{words[4]}.ipynb"
    return ROOT / name, given


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))


def test_every_command_is_checked_by_a_test_below() -> None:
    assert sorted(LOOKS + EXECUTES + TARGETS) == sorted(COMMANDS)
    assert LOOKS
    assert EXECUTES
    assert "make reproduce" in TARGETS


@pytest.mark.parametrize("command", TARGETS)
def test_a_target_is_in_the_makefile(command: str) -> None:
    assert set(shlex.split(command)[1:]) <= make_targets()


def test_targets_in_the_text_are_in_the_makefile() -> None:
    named = set(re.findall(r"`make ([a-z-]+)`", README))
    assert {"setup", "reproduce", "test", "retina-small"} <= named <= make_targets()


@pytest.mark.parametrize("command", LOOKS)
def test_a_command_that_only_looks_works(command: str, tmp_path: Path) -> None:
    done = call(sys.executable, *shlex.split(command)[1:], JOMED_RUNS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert re.search(r"Usage|\b0 of \d+ done|no score tables in .* yet", done.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", EXECUTES)
def test_a_notebook_takes_the_parameters_that_a_command_gives(command: str) -> None:
    notebook, given = parts(command)
    known = notebook_parameters(notebook)
    assert given.keys() <= known.keys()
    assert configure({**known, **given}).profile


@pytest.mark.parametrize("command", EXECUTES)
def test_a_misspelt_parameter_is_named(command: str) -> None:
    notebook, given = parts(command)
    with pytest.raises(ConfigError, match="'benchmrak'; did you mean 'benchmark'"):
        configure({**notebook_parameters(notebook), **given, "benchmrak": "derma"})


def test_papermill_stops_at_a_misspelt_parameter(tmp_path: Path) -> None:
    done = call(
        sys.executable, "-m", "papermill", "notebooks/02_prepare_benchmarks.ipynb",
        str(tmp_path / "out.ipynb"), "--no-progress-bar", "-p", "benchmrak", "derma",
        JOMED_RUNS=str(tmp_path / "runs"),
    )  # fmt: skip
    assert done.returncode != 0
    assert "unknown parameter 'benchmrak'; did you mean 'benchmark'?" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("profile", re.findall(r"--profile (\w+)", README))
def test_profiles_exist(profile: str) -> None:
    assert (ROOT / "params" / "profiles" / f"{profile}.yaml").is_file()


def test_every_path_exists() -> None:
    spoken = re.findall(r"`([^`\s]+)`", README) + re.findall(r"\]\(([^)\s]+)\)", README)
    tops = {path.name for path in ROOT.iterdir()} | {made.split("/")[0] for made in MADE}
    paths = [path for path in spoken if "://" not in path and path.split("/")[0] in tops]
    assert len(paths) > 20
    absent = [path for path in paths if not path.startswith(MADE) and not (ROOT / path).exists()]
    assert absent == []


def test_every_notebook_is_in_the_map() -> None:
    listed = re.findall(r"^\| `(notebooks/\S+\.ipynb)` \|", README, re.MULTILINE)
    found = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert listed == found


@pytest.mark.parametrize("code", blocks("python"))
def test_names_in_the_python_code_exist(code: str) -> None:
    tree = ast.parse(code)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert imports
    for node in imports:
        module = importlib.import_module(str(node.module))
        assert all(hasattr(module, alias.name) for alias in node.names)


def test_the_number_of_benchmarks_is_right() -> None:
    titles = [
        load_config(benchmark=path.stem).benchmark.title
        for path in (ROOT / "params" / "benchmarks").glob("*.yaml")
    ]
    assert len(titles) == 8
    assert all(title in README for title in titles)
