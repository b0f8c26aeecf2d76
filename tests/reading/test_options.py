"""Attention kernels and quantisation: what is taken, what is refused, and that both are named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from reading_cases import PROMPTS, make_config
from tiny_models import save_reader

from jomed.reading import options
from jomed.reading.answers import AnswerSet
from jomed.reading.options import attention_kernels, quantised_loading
from jomed.reading.packing import ReaderError
from jomed.reading.reader import Reader

ONE_TOKEN, SEVERAL = AnswerSet(("0", "1", "2")), AnswerSet(("yes", "no", "3, 7", "3"))


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with CUDA and flash attention, as far as settings are concerned."""
    monkeypatch.setattr(options, "is_flash_attn_2_available", lambda: True)
    monkeypatch.setattr(options, "resolve_device", lambda config: torch.device("cuda"))


def kernels(asked: str, dtype: str = "bfloat16") -> tuple[str, str]:
    config = make_config(backbone__attention=asked, backbone__dtype=dtype)
    by_part = attention_kernels(config)
    assert by_part[""] == by_part["text_config"]
    return by_part["text_config"], by_part["vision_config"]


def test_auto_is_flash_attention_in_the_vision_tower_alone(flash: None) -> None:
    assert kernels("auto") == ("sdpa", "flash_attention_2")
    assert kernels("auto", "float32") == ("sdpa", "sdpa")
    assert kernels("flash_attention_2") == ("flash_attention_2", "flash_attention_2")


def test_without_flash_attention_auto_is_sdpa_and_asking_for_it_an_error() -> None:
    assert kernels("auto") == kernels("sdpa") == ("sdpa", "sdpa")
    assert kernels("eager") == ("eager", "eager")
    with pytest.raises(ReaderError, match="needs the package flash_attn, a CUDA device"):
        kernels("flash_attention_2")


def test_flash_attention_is_refused_for_answers_of_several_tokens(
    load_reader: Callable[..., Reader],
) -> None:
    reader = load_reader("qwen2_vl")
    reader.model.config.text_config._attn_implementation = "flash_attention_2"
    with pytest.raises(ReaderError, match=r"set backbone\.attention to 'auto' or 'sdpa'"):
        reader.score(PROMPTS, SEVERAL)


def test_eager_attention_scores_the_same_under_another_key(
    family: str, load_reader: Callable[..., Reader]
) -> None:
    plain, eager = load_reader(family), load_reader(family, backbone__attention="eager")
    for answers in (ONE_TOKEN, SEVERAL):
        np.testing.assert_allclose(
            eager.score(PROMPTS, answers), plain.score(PROMPTS, answers), atol=1e-4
        )
    # "auto" is sdpa here, and only what was taken counts.
    auto = load_reader(family, backbone__attention="auto")
    assert auto.key == plain.key != eager.key


def test_missing_bitsandbytes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert quantised_loading(make_config()) == {}
    monkeypatch.setattr(options, "is_bitsandbytes_available", lambda: False)
    with pytest.raises(ReaderError, match=r"'4bit' needs .* pip install 'jomed\[quant\]'"):
        quantised_loading(make_config(backbone__quantisation="4bit"))


@pytest.mark.parametrize(("quantised", "kind"), [("8bit", "Linear8bitLt"), ("4bit", "Linear4bit")])
def test_a_quantised_reader_scores_nearly_the_same(
    family: str, quantised: str, kind: str, tmp_path: Path, image_root: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    # Weights are quantised in blocks of 64.
    folder = save_reader(tmp_path, family, hidden=64)
    plain = Reader.load(make_config(family), folder, None, image_root)
    config = make_config(family, backbone__quantisation=quantised)
    reader = Reader.load(config, folder, None, image_root)
    kinds: dict[str, set[str]] = {"text": set(), "vision": set(), "head": set()}
    for name, module in reader.model.named_modules():
        if isinstance(module, torch.nn.Linear):
            part = "text" if "language_model" in name else "vision"
            kinds["head" if name == "lm_head" else part].add(type(module).__name__)
    assert kinds == {"text": {kind}, "vision": {"Linear"}, "head": {"Linear"}}
    assert reader.key != plain.key
    expected = plain.score(PROMPTS, SEVERAL)
    error = np.abs(reader.score(PROMPTS, SEVERAL) - expected).max()
    spread = expected.max(axis=1) - expected.min(axis=1)
    assert 0 < error < (0.05 if quantised == "8bit" else 0.4) * spread.min()
    assert len(reader.generate(PROMPTS[:1], max_new_tokens=2)) == 1


def test_the_key_names_the_pixel_budget(load_reader: Callable[..., Reader]) -> None:
    plain, limited = load_reader("qwen2_vl"), load_reader("qwen2_vl", prompt__max_pixels=400)
    assert plain.key != limited.key
    assert len(limited.packer.snippet("c.png").ids) < len(plain.packer.snippet("c.png").ids)
