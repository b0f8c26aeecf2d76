"""Processors as the published models have them, built here: template, special tokens, image sizes.

The templates are written anew to render chats of user and assistant as the published ones do
(Qwen/Qwen2-VL-*-Instruct, Qwen/Qwen2.5-VL-*-Instruct, Qwen/Qwen3-VL-*-Instruct and
mistral-community/pixtral-12b); tools, videos and numbered pictures, which no prompt of ours has,
are left out. The tokenizers are small, of the published kind: byte-level BPE behind a pattern that
splits words, single digits and runs of line breaks.
"""

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PixtralImageProcessor,
    PixtralProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLVideoProcessor,
)

from jomed.reading.families import FAMILIES

_QWEN_TURNS = (
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part or 'image_url' in part %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Qwen2-VL and Qwen2.5-VL bring a system prompt, Qwen3-VL does not.
_SYSTEM = (
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
)
_QWEN2_CHAT = "{% for message in messages %}" + _SYSTEM + _QWEN_TURNS
_QWEN3_CHAT = "{% for message in messages %}" + _QWEN_TURNS
_PIXTRAL_CHAT = (
    "{{- bos_token }}{%- for message in messages %}"
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('roles must alternate') }}{%- endif %}"
    "{%- if message['role'] == 'user' %}{{- '[INST]' }}"
    "{%- if message['content'] is string %}{{- message['content'] }}{%- else %}"
    "{%- for part in message['content'] %}"
    "{%- if part['type'] == 'text' %}{{- part['KEY'] }}"
    "{%- elif part['type'] == 'image' %}{{- '[IMG]' }}"
    "{%- else %}{{- raise_exception('unknown part') }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '[/INST]' }}"
    "{%- else %}{{- message['content'] + eos_token }}{%- endif %}{%- endfor %}"
)
_QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_PIXTRAL_SPECIAL = (
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]",
)  # fmt: skip
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEXTS = (
    "system user assistant You are a helpful assistant.",
    "background: chest radiograph shows signs of pneumonia\n\n",
    "Does this breast ultrasound image show signs of cancer? Yes No yes no",
) * 2


def _tokenizer(special: tuple[str, ...], **roles: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(_WORDS), behavior="isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


def published_processor(family: str, pixtral_key: str = "content") -> Any:
    """Return the processor; Pixtral's templates read a text under "content" or under "text"."""
    if family == "pixtral":
        roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
        return PixtralProcessor(
            image_processor=PixtralImageProcessor(patch_size=16, size={"longest_edge": 1024}),
            tokenizer=_tokenizer(_PIXTRAL_SPECIAL, unk_token="<unk>", **roles),
            patch_size=16,
            chat_template=_PIXTRAL_CHAT.replace("KEY", pixtral_key),
        )
    third = family == "qwen3_vl"
    limits = (256 * 256, 4096 * 4096) if third else (56 * 56, 28 * 28 * 16384)
    videos = Qwen3VLVideoProcessor if third else Qwen2VLVideoProcessor
    return FAMILIES[family].processor_class(
        image_processor=Qwen2VLImageProcessor(
            patch_size=16 if third else 14,
            merge_size=2,
            size={"shortest_edge": limits[0], "longest_edge": limits[1]},
        ),
        tokenizer=_tokenizer(_QWEN_SPECIAL, eos_token="<|im_end|>", pad_token="<|endoftext|>"),
        video_processor=videos(),
        chat_template=_QWEN3_CHAT if third else _QWEN2_CHAT,
    )
