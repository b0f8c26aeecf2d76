"""Sizes of published models: facts to plan with, which no result depends on.

They are no part of any hash. A model may state none (``shape: null``); what `plan` would estimate
from them is then unknown.
"""

from jomed.settings import Settings, Size


class ReaderShape(Settings):
    """Sizes of a reader as its publisher states them (``source``); only `plan` reads them.

    ``vision_parameters`` are those of the vision tower and of what joins it to the language model.
    Images get sides from ``min_side`` to ``max_side`` pixels and are cut into patches of ``patch``
    pixels, of which ``merge`` x ``merge`` make one token.
    """

    source: str
    language_parameters: Size
    vision_parameters: Size
    layers: Size
    hidden: Size
    intermediate: Size
    heads: Size
    kv_heads: Size
    head_dim: Size
    vocabulary: Size
    tied_embeddings: bool
    vision_layers: Size
    vision_hidden: Size
    vision_intermediate: Size
    patch: Size
    merge: Size
    min_side: Size
    max_side: Size


class EncoderShape(Settings):
    """Length of an encoder's vectors and parameters of its image tower; only `plan` reads them."""

    source: str
    dim: Size
    image_parameters: Size
