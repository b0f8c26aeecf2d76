"""Pre-training of tiny models: it learns, it is repeatable, and what it saves can be opened."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jomed.config import RunConfig, load_config
from jomed.phantom.general import GeneralPair, general_address, write_general
from jomed.phantom.pretrain_encoder import pretrain_encoder
from jomed.phantom.pretrain_reader import pretrain_reader
from jomed.reading.answers import AnswerSet
from jomed.reading.prompts import Prompt
from jomed.reading.reader import Reader
from jomed.retrieval.encoders import WEIGHTS_FILE, load_encoder

COLOURS = ("red", "green", "blue", "grey")
STEPS = 30


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("general")
    write_general(folder, [picture(place) for place in range(24)], pairs())
    return folder


def picture(place: int) -> np.ndarray:
    image = np.random.default_rng(place).integers(0, 60, (56, 56, 3), dtype=np.uint8)
    image[..., [place % 4] if place % 4 < 3 else [0, 1, 2]] += 150
    return image


def pairs() -> list[GeneralPair]:
    return [
        GeneralPair(
            general_address(place),
            f"a {COLOURS[place % 4]} square",
            (("which colour does the background report?", COLOURS[place % 4]),),
            (("which colour has the last image?", COLOURS[place % 4]),),
        )
        for place in range(24)
    ]


def config(backbone: str = "tiny_qwen2vl", **tiny: object) -> RunConfig:
    changes = {"batch_size": 12, "steps": STEPS, "learning_rate": 3e-3, **tiny}
    overrides = {f"{part}.tiny.{key}": value for part in ("encoder", "backbone")
                 for key, value in changes.items()}  # fmt: skip
    small = {"backbone.tiny.hidden": 32, "backbone.tiny.vision_hidden": 16}
    small |= {"backbone.tiny.layers": 2, "backbone.tiny.vision_layers": 1}
    return load_config("tiny", backbone=backbone, overrides={**overrides, **small})


def test_the_encoder_learns_which_text_belongs_to_which_image(root: Path, tmp_path: Path) -> None:
    settings = config()
    losses = pretrain_encoder(settings, pairs(), root, tmp_path)
    assert len(losses) == STEPS
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2
    encoder = load_encoder(settings, tmp_path)
    images = encoder.encode_images([Image.fromarray(picture(place)) for place in range(4)])
    texts = encoder.encode_texts([f"a {colour} square" for colour in COLOURS])
    assert images.shape == texts.shape == (4, settings.encoder.tiny.dim)  # type: ignore[union-attr]
    assert (images @ texts.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("backbone", ["tiny_qwen2vl", "tiny_pixtral"])
def test_the_reader_learns_to_answer_from_the_text(
    backbone: str, root: Path, tmp_path: Path
) -> None:
    settings = config(backbone)
    losses = pretrain_reader(settings, pairs(), root, tmp_path)
    assert len(losses) == STEPS
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 1.0
    reader = Reader.load(settings, tmp_path, None, root)
    prompt = Prompt(general_address(0), "a red square", general_address(1), pairs()[0].tasks[0][0])
    scores = reader.score([prompt], AnswerSet(COLOURS))
    assert scores.shape == (1, 4)
    assert np.isfinite(scores).all()
    # Each word with the end after it is two tokens: by chance one of some 10,000 such pairs.
    assert np.exp(scores).sum() > 0.02


def test_pre_training_of_the_encoder_is_repeatable(root: Path, tmp_path: Path) -> None:
    settings, folders = config(steps=2), (tmp_path / "one", tmp_path / "two")
    first = pretrain_encoder(settings, pairs(), root, folders[0])
    torch.manual_seed(99)
    assert pretrain_encoder(settings, pairs(), root, folders[1]) == first
    one, two = ((folder / WEIGHTS_FILE).read_bytes() for folder in folders)
    assert one == two


def test_a_reader_is_repeatable_and_the_same_for_every_benchmark(
    root: Path, tmp_path: Path
) -> None:
    first = config(steps=2)
    second = first.model_copy(update={"benchmark": load_config("tiny", "vqa_rad").benchmark})
    folders = (tmp_path / "one", tmp_path / "two")
    losses = pretrain_reader(first, pairs(), root, folders[0])
    torch.manual_seed(99)
    assert pretrain_reader(second, pairs(), root, folders[1]) == losses
    for name in ("model.safetensors", "tokenizer.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_labels_of_the_benchmark_are_words_of_the_reader(root: Path, tmp_path: Path) -> None:
    settings = config(steps=1)
    pretrain_reader(settings, pairs(), root, tmp_path)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert {*settings.benchmark.answers, "Yes", "No", "retinopathy"} <= vocabulary.keys()


def test_a_published_model_is_not_pre_trained(root: Path, tmp_path: Path) -> None:
    published = load_config("paper", backbone="qwen2_vl_7b", encoder="biomedclip")
    for train in (pretrain_encoder, pretrain_reader):
        with pytest.raises(ValueError, match="is a published model, not a tiny one"):
            train(published, pairs(), root, tmp_path)
    assert list(tmp_path.iterdir()) == []
