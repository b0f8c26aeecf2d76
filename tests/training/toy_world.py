"""A toy world for stage 2: a linear tower that sees style before the hidden attribute.

An image is 16 numbers drawn as a 4 x 4 grey picture: 8 of style (strong), 8 of attribute (weak).
The scorer prefers records with the sample's attribute; it is the only carrier of that wish.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F  # noqa: N812

from jomed.config import RunConfig, load_config
from jomed.retrieval.index import Index, build_index
from jomed.settings import IndexConfig

ATTRIBUTES, STYLES = 4, 4
ANSWERS = ATTRIBUTES


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        mix = torch.randn(16, 16, generator=generator) / 4
        self.linear = nn.Linear(16, 16)
        with torch.no_grad():
            self.linear.weight.copy_(mix)
            self.linear.bias.zero_()

    def forward(self, pixels):
        return F.normalize(self.linear(pixels[:, 0].flatten(1)), dim=-1)


class ToyEncoder:
    """The part of jomed.retrieval.encoders.Encoder that index and training use."""

    name, key, dim, batch_size, device = "toy", "toy", 16, 16, torch.device("cpu")

    def __init__(self) -> None:
        self.image_tower = Tower().eval().requires_grad_(False)

    def preprocess(self, image):
        grey = torch.from_numpy(np.asarray(image, np.float32)[..., 0] / 127.5 - 1.0)
        return grey[None].repeat(3, 1, 1)

    def encode_pixels(self, pixels):
        with torch.no_grad():
            return self.image_tower(pixels).numpy()

    def encode_texts(self, texts):
        rng = np.random.default_rng([len(text) for text in texts])
        vectors = rng.normal(size=(len(texts), self.dim)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _write(root: Path, name: str, attribute: int, style: int, rng: np.random.Generator) -> str:
    values = rng.normal(scale=0.15, size=16)
    values[style] += 1.0
    values[8 + attribute] += 0.45
    pixels = np.clip(127.5 * (1.0 + 0.6 * values), 0, 255).astype(np.uint8).reshape(4, 4)
    Image.fromarray(pixels).convert("RGB").save(root / name)
    return name


class World:
    """Records, samples, index and scorer below `root`; attributes are known to the scorer only."""

    def __init__(self, root: Path, records: int = 160, train: int = 96, val: int = 32) -> None:
        self.root, self.encoder = root, ToyEncoder()
        rng = np.random.default_rng(0)
        self.attribute: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []
        self.records = pd.DataFrame([self._record(number, rng) for number in range(records)])
        splits = ["train"] * train + ["val"] * val
        self.samples = pd.DataFrame([self._sample(n, s, rng) for n, s in enumerate(splits)])
        settings = IndexConfig(
            kind="exact", batch_size=64, shard_size=1000, ivf_cells=1, ivf_probes=1
        )
        build_index(self.records, self.encoder, root, root / "index", settings)
        self.index = Index.open(root / "index")
        self.gold = {
            sample_id: self.attribute[sample_id] for sample_id in self.samples["sample_id"]
        }

    def _record(self, number, rng):
        attribute, style = int(rng.integers(ATTRIBUTES)), int(rng.integers(STYLES))
        record_id = f"roco:{number}"
        self.attribute[record_id] = attribute
        image = _write(self.root, f"record{number}.png", attribute, style, rng)
        return {
            "record_id": record_id,
            "source": "roco",
            "image": image,
            "text": "x",
            "group": "",
            "image_sha": f"record {number}",
            "image_phash": "",
        }

    def _sample(self, number, split, rng):
        attribute, style = number % ATTRIBUTES, int(rng.integers(STYLES))
        sample_id = f"toy:{split}/{number}"
        self.attribute[sample_id] = attribute
        image = _write(self.root, f"sample{number}.png", attribute, style, rng)
        return {
            "sample_id": sample_id,
            "benchmark": "toy",
            "split": split,
            "image": image,
            "answer": str(attribute),
            "answer_type": "label",
            "group": "",
            "image_sha": f"sample {number}",
            "image_phash": "",
        }

    def score(self, pairs):
        """A reader that answers with the record's attribute, at 90 percent."""
        self.asked += pairs
        return [self._answer(record_id) for _, record_id in pairs]

    def _answer(self, record_id):
        p = np.full(ANSWERS, 0.1 / (ANSWERS - 1), np.float32)
        p[self.attribute[record_id]] = 0.9
        return np.log(p) - 3.0  # an unnormalised constant, as a reader's sums of log p have


def config(**stage2: object) -> RunConfig:
    """The tiny profile with a stage 2 that suits the toy world."""
    values: dict[str, object] = {
        "recipe": "jomed",
        "loss": "posterior_kl",
        "likelihoods": "reader",
        "candidates": 12,
        "alpha": 0.6,
        "tau_r": 0.1,
        "tau_g": 1.0,
        "steps": 60,
        "batch_size": 16,
        "learning_rate": 0.02,
        "weight_decay": 0.01,
        "warmup_steps": 4,
        "clip_norm": 1.0,
        "refresh_every": 5,
        "eval_every": 20,
        "patience": 50,
        "balanced": True,
    }
    overrides = {f"stage2.{key}": value for key, value in (values | stage2).items()}
    labels = [str(attribute) for attribute in range(ATTRIBUTES)]
    overrides |= {"benchmark.answers": labels, "benchmark.label_names": labels}
    return load_config(profile="tiny", overrides=overrides)
