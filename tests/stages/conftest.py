"""One whole run of the tiny profile, made once, that the tests of the stages look at."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["JOMED_PROGRESS"] = "0"

from tiny_run import OVERRIDES, Run, whole_run

from jomed.config import load_config


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def run(runs_dir: Path) -> Run:
    """RetinaMNIST, single label."""
    return whole_run(load_config("tiny", overrides=OVERRIDES, runs_dir=runs_dir))


@pytest.fixture(scope="session")
def asked(runs_dir: Path, run: Run) -> Run:
    """VQA-RAD, closed and open questions, with the other reader; same world, corpus and index."""
    return whole_run(
        load_config("tiny", "vqa_rad", "tiny_pixtral", overrides=OVERRIDES, runs_dir=runs_dir)
    )
