"""Tiny readers of the real classes, the Qwen-VL ones and Pixtral in LLaVA, built from settings."""

from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    PixtralImageProcessor,
    PixtralProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLVideoProcessor,
)

from jomed.catalogue import TinyBackboneConfig
from jomed.reading.families import FAMILIES

MERGE = 2
CONTEXT = 2048
QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "[UNK]",
)
PIXTRAL_SPECIAL = ("[UNK]", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]")
QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PIXTRAL_CHAT = (
    "<s>{% for message in messages %}[INST]{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}[IMG]{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}[/INST]{% endfor %}"
)


def train_tokenizer(
    texts: Iterable[str], vocabulary: int, special: tuple[str, ...], **roles: str
) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of at most `vocabulary` tokens; all printable ASCII is covered.

    Words and punctuation are split first and digits stand alone, so that a word is the same
    token in a text and in an answer: what lets so small a reader copy. The same texts give the
    same tokenizer in every process.
    """
    lines = list(texts)
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)]
    )
    # The trainer numbers letters inside words in the order of a hash table, which differs between
    # processes, and breaks ties by number: named beforehand, they have theirs from the start.
    inside = [f"##{letter}" for letter in sorted(set("".join(lines))) if not letter.isspace()]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=[*special, *inside],
        initial_alphabet=[chr(code) for code in range(33, 127)],
        show_progress=False,
    )
    learner.train_from_iterator(lines, trainer)
    tokenizer = Tokenizer(models.WordPiece(vocab=learner.get_vocab(), unk_token="[UNK]"))
    tokenizer.pre_tokenizer = learner.pre_tokenizer
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **roles)


def build_processor(family: str, tiny: TinyBackboneConfig, texts: Iterable[str]) -> Any:
    """The processor of a tiny reader, with a tokenizer trained on `texts`."""
    if family != "pixtral":
        pixels = tiny.image_size**2
        tokenizer = train_tokenizer(
            texts, tiny.vocabulary, QWEN_SPECIAL, eos_token="<|im_end|>", pad_token="<|endoftext|>"
        )
        videos = Qwen3VLVideoProcessor if family == "qwen3_vl" else Qwen2VLVideoProcessor
        return FAMILIES[family].processor_class(
            image_processor=Qwen2VLImageProcessor(
                patch_size=tiny.patch, merge_size=MERGE, min_pixels=pixels, max_pixels=pixels
            ),
            tokenizer=tokenizer,
            video_processor=videos(patch_size=tiny.patch, merge_size=MERGE),
            chat_template=QWEN_CHAT,
        )
    tokenizer = train_tokenizer(
        texts, tiny.vocabulary, PIXTRAL_SPECIAL, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    return PixtralProcessor(
        image_processor=PixtralImageProcessor(
            patch_size=tiny.patch, size={"longest_edge": tiny.image_size}
        ),
        tokenizer=tokenizer,
        patch_size=tiny.patch,
        chat_template=PIXTRAL_CHAT,
    )


def build_model(family: str, tiny: TinyBackboneConfig, processor: Any) -> Any:
    """An untrained reader whose sizes come from `tiny` and whose vocabulary is the processor's."""
    if family == "pixtral":
        return _pixtral(tiny, processor.tokenizer)
    return FAMILIES[family].model_class(_qwen_config(family, tiny, processor.tokenizer))


def _text_sizes(tiny: TinyBackboneConfig, tokenizer: Any) -> dict[str, Any]:
    return {
        "hidden_size": tiny.hidden,
        "intermediate_size": 2 * tiny.hidden,
        "num_hidden_layers": tiny.layers,
        "num_attention_heads": tiny.heads,
        "num_key_value_heads": tiny.heads,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CONTEXT,
        # The usual 0.02 suits widths of thousands; at this one a reader would hardly learn to copy.
        "initializer_range": tiny.hidden**-0.5,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _qwen_config(family: str, tiny: TinyBackboneConfig, tokenizer: Any) -> Any:
    ids = tokenizer.convert_tokens_to_ids
    half = tiny.hidden // tiny.heads // 2
    # Time takes the first half of the frequencies, height and width share the rest.
    sections = [half - 2 * (half // 4), half // 4, half // 4]
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections}
    text = {**_text_sizes(tiny, tokenizer), "bos_token_id": None, "rope_parameters": rope}
    vision = {
        "depth": tiny.vision_layers,
        "num_heads": tiny.heads,
        "patch_size": tiny.patch,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
    }
    # Their towers have a width of their own; Qwen2-VL calls by that name what it hands over.
    outside = {"hidden_size": tiny.vision_hidden, "out_hidden_size": tiny.hidden}
    sizes = {**vision, **outside, "intermediate_size": 2 * tiny.vision_hidden}
    tokens = {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }
    if family == "qwen2_5_vl":
        last = tiny.vision_layers - 1
        windows = {"window_size": 2 * MERGE * tiny.patch, "fullatt_block_indexes": [last]}
        return Qwen2_5_VLConfig(text_config=text, vision_config={**sizes, **windows}, **tokens)
    if family == "qwen3_vl":
        text["head_dim"] = tiny.hidden // tiny.heads
        inner = {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
        return Qwen3VLConfig(text_config=text, vision_config={**sizes, **inner}, **tokens)
    vision |= {"embed_dim": tiny.vision_hidden, "hidden_size": tiny.hidden, "mlp_ratio": 2}
    return Qwen2VLConfig(text_config=text, vision_config=vision, **tokens)


def _pixtral(tiny: TinyBackboneConfig, tokenizer: Any) -> LlavaForConditionalGeneration:
    config = LlavaConfig(
        text_config={
            **_text_sizes(tiny, tokenizer),
            "model_type": "mistral",
            "head_dim": tiny.hidden // tiny.heads,
            "sliding_window": None,
            "bos_token_id": tokenizer.bos_token_id,
        },
        vision_config={
            "model_type": "pixtral",
            "hidden_size": tiny.vision_hidden,
            "intermediate_size": 2 * tiny.vision_hidden,
            "num_hidden_layers": tiny.vision_layers,
            "num_attention_heads": tiny.heads,
            "patch_size": tiny.patch,
            "image_size": tiny.image_size,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    return LlavaForConditionalGeneration(config)
