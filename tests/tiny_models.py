"""Tiny readers of every family with random weights, made on the spot and saved to a folder."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
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

from jomed.phantom.tiny_readers import PIXTRAL_CHAT, QWEN_CHAT
from jomed.reading.families import FAMILIES

QWEN_SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
PIXTRAL_SPECIAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"]


def byte_tokenizer(special: list[str], **roles: str) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer (256 bytes, no merges) with the given special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


def qwen_processor(family: str) -> Any:
    """Return a processor with 7 px patches merged 2 x 2: a 28 px image gives 4 tokens."""
    tokenizer = byte_tokenizer(QWEN_SPECIAL, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    sizes = {"patch_size": 7, "merge_size": 2, "min_pixels": 14 * 14, "max_pixels": 112 * 112}
    videos = Qwen3VLVideoProcessor if family == "qwen3_vl" else Qwen2VLVideoProcessor
    return FAMILIES[family].processor_class(
        image_processor=Qwen2VLImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=videos(patch_size=7, merge_size=2),
        chat_template=QWEN_CHAT,
    )


def pixtral_processor(family: str = "pixtral") -> PixtralProcessor:
    """Return a processor with 7 px patches: a 28 px image gives 4 rows of 4 + 1 tokens."""
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    return PixtralProcessor(
        image_processor=PixtralImageProcessor(patch_size=7, size={"longest_edge": 112}),
        tokenizer=byte_tokenizer(PIXTRAL_SPECIAL, **roles),
        patch_size=7,
        chat_template=PIXTRAL_CHAT,
    )


def qwen_model(family: str, processor: Any, hidden: int = 32, layers: int = 2) -> Any:
    """Return a random Qwen-VL of the processor's vocabulary; 4 heads in both towers."""
    ids = processor.tokenizer.convert_tokens_to_ids
    third = hidden // 4 // 2 // 3
    axes = [hidden // 4 // 2 - 2 * third, third, third]
    text = {
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": len(processor.tokenizer),
        "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": axes},
        "bos_token_id": None,
        "eos_token_id": ids("<|im_end|>"),
        "pad_token_id": ids("<|endoftext|>"),
    }
    vision = {
        "depth": layers,
        "num_heads": 4,
        "patch_size": 7,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "hidden_size": hidden,
    }
    tokens = {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }
    if family == "qwen2_vl":
        vision |= {"embed_dim": hidden, "mlp_ratio": 2}
        config: Any = Qwen2VLConfig(text_config=text, vision_config=vision, **tokens)
    elif family == "qwen2_5_vl":
        # Windows of 2 x 2 tokens in all but the last layer.
        vision |= {"intermediate_size": 2 * hidden, "out_hidden_size": hidden}
        vision |= {"window_size": 28, "fullatt_block_indexes": [layers - 1]}
        config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens)
    else:
        text["head_dim"] = hidden // 4
        vision |= {"intermediate_size": 2 * hidden, "out_hidden_size": hidden}
        # Both layers of the tower are seen inside the text model.
        vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
        config = Qwen3VLConfig(text_config=text, vision_config=vision, **tokens)
    return FAMILIES[family].model_class(config).eval()


def pixtral_model(
    family: str, processor: Any, hidden: int = 32, layers: int = 2
) -> LlavaForConditionalGeneration:
    """Return a random Llava with a Pixtral tower and a Mistral text model; 4 heads in both."""
    text = {
        "model_type": "mistral",
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": hidden // 4,
        "vocab_size": len(processor.tokenizer),
        "max_position_embeddings": 2048,
        "sliding_window": None,
        "bos_token_id": processor.tokenizer.bos_token_id,
        "eos_token_id": processor.tokenizer.eos_token_id,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "patch_size": 7,
        "image_size": 112,
    }
    config = LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=processor.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return LlavaForConditionalGeneration(config).eval()


MAKERS = {
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), (qwen_processor, qwen_model)),
    "pixtral": (pixtral_processor, pixtral_model),
}


def save_reader(
    folder: Path,
    family: str,
    hidden: int = 32,
    layers: int = 2,
    seed: int = 0,
    tied: bool = False,
) -> Path:
    """Write a random reader of a family (weights sharpened, so that answers differ) to a folder.

    In a ``tied`` one the head is the embedding, and is not stored.
    """
    torch.manual_seed(seed)
    make_processor, make_model = MAKERS[family]
    processor = make_processor(family)
    model = make_model(family, processor, hidden, layers)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
    if tied:
        model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = True
        model.tie_weights()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_images(root: Path, sizes: dict[str, tuple[int, int]], seed: int = 0) -> Path:
    """Write one random RGB PNG per name; sizes are (width, height) in px."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    for name, (width, height) in sizes.items():
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    return root
