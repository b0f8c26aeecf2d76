"""Readers from folders and from the hub's cache, and what is said where a part is missing."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from reading_cases import PROMPTS, make_config
from safetensors.torch import load, save_file
from tiny_models import save_reader

from jomed.artifacts import stamp
from jomed.config import RunConfig, load_config, project_root
from jomed.reading.answers import AnswerSet
from jomed.reading.loading import load_base
from jomed.reading.packing import ReaderError
from jomed.reading.reader import Reader
from jomed.reading.sources import find_source, named_model

ID, COMMIT = "owner/reader-2b", "0123456789abcdef0123456789abcdef01234567"
ANSWERS = AnswerSet(("0", "1"))


def paper_config(overrides: dict[str, object]) -> RunConfig:
    return load_config("paper", "retina", "qwen2_vl_2b", "biomedclip", overrides=overrides)


@pytest.fixture
def folder(reader_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A reader's folder that a test may break."""
    return shutil.copytree(reader_folders["qwen2_vl"], tmp_path / "model")


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub, without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hub"


@pytest.fixture
def cached(cache: Path, folder: Path) -> Path:
    """The folder of a model in the cache, as a download leaves it."""
    stored = cache / "models--owner--reader-2b"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / "main").write_text(COMMIT)
    return shutil.copytree(folder, stored / "snapshots" / COMMIT)


def test_a_model_is_a_folder_or_a_hub_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_MODELS", str(tmp_path))
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert named_model("$MY_MODELS/a/b") == named_model(f"{tmp_path}/a/b") == tmp_path / "a" / "b"
    assert named_model("$MY_MODELS") == tmp_path
    assert named_model("params/backbones") == project_root() / "params" / "backbones"
    assert named_model("Qwen/Qwen2-VL-7B-Instruct") == "Qwen/Qwen2-VL-7B-Instruct"
    monkeypatch.delenv("MY_MODELS")
    with pytest.raises(ReaderError, match="the environment variable MY_MODELS is not set"):
        named_model("$MY_MODELS/a/b")
    for absent in (f"{tmp_path}/c", "./c/d", "c", "~/nothing/here"):
        with pytest.raises(ReaderError, match="no such folder"):
            named_model(absent)


def test_where_a_folder_lies_is_no_part_of_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = set()
    for place in ("/a", "/b"):
        monkeypatch.setenv("MY_MODELS", place)
        config = paper_config({"backbone.model_id": "$MY_MODELS/qwen"})
        hashes.add(config.hash)
        assert stamp(config)["models"]["qwen2_vl_2b"] == "$MY_MODELS/qwen"
    assert len(hashes) == 1


def test_a_published_model_is_read_from_the_cache_and_named_by_its_commit(
    cached: Path, folder: Path, image_root: Path
) -> None:
    own = Reader.load(make_config(), folder, None, image_root)
    for revision in (None, COMMIT, "main"):
        config = make_config(backbone__revision=revision)
        assert find_source(config, ID).published == f"{ID}@{COMMIT}"
        reader = Reader.load(config, ID, None, image_root)
        assert (reader.score(PROMPTS, ANSWERS) == own.score(PROMPTS, ANSWERS)).all()
        assert reader.key != own.key
    moved = cached.rename(cached.with_name(COMMIT.replace("0", "f")))
    other = Reader.load(make_config(backbone__revision=moved.name), ID, None, image_root)
    assert other.key != reader.key


def test_the_stamp_names_the_commit_that_the_cache_holds(cached: Path) -> None:
    overrides = {"backbone.model_id": ID, "backbone.quantisation": "4bit"}
    config = paper_config(overrides)
    full = stamp(config)
    assert full["models"]["qwen2_vl_2b"] == f"{ID}@{COMMIT}"
    assert full["reader"] == {"dtype": "bfloat16", "attention": "auto", "quantisation": "4bit"}


def test_a_run_that_counts_is_asked_to_pin_its_model(cached: Path) -> None:
    config = paper_config({"backbone.model_id": ID})
    with pytest.warns(UserWarning, match="backbone.revision is null, so the newest owner/reader"):
        find_source(config, ID)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_source(make_config(), ID)


@pytest.mark.parametrize(("revision", "shown"), [(None, ID), (COMMIT, f"{ID} --revision {COMMIT}")])
def test_what_is_not_in_the_cache_is_named_with_the_command(
    cache: Path, revision: str | None, shown: str
) -> None:
    with pytest.raises(ReaderError, match=f"HF_HUB_OFFLINE is set; .*hf download {shown}$"):
        find_source(make_config(backbone__revision=revision), ID)


def test_half_a_download_says_how_to_complete_it(cached: Path) -> None:
    (cached / "model.safetensors").unlink()
    with pytest.raises(ReaderError, match=rf"{ID}@{COMMIT}: no weights .*hf download {ID}"):
        find_source(make_config(), ID)


def test_a_folder_has_no_revision(folder: Path) -> None:
    with pytest.raises(ReaderError, match=r"set backbone\.revision to null"):
        find_source(make_config(backbone__revision="main"), folder)


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        (("config.json",), "no settings of the model"),
        (("model.safetensors",), r"no weights as safetensors \(model.safetensors or"),
        (("processor_config.json",), "no settings of the image processor"),
        (("tokenizer.json",), "no tokenizer"),
        (("chat_template.jinja",), "no chat template"),
    ],
)
def test_every_missing_part_is_named(folder: Path, absent: tuple[str, ...], message: str) -> None:
    for name in absent:
        (folder / name).unlink()
    with pytest.raises(ReaderError, match=f"{message}.*copy all files of the published model"):
        load_base(make_config(), folder)


def test_pickled_weights_are_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ReaderError, match=r"only pytorch_model\.bin, which may run code"):
        load_base(make_config(), folder)


def test_missing_shards_and_broken_or_partial_weights_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load(weights.read_bytes())
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ReaderError, match="broken weights"):
        load_base(make_config(), folder)
    first = min(tensors)
    save_file({name: t for name, t in tensors.items() if name != first}, weights, {"format": "pt"})
    with pytest.raises(ReaderError, match="without 1 of the model's parameters"):
        load_base(make_config(), folder)
    weights.unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}))
    (folder / "1.safetensors").touch()
    with pytest.raises(ReaderError, match=r"1 of 2 files of weights are missing \(2.safetensors\)"):
        load_base(make_config(), folder)
    index.write_text("{")
    with pytest.raises(ReaderError, match=r"index\.json cannot be read"):
        load_base(make_config(), folder)


def test_a_model_of_another_family_is_refused(reader_folders: dict[str, Path]) -> None:
    with pytest.raises(ReaderError, match=r"type 'qwen2_vl', and backbone\.family 'qwen2_5_vl'"):
        load_base(make_config("qwen2_5_vl"), reader_folders["qwen2_vl"])


def test_tied_embeddings_are_no_missing_weights(tmp_path: Path, image_root: Path) -> None:
    folder = save_reader(tmp_path / "tied", "qwen2_vl", tied=True)
    assert "lm_head.weight" not in load((folder / "model.safetensors").read_bytes())
    reader = Reader.load(make_config(), folder, None, image_root)
    head, embedding = reader.model.lm_head.weight, reader.model.get_input_embeddings().weight
    assert torch.equal(head, embedding)


def test_a_reader_without_an_end_of_turn_is_refused(
    folder: Path, load_reader: Callable[..., Reader]
) -> None:
    processor = load_reader("qwen2_vl").packer.processor
    processor.tokenizer.eos_token = None
    processor.save_pretrained(folder)
    with pytest.raises(ReaderError, match="no end-of-turn token"):
        load_base(make_config(), folder)
