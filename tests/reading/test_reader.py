"""Scores and generations against the whole model, fed by the processor alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reading_cases import ONE_TOKEN, PROMPTS, SEVERAL, make_config, naive_score
from safetensors.torch import save_file

from jomed.reading import forward
from jomed.reading.answers import AnswerSet
from jomed.reading.caches import TensorCache
from jomed.reading.loading import align, reader_key
from jomed.reading.packing import ReaderError, model_inputs
from jomed.reading.prompts import Prompt
from jomed.reading.reader import Reader
from jomed.reading.rows import plan_batches


@pytest.mark.parametrize(("answers", "end"), [(ONE_TOKEN, False), (SEVERAL, True)])
def test_scores_equal_those_of_one_full_forward_per_answer(
    reader: Reader, image_root: Path, answers: AnswerSet, end: bool
) -> None:
    expected = [
        [naive_score(reader, prompt, answer, image_root, end) for answer in answers.answers]
        for prompt in PROMPTS
    ]
    scores = reader.score(PROMPTS, answers)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    single = np.concatenate([reader.score([prompt], answers) for prompt in PROMPTS])
    np.testing.assert_allclose(single, scores, atol=1e-4)


def test_a_batch_may_mix_answer_sets(reader: Reader) -> None:
    reader.token_budget = 10_000
    sets = [ONE_TOKEN, SEVERAL, ONE_TOKEN, AnswerSet(("left lung", "right lung")), SEVERAL]
    batches = list(reader.score_batches(PROMPTS, sets))
    assert len(batches) == 1
    for index, values in zip(*batches[0], strict=True):
        alone = reader.score([PROMPTS[index]], sets[index])[0]
        np.testing.assert_allclose(values, alone, atol=1e-4)


def test_logits_in_small_pieces_give_the_same_scores(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reader.score(PROMPTS, SEVERAL)
    monkeypatch.setattr(forward, "_LOGITS_AT_ONCE", 3 * 264)
    np.testing.assert_allclose(reader.score(PROMPTS, SEVERAL), expected, atol=1e-5)


def test_probabilities_of_all_first_tokens_sum_to_one(reader: Reader) -> None:
    vocabulary = AnswerSet(tuple(chr(i) for i in range(33, 127)))
    scores = reader.score(PROMPTS[:1], vocabulary)[0]
    others = naive_other_mass(reader, PROMPTS[0], vocabulary)
    assert np.exp(scores).sum() + others == pytest.approx(1, abs=1e-4)


@torch.inference_mode()
def naive_other_mass(reader: Reader, prompt: Prompt, answers: AnswerSet) -> float:
    inputs = model_inputs(reader.packer, reader.packer.pack([prompt]), None)
    p = reader.model(**inputs).logits[0, -1].softmax(-1)
    mine = [reader.packer.tokenizer(a)["input_ids"][0] for a in answers.answers]
    return float(1 - p[mine].sum())


def test_generations_are_the_greedy_continuation(reader: Reader) -> None:
    tokenizer, image = reader.packer.tokenizer, reader.packer.image_token
    # Random weights may say an image token, which the whole model cannot read back.
    reader.model.generation_config.suppress_tokens = [image]
    texts = reader.generate(PROMPTS, max_new_tokens=4)
    for prompt, text in zip(PROMPTS, texts, strict=True):
        ids: list[int] = []
        while len(ids) < 4 and tokenizer.eos_token_id not in ids:
            inputs = model_inputs(
                reader.packer, reader.packer.pack([prompt]), [np.array(ids, np.int64)]
            )
            with torch.inference_mode():
                logits = reader.model(**inputs).logits[0, -1]
            ids.append(int(logits.index_fill(0, torch.tensor([image]), -torch.inf).argmax()))
        assert text == tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_a_generation_ends_with_the_turn(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = reader.packer.tokenizer
    said = [*tokenizer(" yes")["input_ids"], tokenizer.eos_token_id, *tokenizer("no")["input_ids"]]

    def generate(input_ids: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.cat([input_ids, torch.tensor([said] * len(input_ids))], dim=1)

    monkeypatch.setattr(reader.model, "generate", generate)
    assert reader.generate(PROMPTS, max_new_tokens=9) == ["yes"] * len(PROMPTS)


def test_vision_features_are_computed_once_per_image(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, original = [], reader.model.get_image_features

    def counting(**arguments: Any) -> Any:
        calls.append(len(arguments[reader.packer.family.geometry_name]))
        return original(**arguments)

    monkeypatch.setattr(reader.model, "get_image_features", counting)
    kept = reader.score(PROMPTS, ONE_TOKEN)
    reader.score(PROMPTS, SEVERAL)
    assert calls == [1] * 4
    reader._features = TensorCache(limit=0)
    reader.token_budget = 1
    np.testing.assert_allclose(reader.score(PROMPTS, ONE_TOKEN), kept, atol=1e-4)
    assert sum(calls) == 4 + sum(len(prompt.images) for prompt in PROMPTS)


def test_what_is_kept_of_an_image_does_not_depend_on_what_was_read_before(
    load_reader: Callable[..., Reader], family: str
) -> None:
    """After a kill, nothing is kept: the last bit of the scores has to be the same."""
    fresh, used = load_reader(family), load_reader(family)
    used.score(PROMPTS[2:3], ONE_TOKEN)
    used.score(PROMPTS[4:5], ONE_TOKEN)
    expected = fresh.score(PROMPTS, SEVERAL)
    np.testing.assert_array_equal(used.score(PROMPTS, SEVERAL), expected)


@pytest.mark.parametrize("together", [2, 3, 100])
def test_images_of_several_sizes_share_a_call(
    load_reader: Callable[..., Reader], family: str, together: int
) -> None:
    expected = load_reader(family).score(PROMPTS, ONE_TOKEN)
    joined = load_reader(family, backbone__images_per_call=together).score(PROMPTS, ONE_TOKEN)
    np.testing.assert_allclose(joined, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("lengths", "budget", "expected"),
    [
        ([5, 9, 7], 18, [[1, 2], [0]]),
        ([5, 10], 20, [[1, 0]]),
        ([5, 10], 19, [[1], [0]]),
        ([50, 3], 10, [[0], [1]]),
        ([], 10, []),
    ],
)
def test_batches_are_sorted_by_length_and_keep_to_the_budget(
    lengths: list[int], budget: int, expected: list[list[int]]
) -> None:
    assert plan_batches(lengths, budget) == expected


def test_the_key_names_all_that_decides_a_score(
    load_reader: Callable[..., Reader], reader_folders: dict[str, Path]
) -> None:
    reader = load_reader("qwen2_vl")
    folder, processor = reader_folders["qwen2_vl"], reader.packer.processor

    def key(**overrides: object) -> str:
        config = make_config("qwen2_vl", **overrides)
        return reader_key(config, folder, reader.model, processor, None)

    assert key() == reader.key == load_reader("qwen2_vl", backbone__token_budget=9).key
    changed = [{"prompt__max_side": 32}, {"prompt__max_text_chars": 9}]
    keys = {key(), load_reader("pixtral").key, *(key(**change) for change in changed)}
    processor.chat_template += " "
    assert len(keys | {key()}) == 5


def test_missing_parts_are_named(load_reader: Callable[..., Reader], tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="no such folder"):
        Reader.load(make_config(), tmp_path / "none", None, tmp_path)
    with pytest.raises(ReaderError, match="run stage 1"):
        load_reader("qwen2_vl", adapter=tmp_path)


def test_the_order_of_the_adapted_layers_does_not_change_the_key(
    load_reader: Callable[..., Reader], reader_folders: dict[str, Path], tmp_path: Path
) -> None:
    """Two trainings of one adapter name its layers in different orders."""
    reader, config = load_reader("qwen2_vl"), make_config()
    save_file({"lora_A.weight": torch.ones(1)}, tmp_path / "adapter_model.safetensors")

    def key(layers: list[str]) -> str:
        (tmp_path / "adapter_config.json").write_text(json.dumps({"target_modules": layers}))
        folder = reader_folders["qwen2_vl"]
        return reader_key(config, folder, reader.model, reader.packer.processor, tmp_path)

    assert key(["q_proj", "v_proj"]) == key(["v_proj", "q_proj"])
    assert key(["q_proj", "v_proj"]) != key(["q_proj", "k_proj"])


def test_a_prompt_beyond_a_sliding_window_is_refused(load_reader: Callable[..., Reader]) -> None:
    reader = load_reader("pixtral")
    reader.model.config.text_config.sliding_window = 20
    with pytest.raises(ReaderError, match=r"sliding window of the model \(20\)"):
        reader.score(PROMPTS, ONE_TOKEN)


def test_answers_beyond_the_context_are_refused(reader: Reader) -> None:
    prompt = max(len(packed.ids) for packed in reader.packer.pack(PROMPTS))
    text = reader.model.config.get_text_config()
    text.max_position_embeddings = prompt + 3
    reader.score(PROMPTS, ONE_TOKEN)
    reader.generate(PROMPTS, max_new_tokens=3)
    answers = AnswerSet(("a", "abcdefgh"))
    message = f"a prompt has {prompt} tokens and its longest answer 9, .* the {prompt + 3} that"
    with pytest.raises(ReaderError, match=message):
        reader.score(PROMPTS, answers)
    with pytest.raises(ReaderError, match=r"generation at most 4, .*inference.max_new"):
        reader.generate(PROMPTS, max_new_tokens=4)


def test_weights_lie_where_torch_would_put_them(reader: Reader) -> None:
    tensors = [*reader.model.parameters(), *reader.model.buffers()]
    assert {tensor.data_ptr() % 64 for tensor in tensors} == {0}


def test_only_tensors_that_lie_elsewhere_are_copied() -> None:
    model = torch.nn.Linear(3, 5)
    memory = torch.arange(32.0)
    model.weight.data = memory[4:19].view(5, 3)
    where = model.bias.data_ptr()
    align(model)
    assert model.weight.data_ptr() % 64 == 0
    assert model.bias.data_ptr() == where
    assert model.weight.tolist() == memory[4:19].view(5, 3).tolist()
