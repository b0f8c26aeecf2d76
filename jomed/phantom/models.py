"""The encoder and the reader of a run: published ones as they are, tiny ones trained once."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from jomed.artifacts import Artifact, artifact, data_root, stamp
from jomed.config import RunConfig
from jomed.data.benchmarks import load_benchmark
from jomed.phantom import LOSSES
from jomed.phantom.general import GeneralPair, read_general
from jomed.phantom.labelled import labelled_pairs
from jomed.phantom.pretrain_encoder import pretrain_encoder
from jomed.phantom.pretrain_reader import pretrain_reader
from jomed.reading.sources import named_model
from jomed.retrieval.encoders import Encoder, load_encoder
from jomed.storage import locked

Trainer = Callable[[RunConfig, Sequence[GeneralPair], Path, Path], list[float]]


def provide_encoder(config: RunConfig) -> Encoder:
    """The frozen encoder; a tiny one is pre-trained on first use."""
    if config.encoder.tiny is None:
        return load_encoder(config)
    return load_encoder(config, _trained(config, artifact(config, "encoder"), pretrain_encoder))


def provide_backbone(config: RunConfig) -> Path | str:
    """Folder or hub id of the general-purpose reader; a tiny one is pre-trained on first use."""
    if config.backbone.model_id is not None:
        return named_model(config.backbone.model_id)
    return _trained(config, artifact(config, "backbone"), pretrain_reader)


def _trained(config: RunConfig, made: Artifact, train: Trainer) -> Path:
    """The folder of a tiny model; a process that finds another one training it waits for that."""
    if not made.is_complete():
        with locked(made.path.with_name(f".{made.path.name}.lock"), wait=True):
            if not made.is_complete():
                torch.set_num_threads(config.runtime.threads)
                root = data_root(config)
                pairs = _general_pairs(config, root)
                with made.writing(**stamp(config)) as folder:
                    losses = train(config, pairs, root, folder)
                    (folder / LOSSES).write_text(json.dumps(losses))
    return made.require()


def _general_pairs(config: RunConfig, root: Path) -> list[GeneralPair]:
    """The general split of the world; without a world, the benchmark's own training split."""
    if config.data.world is not None:
        return read_general(root)
    return labelled_pairs(config, load_benchmark(config, root)[0])
