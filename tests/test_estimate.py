"""FLOPs, memory and hours, worked out by hand, and the stated sizes of published readers."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen3VLForConditionalGeneration,
)

from jomed.catalogue import TinyBackboneConfig
from jomed.config import RunConfig, load_config
from jomed.estimate import (
    PromptSize,
    StageFlops,
    encoder_shape,
    generation_flops,
    image_tokens,
    language_flops,
    layer_parameters,
    prompt_size,
    reader_shape,
    scoring_flops,
    stage_flops,
    stage_hours,
    training_flops,
    vision_flops,
)
from jomed.footprint import (
    FEATURE_CACHE,
    KEPT,
    LOGITS,
    RUNTIME,
    adapted_parameters,
    scoring_memory,
    training_memory,
    weight_bytes,
)
from jomed.forecast import read_gpus
from jomed.phantom.pretrain_encoder import _shape as clip_shape
from jomed.phantom.tiny_readers import build_model, build_processor
from jomed.shapes import ReaderShape
from jomed.workload import Spread, Workload

SMALL = ReaderShape(
    source="made up",
    language_parameters=1000,
    vision_parameters=100,
    layers=2,
    hidden=8,
    intermediate=16,
    heads=2,
    kv_heads=1,
    head_dim=4,
    vocabulary=10,
    tied_embeddings=False,
    vision_layers=1,
    vision_hidden=6,
    vision_intermediate=12,
    patch=14,
    merge=2,
    min_side=56,
    max_side=3584,
)
SIZE = PromptSize(tokens=5, nodes=0, patches=4)
# 840 weights outside the two tables: 2 x 840 x 5 + 4 x 2 layers x 8 channels x 5^2
LANGUAGE, ATTENTION = 8400, 1600
# 2 x 100 x 4 + 4 x 1 layer x 6 channels x 4^2
VISION, LOOKING = 800, 384


def run_of(backbone: str, **overrides: Any) -> RunConfig:
    return load_config("paper", "retina", backbone, "biomedclip", overrides=overrides)


def shape_of(backbone: str) -> ReaderShape:
    shape = run_of(backbone).backbone.shape
    assert shape is not None
    return shape


def test_flops_of_a_forward_pass() -> None:
    assert layer_parameters(SMALL) == 1000 - 2 * 10 * 8
    assert layer_parameters(SMALL.model_copy(update={"tied_embeddings": True})) == 1000 - 10 * 8
    assert language_flops(SMALL, 5) == LANGUAGE + ATTENTION
    assert vision_flops(SMALL, 4) == VISION + LOOKING
    assert scoring_flops(SMALL, SIZE) == LANGUAGE + ATTENTION + 2 * (VISION + LOOKING)
    longer = PromptSize(tokens=3, nodes=2, patches=4)
    assert scoring_flops(SMALL, longer) == scoring_flops(SMALL, SIZE)


def test_flops_of_a_generation() -> None:
    # per new token: the layers, the output head, and a look at the 5 tokens of the prompt
    each = 2 * (840 + 80) + 4 * 2 * 8 * 5
    assert generation_flops(SMALL, SIZE, 3) == scoring_flops(SMALL, SIZE) + 3 * each


@pytest.mark.parametrize("vision", [True, False])
def test_flops_of_a_training_example(vision: bool) -> None:
    kept = {"stage1.gradient_checkpointing": False}
    stage1 = run_of("qwen2_vl_7b", **{"stage1.lora_vision": vision, **kept}).stage1
    seen = 2 * VISION + 3 * LOOKING if vision else VISION + LOOKING
    shorter = PromptSize(tokens=3, nodes=0, patches=4)
    assert training_flops(SMALL, shorter, 2, stage1) == 2 * LANGUAGE + 3 * ATTENTION + 2 * seen


def test_checkpointing_computes_the_forward_pass_again() -> None:
    again = run_of("qwen2_vl_7b", **{"stage1.gradient_checkpointing": True}).stage1
    found = training_flops(SMALL, SIZE, 0, again)
    assert found == 3 * LANGUAGE + 4 * ATTENTION + 2 * (3 * VISION + 4 * LOOKING)


def test_flops_of_the_stages_and_their_hours() -> None:
    config = run_of("qwen2_vl_7b")
    load = Workload(examples=7, checks=5, pairs=Spread(1, 4, 9), scored=6, generated=2)
    found = stage_flops(config, SMALL, SIZE, load, said=1)
    one = scoring_flops(SMALL, SIZE)
    assert found.scoring_pass == one
    assert found.stage2 == 4 * one
    answer = generation_flops(SMALL, SIZE, config.inference.max_new_tokens)
    assert found.evaluation == 6 * one + 2 * answer
    checked = scoring_flops(SMALL, PromptSize(6, 0, 4))
    assert found.stage1 == 7 * training_flops(SMALL, SIZE, 1, config.stage1) + 5 * checked
    hours = stage_hours(StageFlops(7200e12, 3600e12, 360e12, 1e12), 2e12)
    assert hours == pytest.approx((1.0, 0.5, 0.05))


@pytest.mark.parametrize(
    ("backbone", "side", "tokens", "patches"),
    [
        ("qwen2_vl_7b", 256, 81, 324),  # 252 px: 9 x 9 merged, 18 x 18 patches
        ("qwen2_vl_7b", 28, 4, 16),  # enlarged to 56 px
        ("pixtral_12b", 256, 16 * 17, 256),  # 16 rows of 16, each with its end
        ("pixtral_12b", 2000, 64 * 65, 4096),  # at most 1024 px
        ("pixtral_12b", 17, 2 * 3, 4),
    ],
)
def test_tokens_of_an_image(backbone: str, side: int, tokens: int, patches: int) -> None:
    family = run_of(backbone).backbone.family
    assert image_tokens(family, shape_of(backbone), side) == (tokens, patches)


@pytest.mark.parametrize("side", [20, 28, 100, 256, 500])
def test_tokens_of_an_image_are_those_of_the_processors(side: int) -> None:
    image = Image.fromarray(np.zeros((side, side, 3), np.uint8))
    qwen = shape_of("qwen2_vl_7b")
    limits = {"min_pixels": qwen.min_side**2, "max_pixels": qwen.max_side**2}
    grid = Qwen2VLImageProcessor(**limits)(images=[image])["image_grid_thw"]
    rows = int(grid[0][1])
    assert image_tokens("qwen2_vl", qwen, side) == (rows**2 // 4, rows**2)
    pixtral = shape_of("pixtral_12b")
    tiny = load_config(backbone="tiny_pixtral").backbone.tiny
    assert tiny is not None
    sized = tiny.model_copy(update={"patch": pixtral.patch, "image_size": pixtral.max_side})
    processor = build_processor("pixtral", sized, ["a word"])
    ids = processor(text=["[IMG]"], images=[image], add_special_tokens=False)["input_ids"][0]
    assert image_tokens("pixtral", pixtral, side)[0] == len(ids)


def test_size_of_a_prompt() -> None:
    assumptions = read_gpus()[0].model_copy(
        update={"characters_per_token": 4.0, "markup_tokens": 60, "nodes_per_answer": 4.0}
    )
    config = run_of("qwen2_vl_7b")
    # 2,000 characters of the record and 45 of the question, at 4 per token
    assert config.benchmark.question is not None
    assert len(config.benchmark.question) == 45
    shape = shape_of("qwen2_vl_7b")
    found = prompt_size(config, shape, 5.0, assumptions)
    assert found == PromptSize(tokens=2 * 81 + 512 + 60, nodes=0, patches=324)
    several = load_config("paper", "slake", "qwen2_vl_7b", "biomedclip")
    found = prompt_size(several, shape, 2.5, assumptions)
    assert found == PromptSize(tokens=2 * 81 + 500 + 60, nodes=10, patches=324)


def test_fewer_pixels_make_a_shorter_prompt() -> None:
    config, assumptions = run_of("qwen2_vl_7b"), read_gpus()[0]
    limits = SimpleNamespace(**{**config.prompt.model_dump(), "max_pixels": 150 * 150})
    shape = shape_of("qwen2_vl_7b")
    whole = prompt_size(config, shape, 5.0, assumptions)
    fewer = prompt_size(config.model_copy(update={"prompt": limits}), shape, 5.0, assumptions)
    # 9 x 9 tokens of 252 px, and 5 x 5 of 140 px
    assert (whole.tokens - fewer.tokens, fewer.patches) == (2 * (81 - 25), 100)


@pytest.mark.parametrize(("quantisation", "bits"), [("8bit", 8), ("4bit", 4), (None, 16)])
def test_only_the_layers_are_quantised(quantisation: str | None, bits: int) -> None:
    backbone = SimpleNamespace(dtype="bfloat16", quantisation=quantisation)
    # 840 weights in the layers; 160 in the tables and 100 of the vision tower stay
    found = weight_bytes(backbone, SMALL)  # type: ignore[arg-type]
    assert found == 840 * bits // 8 + 260 * 2


def test_memory_while_scoring() -> None:
    backbone = run_of("qwen2_vl_7b", **{"backbone.token_budget": 10}).backbone
    assert weight_bytes(backbone, SMALL) == 2200
    # per token: a layer's 3 x 16 + 6 x 8, and keys and values of 2 layers x 1 head x 4
    batch = 10 * (48 + 48 + 16) * 2
    assert scoring_memory(backbone, SMALL) == 2200 + batch + FEATURE_CACHE + LOGITS + RUNTIME


def test_memory_of_stage1() -> None:
    changes = {"stage1.batch_size": 3, "stage1.lora_rank": 1, "stage1.lora_vision": False}
    config = run_of("qwen2_vl_7b", **changes)
    # a layer: query 8 + 8, key and value 8 + 4 each, output 8 + 8, and 3 x (8 + 16)
    assert adapted_parameters(SMALL, config.stage1) == 2 * (16 + 12 + 12 + 16 + 72)
    rest = 2200 + 16 * 256 + LOGITS + RUNTIME
    layer = KEPT[0] * 8 + KEPT[1] * 16

    def kept(checkpointing: bool) -> int:
        return training_memory(config.backbone, SMALL, SIZE, config.stage1, checkpointing) - rest

    assert kept(False) == round(15 * 2 * 2 * layer)
    assert kept(True) == round(15 * 2 * (2 * 8 + layer))


def test_memory_of_stage1_with_the_vision_tower() -> None:
    changes = {"stage1.batch_size": 3, "stage1.lora_rank": 1, "stage1.lora_vision": True}
    config = run_of("qwen2_vl_7b", **changes)
    adapted = 256 + 8 * 6 + 3 * (6 + 12)
    assert adapted_parameters(SMALL, config.stage1) == adapted
    rest = 2200 + 16 * adapted + LOGITS + RUNTIME
    found = training_memory(config.backbone, SMALL, SIZE, config.stage1, False) - rest
    language = 15 * 2 * (KEPT[0] * 8 + KEPT[1] * 16)
    vision = 3 * 2 * 4 * (KEPT[0] * 6 + KEPT[1] * 12)
    assert found == round(2 * (language + vision))


def qwen2_vl_of(shape: ReaderShape) -> Qwen2VLConfig:
    quarter = shape.head_dim // 8
    rope = {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": [shape.head_dim // 2 - 2 * quarter, quarter, quarter],
    }
    return Qwen2VLConfig(
        text_config={
            "hidden_size": shape.hidden,
            "intermediate_size": shape.intermediate,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "vocab_size": shape.vocabulary,
            "rope_parameters": rope,
            "bos_token_id": None,
            "eos_token_id": None,
        },
        vision_config={
            "depth": shape.vision_layers,
            "embed_dim": shape.vision_hidden,
            "hidden_size": shape.hidden,
            "mlp_ratio": shape.vision_intermediate // shape.vision_hidden,
            "patch_size": shape.patch,
            "spatial_merge_size": shape.merge,
        },
        tie_word_embeddings=shape.tied_embeddings,
    )


def pixtral_of(shape: ReaderShape) -> LlavaConfig:
    return LlavaConfig(
        text_config={
            "model_type": "mistral",
            "hidden_size": shape.hidden,
            "intermediate_size": shape.intermediate,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head_dim,
            "vocab_size": shape.vocabulary,
        },
        vision_config={
            "model_type": "pixtral",
            "hidden_size": shape.vision_hidden,
            "intermediate_size": shape.vision_intermediate,
            "num_hidden_layers": shape.vision_layers,
            "patch_size": shape.patch,
            "image_size": shape.max_side,
        },
        tie_word_embeddings=shape.tied_embeddings,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )


def counted(model: torch.nn.Module) -> tuple[int, int]:
    """Parameters of the language model, and of vision tower and projector."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    language = sum(
        size for name, size in sizes.items() if "language_model" in name or "lm_head" in name
    )
    return language, sum(sizes.values()) - language


def test_stated_sizes_of_qwen2_vl_7b() -> None:
    shape = shape_of("qwen2_vl_7b")
    with torch.device("meta"):
        model = Qwen2VLForConditionalGeneration(qwen2_vl_of(shape))
    assert counted(model) == (shape.language_parameters, shape.vision_parameters)
    # the size of the published bfloat16 files, 16,582,751,232 bytes
    assert sum(counted(model)) == 16_582_751_232 // 2


def test_stated_sizes_of_pixtral_12b() -> None:
    shape = shape_of("pixtral_12b")
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(pixtral_of(shape))
    assert counted(model) == (shape.language_parameters, shape.vision_parameters)
    assert sum(counted(model)) / 1e9 == pytest.approx(12.68, abs=0.01)


OTHERS = {
    "qwen2_vl_2b": Qwen2VLForConditionalGeneration,
    "qwen2_5_vl_7b": Qwen2_5_VLForConditionalGeneration,
    "qwen3_vl_8b": Qwen3VLForConditionalGeneration,
}


@pytest.mark.parametrize("backbone", list(OTHERS))
def test_stated_sizes_of_the_other_readers(backbone: str) -> None:
    shape, model_class = shape_of(backbone), OTHERS[backbone]
    values = qwen2_vl_of(shape).to_dict()
    vision = {"depth": shape.vision_layers, "patch_size": shape.patch}
    sizes = {"intermediate_size": shape.vision_intermediate, "out_hidden_size": shape.hidden}
    if backbone == "qwen2_vl_2b":
        sizes = {"embed_dim": shape.vision_hidden, "mlp_ratio": 4}
    width = shape.hidden if backbone == "qwen2_vl_2b" else shape.vision_hidden
    kept = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    kept += ("num_key_value_heads", "vocab_size", "rope_parameters")
    text = {name: values["text_config"][name] for name in kept}
    config = model_class.config_class(
        text_config={**text, "head_dim": shape.head_dim, "bos_token_id": None},
        vision_config={**vision, **sizes, "hidden_size": width},
        tie_word_embeddings=shape.tied_embeddings,
    )
    with torch.device("meta"):
        model = model_class(config)
    assert counted(model) == (shape.language_parameters, shape.vision_parameters)


def test_stated_sizes_of_biomedclip() -> None:
    shape = load_config("paper", "retina", "qwen2_vl_7b", "biomedclip").encoder.shape
    assert shape is not None
    with torch.device("meta"):
        tower = timm.create_model("vit_base_patch16_224", num_classes=0)
    own = sum(parameter.numel() for parameter in tower.parameters())
    assert shape.image_parameters == own + tower.num_features * shape.dim


@pytest.mark.parametrize("backbone", ["tiny_qwen2vl", "tiny_pixtral"])
def test_shape_of_a_tiny_reader(backbone: str) -> None:
    config = load_config(backbone=backbone)
    shape = reader_shape(config.backbone)
    assert shape is not None
    assert isinstance(config.backbone.tiny, TinyBackboneConfig)
    tiny = config.backbone.tiny
    processor = build_processor(config.backbone.family, tiny, ["one word and another"])
    model = build_model(config.backbone.family, tiny, processor)
    language, vision = counted(model)
    # Norms, biases and the tables of a vocabulary that is not full are left out of the estimate.
    layers = language - 2 * len(processor.tokenizer) * tiny.hidden
    assert layer_parameters(shape) == pytest.approx(layers, rel=0.02)
    assert shape.vision_parameters == pytest.approx(vision, rel=0.05)


def test_shape_of_a_tiny_encoder() -> None:
    config = load_config().encoder
    shape = encoder_shape(config)
    assert shape is not None
    assert config.tiny is not None
    visual = open_clip.CLIP(**clip_shape(config.tiny)).visual
    own = sum(parameter.numel() for parameter in visual.parameters())
    assert (shape.dim, shape.image_parameters) == (config.tiny.dim, pytest.approx(own, rel=0.05))


def small_qwen2_vl(hidden: int, intermediate: int, layers: int) -> tuple[ReaderShape, Any]:
    sizes = {"hidden": hidden, "intermediate": intermediate, "layers": layers, "kv_heads": 8}
    sizes |= {"heads": 8, "head_dim": hidden // 8, "vocabulary": 64, "vision_hidden": 64}
    shape = shape_of("qwen2_vl_7b").model_copy(
        update={**sizes, "vision_layers": 1, "vision_intermediate": 256}
    )
    model = Qwen2VLForConditionalGeneration(qwen2_vl_of(shape)).to(torch.bfloat16)
    settings = LoraConfig(r=4, target_modules="all-linear", exclude_modules=r".*visual.*")
    return shape, get_peft_model(model, settings)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapter_has_as_many_parameters_as_estimated() -> None:
    config = run_of("qwen2_vl_7b", **{"stage1.lora_rank": 4, "stage1.lora_vision": False})
    shape, model = small_qwen2_vl(64, 160, 2)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert adapted_parameters(shape, config.stage1) == trained


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_activations_are_those_that_autograd_keeps() -> None:
    def kept_values(hidden: int, intermediate: int) -> float:
        """Two-byte values per token that one more layer keeps."""
        fewer, more = (kept_bytes(small_qwen2_vl(hidden, intermediate, n)[1]) for n in (1, 2))
        return (more - fewer) / TOKENS / 2

    for sizes in ((128, 512), (256, 512)):
        estimated = KEPT[0] * sizes[0] + KEPT[1] * sizes[1]
        assert kept_values(*sizes) == pytest.approx(estimated, rel=0.1)


TOKENS = 32


def kept_bytes(model: Any) -> int:
    """Bytes of all tensors, weights apart, that a forward pass keeps for the backward pass."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address recurs
        return tensor

    ids = torch.arange(TOKENS)[None]
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        model(input_ids=ids, mm_token_type_ids=torch.zeros_like(ids), logits_to_keep=1)
    return sum(size for size, _ in kept.values())
