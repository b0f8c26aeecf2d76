import json

import numpy as np
import open_clip
import pytest
import tiny_clip
import torch

from jomed.config import load_config
from jomed.retrieval.encoders import (
    CONFIG_FILE,
    Encoder,
    EncoderError,
    load_encoder,
    open_encoder,
    save_encoder,
    weights_hash,
)


def test_saved_model_reads_back_with_the_same_vectors(tmp_path):
    model = tiny_clip.tiny_model().eval()
    encoder = tiny_clip.tiny_encoder(tmp_path)
    image = tiny_clip.draw(1)
    with torch.no_grad():
        expected = model.encode_image(encoder.preprocess(image)[None], normalize=True)
        tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path}")(["a scan"])
        expected_text = model.encode_text(tokens, normalize=True)
    np.testing.assert_allclose(encoder.encode_images([image]), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts(["a scan"]), expected_text, atol=1e-6)


def test_vectors_are_unit_float32_in_input_order_over_batches(tmp_path):
    encoder = tiny_clip.tiny_encoder(tmp_path, batch_size=3)
    images = [tiny_clip.draw(seed) for seed in range(7)]
    vectors = encoder.encode_images(images)
    texts = encoder.encode_texts([f"text {n}" for n in range(7)])
    assert vectors.shape == texts.shape == (7, encoder.dim) == (7, 12)
    assert vectors.dtype == texts.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1.0, atol=1e-6)
    alone = np.concatenate([encoder.encode_images([image]) for image in images])
    np.testing.assert_allclose(vectors, alone, atol=1e-6)
    assert encoder.pixels(images).shape == (7, 3, tiny_clip.SIDE, tiny_clip.SIDE)
    assert encoder.encode_images([]).shape == (0, 12)


def test_key_tells_weights_and_preprocessing_apart(tmp_path):
    encoder = tiny_clip.tiny_encoder(tmp_path / "a")
    assert encoder.key == open_encoder(tmp_path / "a", "other name", 8).key
    assert encoder.key != tiny_clip.tiny_encoder(tmp_path / "b", seed=1).key
    config = json.loads(json.dumps(tiny_clip.CONFIG))
    config["preprocess_cfg"]["mean"] = [0.4, 0.5, 0.5]
    save_encoder(tiny_clip.tiny_model(), config, tmp_path / "c")
    assert encoder.key != open_encoder(tmp_path / "c", "tiny", 3).key


def test_weights_hash_sees_one_changed_weight():
    model = torch.nn.Linear(2, 2)
    before = weights_hash(model)
    assert before == weights_hash(model)
    model.weight.data[0, 0] += 1e-6 + abs(model.weight.data[0, 0]) * 1e-3
    assert weights_hash(model) != before


def test_encoder_is_frozen(tmp_path):
    tower = tiny_clip.tiny_encoder(tmp_path).image_tower
    assert not tower.training
    assert not any(parameter.requires_grad for parameter in tower.parameters())


def test_load_encoder_prefers_the_given_folder(tmp_path):
    tiny_clip.tiny_encoder(tmp_path / "encoder")
    config = load_config(profile="tiny", runs_dir=tmp_path)
    encoder = load_encoder(config, tmp_path / "encoder")
    assert (encoder.name, encoder.dim) == (config.encoder.name, 12)
    assert encoder.batch_size == config.encoder.batch_size
    with pytest.raises(EncoderError, match="no model_id"):
        load_encoder(config)


def test_absent_hub_model_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    config = load_config(
        profile="tiny",
        runs_dir=tmp_path,
        overrides={"encoder.model_id": "hf-hub:nobody/no-such-model", "encoder.tiny": None},
    )
    with pytest.raises(EncoderError, match="hf download nobody/no-such-model"):
        load_encoder(config)


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(EncoderError, match=CONFIG_FILE):
        open_encoder(tmp_path, "tiny", 4)
    with pytest.raises(EncoderError, match="preprocess_cfg"):
        save_encoder(tiny_clip.tiny_model(), {"model_cfg": tiny_clip.MODEL_CFG}, tmp_path)
    (tmp_path / CONFIG_FILE).write_text(json.dumps(tiny_clip.CONFIG))
    with pytest.raises(EncoderError, match="cannot load"):  # no weights
        open_encoder(tmp_path, "tiny", 4)
    remote = {**tiny_clip.MODEL_CFG, "text_cfg": {"tokenizer_kwargs": {"trust_remote_code": True}}}
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"model_cfg": remote}))
    with pytest.raises(EncoderError, match="trust_remote_code"):
        open_encoder(tmp_path, "tiny", 4)


def test_model_without_two_towers_is_refused():
    with pytest.raises(EncoderError, match="two-tower"):
        Encoder("linear", torch.nn.Linear(1, 1), None, None, 1)
