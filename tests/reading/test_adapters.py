"""Broken adapters, and those of other readers, are refused by name; nothing is lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from reading_cases import make_config
from safetensors.torch import load, save_file
from tiny_models import save_reader

from jomed.reading.adapters import quiet_peft
from jomed.reading.loading import load_base
from jomed.reading.packing import ReaderError
from jomed.reading.reader import Reader

AGAIN = "Remove the stage-1 artefact that holds it and run stage 1 again"
WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"


def save_adapter(reader: Path, folder: Path) -> Path:
    with quiet_peft():
        model, _ = load_base(make_config(), reader)
        settings = LoraConfig(r=2, target_modules="all-linear", exclude_modules=r".*merger.*")
        get_peft_model(model, settings).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(reader_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(reader_folders["qwen2_vl"], tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def adapter(whole: Path, tmp_path: Path) -> Path:
    """An adapter that a test may break."""
    return shutil.copytree(whole, tmp_path / "adapter")


def truncate(adapter: Path) -> None:
    (adapter / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:-100])


def drop_a_layer(adapter: Path) -> None:
    tensors = load((adapter / WEIGHTS).read_bytes())
    tensors.pop(min(tensors))
    save_file(tensors, adapter / WEIGHTS)


def reshape_a_layer(adapter: Path) -> None:
    tensors = load((adapter / WEIGHTS).read_bytes())
    first = min(tensors)
    save_file(tensors | {first: tensors[first][:, :1].contiguous()}, adapter / WEIGHTS)


def change_settings(adapter: Path) -> None:
    settings = json.loads((adapter / SETTINGS).read_text())
    (adapter / SETTINGS).write_text(json.dumps(settings | {"target_modules": ["no_such_layer"]}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, rf"{WEIGHTS} is broken"),
        (lambda adapter: (adapter / WEIGHTS).write_bytes(b""), rf"{WEIGHTS} is broken"),
        (lambda adapter: (adapter / WEIGHTS).unlink(), rf"{WEIGHTS} is missing"),
        (lambda adapter: (adapter / SETTINGS).unlink(), rf"{SETTINGS} is missing"),
        (lambda adapter: (adapter / SETTINGS).write_text("{"), rf"{SETTINGS} is broken"),
        (drop_a_layer, r"of another reader \(1 tensors that only one of the two has"),
        (reshape_a_layer, r"of another reader or release .*size mismatch"),
        (change_settings, r"of another reader or release .*target modules"),
    ],
)
def test_a_broken_adapter_is_named_with_what_to_do(
    adapter: Path,
    load_reader: Callable[..., Reader],
    damage: Callable[[Path], object],
    message: str,
) -> None:
    load_reader("qwen2_vl", adapter)
    damage(adapter)
    before = {path.name: path.read_bytes() for path in adapter.iterdir()}
    with pytest.raises(ReaderError, match=f"adapter {adapter}.*{message}.*{AGAIN}"):
        load_reader("qwen2_vl", adapter)
    assert {path.name: path.read_bytes() for path in adapter.iterdir()} == before


@pytest.mark.parametrize("change", [{"hidden": 48}, {"layers": 3}, {"family": "pixtral"}])
def test_the_adapter_of_another_reader_is_refused(
    adapter: Path, tmp_path: Path, image_root: Path, change: dict[str, object]
) -> None:
    given: dict[str, object] = {"family": "qwen2_vl", **change}
    folder = save_reader(tmp_path / "other", **given)  # type: ignore[arg-type]
    with pytest.raises(ReaderError, match=f"of another reader.*{AGAIN}"):
        Reader.load(make_config(str(given["family"])), folder, adapter, image_root)
