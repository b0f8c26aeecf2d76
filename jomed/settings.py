"""The settings of a run as frozen, strict models; ``jomed.config`` fills them from params/."""

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]

HeadName = Literal["text", "image"]
HEAD_NAMES: tuple[HeadName, ...] = get_args(HeadName)
LossName = Literal["posterior_kl", "perplexity_distillation", "emdr2", "reverse_kl"]

_ADDRESS = re.compile(
    r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?"
)


class Settings(BaseModel):
    """Base of every section: immutable, unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class WorldConfig(Settings):
    """The synthetic world.

    ``image_size`` is the side in pixels; ``general`` counts the image-text pairs that models are
    pre-trained on, ``records`` the records of each corpus, ``train``/``val``/``test`` the samples
    of each benchmark. ``finding_named`` and ``finding_negated`` are shares of corpus texts that
    name or rule out a finding, ``general_named`` the share of general texts that name it. The two
    contrasts and ``noise`` are amplitudes on the 0-1 grey scale.
    """

    seed: Count
    image_size: Size
    general: Size
    records: Size
    train: Size
    val: Size
    test: Size
    finding_named: Share
    finding_negated: Share
    general_named: Share
    finding_contrast: NonNegative
    style_contrast: NonNegative
    noise: NonNegative


class SampleLimits(Settings):
    """Largest number of samples taken from each split; null takes them all."""

    train: Size | None
    val: Size | None
    test: Size | None


class DataConfig(Settings):
    """Which data are read and how they are filtered.

    ``root`` is the folder of the real data (``$NAME`` takes it from an environment variable);
    null means that the data are those of the synthetic ``world``. ``corpora`` names files in
    params/corpora. ``mimic_splits`` and ``mimic_views`` say which MIMIC-CXR images enter an index
    (views as in the metadata table, or [all]), ``mimic_text`` which part of their reports:
    "findings" alone, "impression" alone, or the one named first and else the other.
    ``record_text`` is the text of a record made from the training split, with the fields {label}
    and {label_name}.
    """

    root: str | None
    world: WorldConfig | None
    corpora: tuple[str, ...] = Field(min_length=1)
    min_text_chars: Count
    mimic_views: tuple[str, ...] = Field(min_length=1)
    mimic_splits: tuple[Literal["train", "validate", "test"], ...] = Field(min_length=1)
    mimic_text: Literal[
        "findings", "impression", "findings_or_impression", "impression_or_findings"
    ]
    duplicates: Literal["keep", "drop_exact", "drop_near"]
    record_text: str | None
    sample_limits: SampleLimits
    val_share: Annotated[float, Field(gt=0.0, lt=1.0)]

    @model_validator(mode="after")
    def _text_for_training_split(self) -> Self:
        if "training_split" in self.corpora and self.record_text is None:
            raise ValueError("record_text is needed when corpora holds 'training_split'")
        return self


class IndexConfig(Settings):
    """Embedding (``batch_size`` records, ``shard_size`` records per file) and search."""

    kind: Literal["exact", "ivf"]
    batch_size: Size
    shard_size: Size
    ivf_cells: Size
    ivf_probes: Size


class PromptConfig(Settings):
    """Limits of a prompt: longest image side in pixels, longest record text in characters.

    ``max_pixels`` is the largest width x height of an image (null: no limit besides its side).
    """

    max_side: Size
    max_pixels: Size | None
    max_text_chars: Size


class Stage1Config(Settings):
    """Reader fine-tuning with LoRA (Eq. 1); steps are optimiser steps.

    ``lora_vision`` adapts the vision tower too, as the paper does; without it the reader sees
    what it saw before and learns only to read. ``gradient_checkpointing`` computes activations
    twice instead of keeping them: the same result with less memory, in more time. A step takes
    ``batch_size`` x ``gradient_accumulation`` examples, however many processes share them.
    """

    candidates_per_head: Size
    max_steps: Size
    batch_size: Size
    gradient_accumulation: Size
    learning_rate: Positive
    weight_decay: NonNegative
    warmup_ratio: Share
    lora_rank: Size
    lora_alpha: Size
    lora_dropout: Share
    lora_vision: bool
    gradient_checkpointing: bool
    eval_every: Size


class Stage2Config(Settings):
    """Retriever training (Eq. 2): ``candidates`` is K, ``alpha`` the share of the trained tower.

    ``tau_r`` and ``tau_g`` are the temperatures of retriever and reader; ``likelihoods:
    shuffled`` is the control that must not help.
    """

    heads: tuple[HeadName, ...]
    recipe: Literal["jomed", "released"]
    loss: LossName
    likelihoods: Literal["reader", "shuffled"]
    candidates: Size
    alpha: Share
    tau_r: Positive
    tau_g: Positive
    steps: Size
    batch_size: Size
    learning_rate: Positive
    weight_decay: NonNegative
    warmup_steps: Count
    clip_norm: Positive
    refresh_every: Size
    eval_every: Size
    patience: Size
    balanced: bool


class InferenceConfig(Settings):
    """Inference (Eq. 3); ``distractors`` wrong answers close an open question (see `closing`)."""

    candidates_per_head: Size
    fusion: Literal["probability", "released_logits"]
    tau_f: Positive
    max_new_tokens: Size
    distractors: Size


class ClosingConfig(Settings):
    """Where the wrong answers come from that close an open question (method, section 4.1).

    ``distractors`` draws them from the training answers. ``llm`` takes those of ``model``, which
    are kept in the JSONL file ``store`` (a relative path starts at the folder of params/). What it
    lacks is asked of ``endpoint``, the base URL of an OpenAI-compatible server (null: nothing is
    asked), with the credential in the environment variable ``key_variable`` (null: the server
    wants none). ``parallel`` requests run at once, each with ``timeout`` seconds per try and
    ``tries`` tries in all; ``enforce_schema`` asks the server to let only the wanted JSON pass.
    """

    method: Literal["distractors", "llm"]
    model: str | None
    store: str | None
    endpoint: str | None
    key_variable: str | None
    parallel: Size
    timeout: Positive
    tries: Size
    enforce_schema: bool

    @model_validator(mode="after")
    def _checked(self) -> Self:
        # No message shows a value: what stands in the wrong place may be a secret.
        if self.method == "llm" and (self.model is None or self.store is None):
            raise ValueError("method llm needs a model and a store")
        if self.endpoint is not None and not _ADDRESS.fullmatch(self.endpoint):
            raise ValueError("endpoint must be like http://127.0.0.1:8000/v1: no user, no query")
        if self.key_variable is not None and not re.fullmatch(r"[A-Za-z_]\w*", self.key_variable):
            raise ValueError("key_variable names an environment variable, it is no credential")
        return self


class EvaluationConfig(Settings):
    """Methods compared, and the paired bootstrap behind every interval.

    ``exclude_leaks`` leaves out test samples that share an image, a near copy or a group (patient,
    article, question image) with another split or with the index.
    """

    methods: tuple[str, ...] = Field(min_length=1)
    exclude_leaks: tuple[Literal["image", "near", "group"], ...]
    bootstrap_draws: Size
    bootstrap_seed: Count
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]


class RuntimeConfig(Settings):
    """Where it runs; no part of any hash."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Size


class ProfileConfig(Settings):
    """What one YAML under params/profiles holds, ``overrides`` apart."""

    description: str
    label: str | None
    data: DataConfig
    index: IndexConfig
    prompt: PromptConfig
    stage1: Stage1Config
    stage2: Stage2Config
    inference: InferenceConfig
    closing: ClosingConfig
    evaluation: EvaluationConfig
    runtime: RuntimeConfig
