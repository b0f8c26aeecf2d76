"""What a reader's passes cost in FLOPs and hours: pure functions, nothing is measured here.

Multiply-adds count as two FLOPs. T tokens pass through P weights of the decoder layers in 2 P T
FLOPs forward (an embedding table is only looked up), and attention adds 4 T^2 per layer and
channel: scores and weighted sum, without the half that a causal mask makes needless.
"""

import math
from dataclasses import dataclass

from jomed.catalogue import BackboneConfig, EncoderConfig
from jomed.config import RunConfig
from jomed.settings import Positive, Settings, Share, Size, Stage1Config
from jomed.shapes import EncoderShape, ReaderShape
from jomed.workload import Workload

IMAGES = 2
"""Images of a prompt: that of the record and that of the query."""


class Assumptions(Settings):
    """What an estimate takes for granted; params/gpus.yaml says why."""

    utilisation: Share
    drift: Share
    characters_per_token: Positive
    markup_tokens: Size
    tokens_per_answer: Size
    nodes_per_answer: Positive
    answers_per_set: dict[str, Size]
    bytes_per_record: Size
    bytes_per_score_key: Size


class Gpu(Settings):
    """A GPU as its vendor states it: dense bfloat16 peak in TFLOP/s, memory in GB (10^9 bytes)."""

    title: str
    peak_tflops: Positive
    memory_gb: Size
    source: str


def reader_shape(backbone: BackboneConfig) -> ReaderShape | None:
    """The stated shape of a published reader, that of a tiny one from its settings, or None."""
    tiny = backbone.tiny
    if tiny is None:
        return backbone.shape
    # As tiny_readers builds them: no grouped heads, MLPs twice as wide as their input. Qwen2-VL's
    # tower takes two frames, has no gates, and ends in a joint of its own.
    pixtral = backbone.family == "pixtral"
    wide = tiny.vision_hidden if pixtral else 4 * tiny.vision_hidden
    joint = (wide + tiny.hidden) * (tiny.hidden if pixtral else wide)
    entry = 3 * tiny.patch**2 * tiny.vision_hidden * (1 if pixtral else 2)
    tower = tiny.vision_layers * (10 if pixtral else 8) * tiny.vision_hidden**2
    tables = 2 * tiny.vocabulary * tiny.hidden
    return ReaderShape(
        source="tiny",
        language_parameters=tables + tiny.layers * 10 * tiny.hidden**2,
        vision_parameters=entry + tower + joint,
        layers=tiny.layers,
        hidden=tiny.hidden,
        intermediate=2 * tiny.hidden,
        heads=tiny.heads,
        kv_heads=tiny.heads,
        head_dim=tiny.hidden // tiny.heads,
        vocabulary=tiny.vocabulary,
        tied_embeddings=False,
        vision_layers=tiny.vision_layers,
        vision_hidden=tiny.vision_hidden,
        vision_intermediate=2 * tiny.vision_hidden,
        patch=tiny.patch,
        merge=1 if pixtral else 2,
        min_side=1 if pixtral else tiny.image_size,
        max_side=tiny.image_size,
    )


def encoder_shape(encoder: EncoderConfig) -> EncoderShape | None:
    """The stated shape of a published encoder, that of a tiny one from its settings, or None."""
    tiny = encoder.tiny
    if tiny is None:
        return encoder.shape
    ends = 3 * tiny.patch**2 + (tiny.image_size // tiny.patch) ** 2 + tiny.dim
    tower = 12 * tiny.layers * tiny.width**2 + ends * tiny.width
    return EncoderShape(source="tiny", dim=tiny.dim, image_parameters=tower)


@dataclass(frozen=True, slots=True)
class PromptSize:
    """Size of one scoring prompt: language-model tokens, and patches of each of its images.

    ``tokens`` holds those of images, text and markup; ``nodes`` those that answers of several
    tokens add when they are scored.
    """

    tokens: int
    nodes: int
    patches: int


def image_tokens(family: str, shape: ReaderShape, side: int) -> tuple[int, int]:
    """Tokens and patches of a square image of ``side`` pixels.

    Pixtral ends each row of patches with a token of its own; Qwen2-VL merges 2 x 2 patches, and
    enlarges an image that is smaller than its least size.
    """
    shown = min(max(side, shape.min_side), shape.max_side)
    if shape.merge == 1:
        rows = -(-shown // shape.patch)
    else:
        rows = max(1, round(shown / (shape.patch * shape.merge)))
    breaks = rows if family == "pixtral" else 0
    return rows**2 + breaks, (rows * shape.merge) ** 2


def prompt_size(
    config: RunConfig, shape: ReaderShape, answers: float, assumptions: Assumptions
) -> PromptSize:
    """The largest prompt that the limits allow: square images, record text of full length.

    ``answers`` is the mean size of an answer set; labels are single tokens and need no nodes.
    """
    side = config.prompt.max_side
    if (pixels := config.prompt.max_pixels) is not None:
        side = min(side, math.isqrt(pixels))
    tokens, patches = image_tokens(config.backbone.family, shape, side)
    characters = config.prompt.max_text_chars + len(config.benchmark.question or "")
    text = math.ceil(characters / assumptions.characters_per_token) + assumptions.markup_tokens
    single = config.benchmark.task == "single_label"
    nodes = 0 if single else math.ceil(answers * assumptions.nodes_per_answer)
    return PromptSize(IMAGES * tokens + text, nodes, patches)


def layer_parameters(shape: ReaderShape) -> int:
    """Parameters of the language model without its embedding table and output head."""
    tables = 1 if shape.tied_embeddings else 2
    return shape.language_parameters - tables * shape.vocabulary * shape.hidden


def language_flops(shape: ReaderShape, tokens: int, linear: int = 1, attention: int = 1) -> float:
    """FLOPs of the language model on one prompt, with so many passes of each kind of product."""
    products = 2.0 * layer_parameters(shape) * tokens
    width = shape.heads * shape.head_dim
    return linear * products + attention * 4.0 * shape.layers * width * tokens**2


def vision_flops(shape: ReaderShape, patches: int, linear: int = 1, attention: int = 1) -> float:
    """FLOPs of the vision tower on one image."""
    products = 2.0 * shape.vision_parameters * patches
    return (
        linear * products + attention * 4.0 * shape.vision_layers * shape.vision_hidden * patches**2
    )


def scoring_flops(shape: ReaderShape, size: PromptSize) -> float:
    """One forward pass that scores a pair. An upper bound: features of known images are kept."""
    return language_flops(shape, size.tokens + size.nodes) + IMAGES * vision_flops(
        shape, size.patches
    )


def generation_flops(shape: ReaderShape, size: PromptSize, new_tokens: int) -> float:
    """A prompt and its greedy answer. Reading the weights for each new token is not counted."""
    prompt = language_flops(shape, size.tokens) + IMAGES * vision_flops(shape, size.patches)
    weights = layer_parameters(shape) + shape.vocabulary * shape.hidden
    looked_at = 4.0 * shape.layers * shape.heads * shape.head_dim * size.tokens
    return prompt + new_tokens * (2.0 * weights + looked_at)


def training_flops(
    shape: ReaderShape, size: PromptSize, said: int, settings: Stage1Config
) -> float:
    """One example of stage 1, forward and backward, with ``said`` answer tokens.

    The weights are frozen, so a product costs its forward pass and the gradient of its input, but
    not that of its weights (LoRA's own are below 1 %); attention has two inputs, hence three
    passes. Gradient checkpointing computes the forward pass once more.
    """
    again = int(settings.gradient_checkpointing)
    tokens = size.tokens + said
    language = language_flops(shape, tokens, 2 + again, 3 + again)
    times = (2 + again, 3 + again) if settings.lora_vision else (1, 1)
    return language + IMAGES * vision_flops(shape, size.patches, *times)


@dataclass(frozen=True, slots=True)
class StageFlops:
    """FLOPs of the stages of a run, and those of one scoring pass."""

    stage1: float
    stage2: float
    evaluation: float
    scoring_pass: float


def stage_flops(
    config: RunConfig, shape: ReaderShape, size: PromptSize, load: Workload, said: int
) -> StageFlops:
    """FLOPs of a run with the likely number of pairs; ``said`` answer tokens per example."""
    scoring = scoring_flops(shape, size)
    checked = PromptSize(size.tokens + said, 0, size.patches)
    example = training_flops(shape, size, said, config.stage1)
    answer = generation_flops(shape, size, config.inference.max_new_tokens)
    return StageFlops(
        stage1=load.examples * example + load.checks * scoring_flops(shape, checked),
        stage2=load.pairs.likely * scoring,
        evaluation=load.scored * scoring + load.generated * answer,
        scoring_pass=scoring,
    )


def stage_hours(work: StageFlops, per_second: float) -> tuple[float, float, float]:
    """Hours of stage 1, stage 2 and evaluation at so many FLOPs per second."""
    per_hour = 3600 * per_second
    return work.stage1 / per_hour, work.stage2 / per_hour, work.evaluation / per_hour
