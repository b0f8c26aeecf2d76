"""Pairs per second, model FLOP utilisation and stage 1 of readers of real size, on one GPU.

    python perf/gpu.py                        # both readers; needs one CUDA device with 64 GB
    python perf/gpu.py --reader qwen2_vl_7b
    python perf/gpu.py --tiny                 # shows on any machine that the script works

The weights are random, drawn on the device in bfloat16: speed does not depend on their values.
Prompts are those of stage 2, each of `--queries` noise images beside `--candidates` drawn
records, through the library's own scoring. Model FLOPs are those of the matrix products, attention
and convolutions that one pass makes, counted by torch in a pass of their own; their rate is held
against that of a plain bfloat16 matrix product, measured in the same run.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlavaConfig, Qwen2VLConfig
from workload import machine, show

from jomed.config import RunConfig, load_config
from jomed.phantom.tiny_readers import build_processor
from jomed.reading.adapters import quiet_peft
from jomed.reading.answers import AnswerSet
from jomed.reading.families import FAMILIES, ReaderFamily
from jomed.reading.packing import PromptPacker
from jomed.reading.prompts import Prompt
from jomed.reading.reader import Reader
from jomed.reading.supervision import AnswerCollator, Example, answer_loss

# Sizes as in the config.json of Qwen/Qwen2-VL-7B-Instruct and mistral-community/pixtral-12b.
TEXT_SIZES: dict[str, dict[str, Any]] = {
    "qwen2_vl_7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    "pixtral_12b": {
        "hidden_size": 5120,
        "intermediate_size": 14336,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 131072,
    },
}
VISION_SIZES: dict[str, dict[str, Any]] = {
    "qwen2_vl_7b": {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4},
    "pixtral_12b": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    },
}
# Patch side in px, and the image side that the model sees at the library's limit of 256 px.
PATCHES = {"qwen2_vl_7b": (14, 252), "pixtral_12b": (16, 256)}
ROPE = {
    "qwen2_vl_7b": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    "pixtral_12b": {"rope_type": "default", "rope_theta": 1e9},
}
TINY = {"num_hidden_layers": 2, "depth": 2}
"""Layers with --tiny; widths are divided by 16 where they can be."""
WORDS = "heart lung pleural effusion opacity left right lower upper lobe no acute focal mild small"
LABELS = AnswerSet(("0", "1", "2", "3", "4"))
QUESTION = "what is the severity of diabetic retinopathy?"
MATMUL, ROUNDS = 8192, 20
_GIGABYTE = 2**30
Row = tuple[str, str, str, bool]


def main(
    reader: Annotated[str | None, typer.Option(help="qwen2_vl_7b or pixtral_12b")] = None,
    queries: Annotated[int, typer.Option(min=1)] = 16,
    candidates: Annotated[int, typer.Option(min=1)] = 50,
    words: Annotated[int, typer.Option(min=1, help="Words of a record's text.")] = 100,
    batch: Annotated[int, typer.Option(min=1, help="Examples per step of stage 1.")] = 4,
    tiny: Annotated[bool, typer.Option(help="Few narrow layers, on a CPU too.")] = False,
) -> None:
    """Measure each reader and print one table."""
    if not torch.cuda.is_available() and not tiny:
        raise SystemExit("no CUDA device; --tiny shows on a CPU that the script works")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(torch.cuda.get_device_name() if device.type == "cuda" else machine())
    peak = _matmul_rate(device, 512 if tiny else MATMUL)
    rows = [("plain bfloat16 matmul: TFLOP/s", f"{peak / 1e12:.2f}", "", True)]
    for name in [reader] if reader else list(TEXT_SIZES):
        with tempfile.TemporaryDirectory(prefix="jomed-perf-") as place:
            model, packer, config = _random_reader(name, Path(place), device, tiny)
            prompts = _prompts(Path(place), queries, candidates, words)
            rows += _scoring(name, model, packer, config, prompts, peak)
            rows += _stage_1(name, model, packer, config, prompts, batch)
        del model, packer
        if device.type == "cuda":
            torch.cuda.empty_cache()
    show(rows)


def _matmul_rate(device: torch.device, size: int) -> float:
    """FLOP per second of a square matrix product, best of several."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(ROUNDS):
        start = _now(device)
        left @ right
        best = min(best, _now(device) - start)
    return 2 * size**3 / best


def _now(device: torch.device) -> float:
    """The time when everything asked of the device so far is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _random_reader(
    name: str, root: Path, device: torch.device, tiny: bool
) -> tuple[Any, PromptPacker, RunConfig]:
    """A reader with random weights and a processor of the real geometry with a small vocabulary."""
    patch, side = PATCHES[name]
    # The profile that needs no file; sizes of the tiny backbone serve the processor only.
    config = load_config("tiny", backbone=f"tiny_{'qwen2vl' if 'qwen' in name else 'pixtral'}")
    config = config.model_copy(
        update={
            "backbone": load_config("paper", encoder="biomedclip", backbone=name).backbone,
            "prompt": config.prompt.model_copy(update={"max_side": 256}),
            "stage1": load_config("paper", encoder="biomedclip", backbone=name).stage1,
        }
    )
    sizes = load_config("tiny", backbone="tiny_qwen2vl").backbone.tiny
    assert sizes is not None
    drawn = sizes.model_copy(update={"patch": patch, "image_size": side})
    family = FAMILIES[config.backbone.family]
    processor = build_processor(family.name, drawn, [WORDS, QUESTION, " ".join(LABELS.answers)])
    settings = _model_config(name, family, processor.tokenizer, tiny)
    with torch.device(device):
        model = family.model_class._from_config(
            settings, dtype=torch.bfloat16, attn_implementation="sdpa"
        )
    packer = PromptPacker(processor, family, root, config.prompt)
    return model.eval(), packer, config


def _model_config(name: str, family: ReaderFamily, tokenizer: Any, tiny: bool) -> Any:
    text, vision = dict(TEXT_SIZES[name]), dict(VISION_SIZES[name])
    if tiny:
        for sizes in (text, vision):
            narrow = {k: v // 16 for k, v in sizes.items() if k.endswith(("size", "dim"))}
            sizes |= {k: v for k, v in narrow.items() if k != "head_dim"}
            sizes |= {k: v for k, v in TINY.items() if k in sizes}
        text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 512}
        text |= {"head_dim": 128} if "head_dim" in text else {}
        vision |= {"num_heads": 4} if "num_heads" in vision else {"num_attention_heads": 4}
    ids = tokenizer.convert_tokens_to_ids
    text |= {"rope_parameters": ROPE[name], "tie_word_embeddings": False}
    text |= {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    patch, side = PATCHES[name]
    if family.name == "qwen2_vl":
        return Qwen2VLConfig(
            text_config={**text, "bos_token_id": None},
            vision_config={**vision, "hidden_size": text["hidden_size"], "patch_size": patch},
            image_token_id=ids("<|image_pad|>"),
            video_token_id=ids("<|video_pad|>"),
            vision_start_token_id=ids("<|vision_start|>"),
            vision_end_token_id=ids("<|vision_end|>"),
        )
    return LlavaConfig(
        text_config={**text, "model_type": "mistral", "sliding_window": None},
        vision_config={**vision, "model_type": "pixtral", "patch_size": patch, "image_size": side},
        image_token_index=ids("[IMG]"),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )


def _prompts(root: Path, queries: int, candidates: int, words: int) -> list[Prompt]:
    """Every query beside every record; noise images of 256 px, texts of equal length."""
    rng = np.random.default_rng(0)
    for kind, count in (("query", queries), ("record", candidates)):
        for number in range(count):
            noise = rng.integers(256, size=(256, 256, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / f"{kind}{number}.png")
    texts = [" ".join(rng.choice(WORDS.split(), size=words)) for _ in range(candidates)]
    return [
        Prompt(f"record{record}.png", texts[record], f"query{query}.png", QUESTION)
        for query in range(queries)
        for record in range(candidates)
    ]


def _scoring(
    name: str,
    model: Any,
    packer: PromptPacker,
    config: RunConfig,
    prompts: Sequence[Prompt],
    peak: float,
) -> list[Row]:
    """Scoring from image files to log-likelihoods, and the forwards alone."""

    limits = (config.backbone.token_budget, config.backbone.images_per_call, name)

    def fresh() -> Reader:
        empty = PromptPacker(packer.processor, packer.family, packer.root, packer.settings)
        return Reader(model, empty, *limits)

    with FlopCounterMode(display=False) as counted:
        fresh().score(prompts, LABELS)
    flops, device = counted.get_total_flops(), model.device
    cold = _seconds(fresh(), prompts, device)
    warm = fresh()
    warm.score(prompts, LABELS)
    for address in dict.fromkeys(a for prompt in prompts for a in prompt.images):
        warm.packer.pixels(address)
    tokens = sum(len(packed.ids) for packed in warm.packer.pack(prompts))
    warm = Reader(model, warm.packer, *limits)
    opened = _seconds(warm, prompts, device)
    used = flops / opened / peak
    return [
        (f"{name}: tokens per prompt", f"{tokens / len(prompts):.0f}", "", True),
        (f"{name}: model TFLOP per pair", f"{flops / len(prompts) / 1e12:.3f}", "", True),
        (f"{name}: pairs/s, images from files", f"{len(prompts) / cold:.2f}", "", True),
        (f"{name}: pairs/s, images opened", f"{len(prompts) / opened:.2f}", "", True),
        (f"{name}: model FLOP utilisation", f"{used:.1%}", ">= 45%", used >= 0.45),
    ]


def _seconds(reader: Reader, prompts: Sequence[Prompt], device: torch.device) -> float:
    start = _now(device)
    reader.score(prompts, LABELS)
    return _now(device) - start


def _stage_1(
    name: str,
    model: Any,
    packer: PromptPacker,
    config: RunConfig,
    prompts: Sequence[Prompt],
    batch: int,
    steps: int = 5,
) -> list[Row]:
    """Tokens per second and peak memory of LoRA with gradient checkpointing."""
    stage, family, device = config.stage1, packer.family, model.device
    excluded = family.not_adapted if stage.lora_vision else f"{family.not_adapted}|{family.tower}"
    model.requires_grad_(False)
    with quiet_peft():
        adapted = get_peft_model(
            model,
            LoraConfig(
                r=stage.lora_rank,
                lora_alpha=stage.lora_alpha,
                lora_dropout=stage.lora_dropout,
                target_modules="all-linear",
                exclude_modules=excluded,
            ),
        ).train()
        adapted.enable_input_require_grads()
        adapted.gradient_checkpointing_enable({"use_reentrant": False})
    optimiser = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad])
    examples = [Example(prompt, "0") for prompt in prompts[:batch]]
    inputs = {k: v.to(device) for k, v in AnswerCollator(packer)(examples).items()}
    labels = inputs.pop("labels")
    times = []
    for _ in range(steps + 1):
        start = _now(device)
        logits = adapted(**inputs, logits_to_keep=labels.shape[1] + 1).logits
        answer_loss(logits[:, :-1], labels).backward()
        optimiser.step()
        optimiser.zero_grad()
        times.append(_now(device) - start)
    rate = int(inputs["attention_mask"].sum()) / min(times[1:])
    on_gpu = device.type == "cuda"
    peak = f"{torch.cuda.max_memory_allocated() / _GIGABYTE:.1f}" if on_gpu else "no GPU"
    return [
        (f"{name}: stage 1, tokens/s", f"{rate:,.0f}", "", True),
        (f"{name}: stage 1, peak GiB", peak, "", True),
    ]


if __name__ == "__main__":
    typer.run(main)
