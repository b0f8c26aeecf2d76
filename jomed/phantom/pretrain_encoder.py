"""Pre-train a tiny open_clip model on the general split, contrastively."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch.nn import functional as F  # noqa: N812

from jomed.catalogue import TinyEncoderConfig
from jomed.config import RunConfig
from jomed.data.images import open_image
from jomed.phantom.general import GeneralPair
from jomed.progress import track
from jomed.retrieval.encoders import save_encoder

WEIGHT_DECAY = 0.05
WARMUP = 0.1
LARGEST_SCALE = 50.0
MEAN, SPREAD = [0.45, 0.4, 0.35], [0.25, 0.25, 0.25]


def pretrain_encoder(
    config: RunConfig, pairs: Sequence[GeneralPair], root: Path, folder: Path
) -> list[float]:
    """Build, train and save a tiny encoder to `folder`, in open_clip's own folder layout.

    Returns the symmetric contrastive loss of every step.
    """
    tiny = config.encoder.tiny
    if tiny is None:
        raise ValueError(f"encoder {config.encoder.name!r} is a published model, not a tiny one")
    recipe = {"model_cfg": _shape(tiny), "preprocess_cfg": _preprocessing(tiny)}
    torch.manual_seed(0)
    model = open_clip.CLIP(**recipe["model_cfg"]).train()
    open_clip.set_model_preprocess_cfg(
        model, {**recipe["preprocess_cfg"], "size": tiny.image_size, "mode": "RGB"}
    )
    preprocess = image_transform_v2(
        PreprocessCfg(size=tiny.image_size, **recipe["preprocess_cfg"]), is_train=False
    )
    pixels = torch.stack(
        [
            preprocess(open_image(pair.image, root))
            for pair in track(pairs, "reading the general split")
        ]
    )
    tokens = open_clip.SimpleTokenizer(context_length=tiny.context)([pair.text for pair in pairs])
    losses = _train(model, pixels, tokens, tiny)
    save_encoder(model.eval(), recipe, folder)
    return losses


def _shape(tiny: TinyEncoderConfig) -> dict[str, Any]:
    return {
        "embed_dim": tiny.dim,
        "vision_cfg": {
            "image_size": tiny.image_size,
            "patch_size": tiny.patch,
            "width": tiny.width,
            "layers": tiny.layers,
            "head_width": tiny.width // tiny.heads,
        },
        "text_cfg": {
            "context_length": tiny.context,
            "vocab_size": 49408,  # open_clip's own byte-pair vocabulary
            "width": tiny.text_width,
            "heads": tiny.heads,
            "layers": tiny.text_layers,
        },
    }


def _preprocessing(tiny: TinyEncoderConfig) -> dict[str, Any]:
    return {"mean": MEAN, "std": SPREAD, "interpolation": "bicubic", "resize_mode": "squash"}


def _train(
    model: Any, pixels: torch.Tensor, tokens: torch.Tensor, tiny: TinyEncoderConfig
) -> list[float]:
    rng = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=tiny.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, tiny.learning_rate, total_steps=tiny.steps, pct_start=WARMUP
    )
    size = min(tiny.batch_size, len(pixels))
    targets, losses = torch.arange(size), []
    for _ in track(range(tiny.steps), "pre-training the tiny encoder"):
        batch = torch.from_numpy(rng.choice(len(pixels), size, replace=False))
        images = model.encode_image(pixels[batch], normalize=True)
        texts = model.encode_text(tokens[batch], normalize=True)
        similarities = model.logit_scale.exp().clamp(max=LARGEST_SCALE) * images @ texts.T
        loss = (
            F.cross_entropy(similarities, targets) + F.cross_entropy(similarities.T, targets)
        ) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(round(loss.item(), 4))
    return losses
