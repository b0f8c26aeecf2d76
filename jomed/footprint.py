"""What a reader takes on its device, in bytes: pure functions, rather too much than too little."""

from jomed.catalogue import BackboneConfig
from jomed.estimate import IMAGES, PromptSize, layer_parameters
from jomed.settings import Stage1Config
from jomed.shapes import ReaderShape

BYTES = {"float32": 4, "bfloat16": 2}
FEATURE_CACHE = 2 * 1024**3
"""Bytes of vision features that a reader keeps on its device."""
RUNTIME = 10**9
"""Bytes that CUDA, its libraries and fragmentation take on a device."""
LOGITS = 2 * 2**28
"""Bytes of the logits at the places where answers go on, and of their log-sum-exp."""
TRAINED_BYTES = 16
"""Per adapted parameter, all in float32: weight, gradient and the two moments of AdamW."""
KEPT = (15.0, 4.2)
"""Values that a layer keeps for its backward pass per token, in widths of its input and its MLP.

Those that autograd saves under LoRA and bfloat16 autocast, counted on a small Qwen2-VL.
"""


def weight_bytes(backbone: BackboneConfig, shape: ReaderShape) -> int:
    """Bytes of a reader's weights on its device.

    Quantised are the linear layers of the language model alone.
    """
    size = BYTES[backbone.dtype]
    layers = layer_parameters(shape)
    rest = shape.language_parameters - layers + shape.vision_parameters
    bits = {"8bit": 8, "4bit": 4, None: 8 * size}[backbone.quantisation]
    return layers * bits // 8 + rest * size


def scoring_memory(backbone: BackboneConfig, shape: ReaderShape) -> int:
    """Bytes on the device while a reader scores or generates, at ``token_budget`` tokens a batch.

    Weights, features that are kept, logits, and of one layer at a time three values as wide as its
    MLP and six as wide as the residual stream; keys and values of all layers, for generation.
    """
    size = BYTES[backbone.dtype]
    layer = 3 * shape.intermediate + 6 * shape.hidden
    keys = 2 * shape.layers * shape.kv_heads * shape.head_dim
    batch = backbone.token_budget * (layer + keys) * size
    return weight_bytes(backbone, shape) + batch + FEATURE_CACHE + LOGITS + RUNTIME


def adapted_parameters(shape: ReaderShape, settings: Stage1Config) -> int:
    """Parameters of the LoRA adapter: rank x (inputs + outputs) of every adapted linear layer.

    For the vision tower an upper bound: separate projections and a gated MLP.
    """
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    attention = 2 * (shape.hidden + query) + 2 * (shape.hidden + key)
    width = shape.layers * (attention + 3 * (shape.hidden + shape.intermediate))
    if settings.lora_vision:
        mlp = 3 * (shape.vision_hidden + shape.vision_intermediate)
        width += shape.vision_layers * (8 * shape.vision_hidden + mlp)
    return settings.lora_rank * width


def training_memory(
    backbone: BackboneConfig,
    shape: ReaderShape,
    size: PromptSize,
    settings: Stage1Config,
    checkpointing: bool,
) -> int:
    """Bytes on the device in stage 1: weights, adapter with its optimiser, and activations.

    Kept for the backward pass are the activations of every layer; with checkpointing those of one
    layer at a time, and the inputs of the others.
    """
    width = BYTES[backbone.dtype]
    tokens = settings.batch_size * size.tokens
    towers = [(shape.layers, shape.hidden, shape.intermediate, tokens)]
    if settings.lora_vision:
        patches = settings.batch_size * IMAGES * size.patches
        towers.append(
            (shape.vision_layers, shape.vision_hidden, shape.vision_intermediate, patches)
        )
    kept = 0.0
    for layers, hidden, intermediate, places in towers:
        layer = KEPT[0] * hidden + KEPT[1] * intermediate
        kept += places * (layers * hidden + layer if checkpointing else layers * layer) * width
    adapter = TRAINED_BYTES * adapted_parameters(shape, settings)
    return weight_bytes(backbone, shape) + adapter + round(kept) + LOGITS + RUNTIME
