"""Tiny readers, images and rows for the tests of this room."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["JOMED_PROGRESS"] = "0"
sys.path.insert(0, str(Path(__file__).parents[1]))

from finetune_cases import CANDIDATES, RECORDS, SAMPLES, STAGE1
from reading_cases import SIZES, make_config
from tiny_models import MAKERS, save_images, save_reader

from jomed.reading.finetune import FinetuneReport, finetune_reader
from jomed.reading.reader import Reader


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_images(tmp_path_factory.mktemp("images"), SIZES)


@pytest.fixture(scope="session")
def reader_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: save_reader(tmp_path_factory.mktemp(family), family) for family in MAKERS}


@pytest.fixture(scope="session", params=sorted(MAKERS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def load_reader(image_root: Path, reader_folders: dict[str, Path]) -> Callable[..., Reader]:
    def load(family: str, adapter: Path | None = None, **overrides: object) -> Reader:
        config = make_config(family, **overrides)
        return Reader.load(config, reader_folders[family], adapter, image_root)

    return load


@pytest.fixture
def reader(family: str, load_reader: Callable[..., Reader]) -> Reader:
    return load_reader(family)


@pytest.fixture
def tune(image_root: Path, reader_folders: dict[str, Path]) -> Callable[..., FinetuneReport]:
    def run(folder: Path, *callbacks: Any, family: str = "qwen2_vl", **overrides: Any) -> Any:
        config = make_config(family, **(STAGE1 | overrides))
        data = (SAMPLES, RECORDS, CANDIDATES, image_root)
        return finetune_reader(config, reader_folders[family], *data, folder, callbacks)

    return run
