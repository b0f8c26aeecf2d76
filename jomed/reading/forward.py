"""One forward pass that scores whole answer sets under many prompts, exactly."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from jomed.reading.packing import PackedPrompt, PromptPacker, ReaderError, pad_ids
from jomed.reading.rows import Row

_LOGITS_AT_ONCE = 2**26
"""Largest number of logits held at a time (256 MiB as float32)."""


@torch.inference_mode()
def score_batch(
    model: Any, packer: PromptPacker, rows: Sequence[Row], features: Sequence[torch.Tensor]
) -> list[np.ndarray]:
    """Return log p(c | prompt) of every answer of each prompt's own trie, float32.

    The prompts are those of the rows, in their order. Rows are padded on the right. A token sees
    what its row's prompts share, what came before it in its own prompt and, in an answer, its
    ancestors, all at the positions that they would have if prompt and answer stood there alone:
    that is what they are read as. ``features`` are the vision features of the rows' images, in
    their order. The language model runs on the columns, its head on those only after which an
    answer goes on.
    """
    _check_lengths(model, rows)
    embedded, inner = _embed(model, rows, packer.image_token, features)
    hidden = model.model.language_model(
        inputs_embeds=embedded,
        attention_mask=_attention(model, rows, embedded.dtype),
        position_ids=_positions(model, packer, rows).to(model.device),
        use_cache=False,
        **inner,
    ).last_hidden_state
    return _read_off(model, hidden, rows)


def takes_masks(model: Any) -> bool:
    """Tell whether the text model's attention can be told who sees whom; flash attention cannot."""
    return bool(model.config.get_text_config()._attn_implementation != "flash_attention_2")


def _padded(values: Sequence[np.ndarray], fill: int) -> torch.Tensor:
    """Put arrays (..., S_i) side by side, (..., B, S), filled up on the right."""
    first = values[0]
    shape = (*first.shape[:-1], len(values), max(each.shape[-1] for each in values))
    padded = np.full(shape, fill, first.dtype)
    for row, each in enumerate(values):
        padded[..., row, : each.shape[-1]] = each
    return torch.from_numpy(padded)


def _embed(
    model: Any, rows: Sequence[Row], image_token: int, features: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return the embedded columns (B, S, H) and what the text model adds to its first layers."""
    columns = _padded([row.tokens() for row in rows], fill=0)
    embedded: torch.Tensor = model.get_input_embeddings()(columns.to(model.device))
    is_image = _padded([row.shows(image_token) for row in rows], fill=0)
    images = torch.cat(list(features)).to(embedded)
    if len(images) != int(is_image.sum()):
        raise ReaderError(f"{int(is_image.sum())} image tokens but {len(images)} vision features")
    is_image = is_image.to(model.device)
    last, *inner = images.split(embedded.shape[2], dim=1)
    embedded[is_image] = last
    if not inner:
        return embedded, {}
    return embedded, {"visual_pos_masks": is_image, "deepstack_visual_embeds": inner}


def _attention(model: Any, rows: Sequence[Row], dtype: torch.dtype) -> torch.Tensor | None:
    """Additive mask (B, 1, S, S); None, which is causal, where all see all that is before them.

    Under a causal mask padding on the right is never seen by a token of a row.
    """
    until = [row.seen_until() for row in rows]
    if all(bool((ends == len(ends)).all()) for ends in until):
        return None
    if not takes_masks(model):
        raise ReaderError(
            "flash attention cannot score answers of several tokens, which need a mask of their "
            "own; set backbone.attention to 'auto' or 'sdpa'"
        )
    # Padding is seen by padding: a column that sees nothing would give NaN.
    longest = max(map(len, until))
    seen_until = _padded(until, fill=longest).to(model.device)
    place = torch.arange(longest, device=model.device)
    unseen = place[:, None] >= seen_until[:, None, :]
    unseen |= place[:, None] < place
    additive = torch.zeros(unseen.shape, dtype=dtype, device=model.device)
    return additive.masked_fill_(unseen, torch.finfo(dtype).min)[:, None]


def _positions(model: Any, packer: PromptPacker, rows: Sequence[Row]) -> torch.Tensor:
    """Rotary positions (R, B, S), or (B, S) for models with plain ones."""
    # Positions depend on where the images are and how large, which few of a batch differ in.
    layouts: dict[tuple[bytes, bytes], int] = {}
    first: list[PackedPrompt] = []
    layouts_of = []
    for row in rows:
        places = []
        for prompt in row.prompts:
            sizes = packer.geometry(prompt.images).numpy().tobytes()
            layout = ((prompt.ids == packer.image_token).tobytes(), sizes)
            if layout not in layouts:
                layouts[layout] = len(first)
                first.append(prompt)
            places.append(layouts[layout])
        layouts_of.append(places)
    geometry = packer.geometry([address for prompt in first for address in prompt.images])
    ids, mask = pad_ids([p.ids for p in first], packer.tokenizer.pad_token_id, left=False)
    found = packer.family.positions(model.model, ids, mask, geometry, packer.image_token).numpy()
    known = [found[:, place, : len(prompt.ids)] for place, prompt in enumerate(first)]
    joined = [
        row.positions([known[place] for place in places])
        for row, places in zip(rows, layouts_of, strict=True)
    ]
    positions = _padded(joined, fill=0)
    return positions[0] if len(positions) == 1 else positions


def check_context(model: Any, prompts: Sequence[int], answers: Sequence[int], what: str) -> None:
    """Raise ReaderError where prompt and answer, in tokens, pass what the model was made for."""
    limit = model.config.get_text_config().max_position_embeddings
    for prompt, answer in zip(prompts, answers, strict=True):
        if prompt + answer > limit:
            raise ReaderError(
                f"a prompt has {prompt} tokens and its {what} {answer}, together more than the "
                f"{limit} that the model reads; lower prompt.max_side or prompt.max_text_chars, "
                "or shorten the answers (inference.max_new_tokens where it generates them)"
            )


def sliding_window(model: Any) -> int | None:
    """Return how many tokens back a model sees where some layer does not see all of them."""
    text = model.config.get_text_config()
    kinds = getattr(text, "layer_types", None) or ["sliding_attention"]
    window: int | None = getattr(text, "sliding_window", None)
    return window if "sliding_attention" in kinds else None


def _check_lengths(model: Any, rows: Sequence[Row]) -> None:
    """Check each prompt with its longest answer, whatever stands beside it in its row."""
    prompts = [len(prompt.ids) for row in rows for prompt in row.prompts]
    nodes = [int(trie.depths.max(initial=0)) for row in rows for trie in row.tries]
    window = sliding_window(model)
    longest = max(map(sum, zip(prompts, nodes, strict=True)))
    if window is not None and longest > window:
        raise ReaderError(
            f"a prompt with its answers has {longest} tokens, more than the sliding window of the "
            f"model ({window}); lower prompt.max_side or prompt.max_text_chars"
        )
    check_context(model, prompts, [depth + 1 for depth in nodes], "longest answer")


def _read_off(model: Any, hidden: torch.Tensor, rows: Sequence[Row]) -> list[np.ndarray]:
    """Apply the head where an answer goes on and sum the log-probabilities of its tokens."""
    tries = [trie for row in rows for trie in row.tries]
    first = np.cumsum([0, *(trie.nodes + 1 for trie in tries)])
    sizes = np.cumsum([0, *(trie.size for trie in tries)])
    last = np.concatenate([row.last for row in rows])
    of_rows = np.repeat(np.arange(len(rows)), [len(row.tries) for row in rows])
    counts = np.diff(first)
    columns = np.arange(first[-1]) + np.repeat(last - first[:-1], counts)
    places = np.concatenate([t.edge_places + start for t, start in zip(tries, first, strict=False)])
    tokens = np.concatenate([trie.edge_tokens for trie in tries])
    said = _log_probabilities(model, hidden[np.repeat(of_rows, counts), columns], places, tokens)
    owners = [t.edge_answers + start for t, start in zip(tries, sizes, strict=False)]
    sums = np.zeros(sizes[-1])
    np.add.at(sums, np.concatenate(owners), said)
    return np.split(sums.astype(np.float32), sizes[1:-1])


def _log_probabilities(
    model: Any, hidden: torch.Tensor, places: np.ndarray, tokens: np.ndarray
) -> np.ndarray:
    """Return log p(token | place) for each (place, token); hidden states (P, H) by place."""
    head = model.get_output_embeddings()
    step = max(1, _LOGITS_AT_ONCE // head.weight.shape[0])
    result = np.empty(len(places), np.float32)
    for start in range(0, len(hidden), step):
        logits = head(hidden[start : start + step]).float()
        here = (places >= start) & (places < start + step)
        rows = torch.from_numpy(places[here] - start).to(logits.device)
        wanted = torch.from_numpy(tokens[here]).to(logits.device)
        said = logits[rows, wanted] - logits.logsumexp(dim=1)[rows]
        result[here] = said.cpu().numpy()
    return result
