"""One forward pass per prompt that scores a whole answer set, exactly."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from jomed.reading.packing import PackedPrompt, PromptPacker, ReaderError, pad_ids
from jomed.reading.tries import AnswerTrie

_LOGITS_AT_ONCE = 2**26
"""Largest number of logits held at a time (256 MiB as float32)."""


@torch.inference_mode()
def score_batch(
    model: Any,
    packer: PromptPacker,
    prompts: Sequence[PackedPrompt],
    tries: Sequence[AnswerTrie],
    features: Sequence[torch.Tensor],
) -> list[np.ndarray]:
    """Return log p(c | prompt) of every answer of each prompt's own trie, float32.

    Prompts are padded on the right and the trie's nodes follow in common columns. A node sees
    its prompt and its ancestors, at the positions that they would have behind the prompt, so
    that each answer is read as if it stood there alone. ``features`` are the vision features of
    all images, in the order of the prompts. The language model runs on the columns, its head on
    those positions only after which an answer goes on.
    """
    device = model.device
    ids, mask = pad_ids([p.ids for p in prompts], packer.tokenizer.pad_token_id, left=False)
    embedded, inner = _embed(model, ids, tries, packer.image_token, features)
    _check_window(model, embedded.shape[1])
    said = [int(trie.depths.max(initial=0)) + 1 for trie in tries]
    check_context(model, [len(p.ids) for p in prompts], said, "longest answer")
    hidden = model.model.language_model(
        inputs_embeds=embedded,
        attention_mask=_attention(model, mask, tries, embedded.dtype),
        position_ids=_positions(model, packer, prompts, ids, mask, tries).to(device),
        use_cache=False,
        **inner,
    ).last_hidden_state
    return _read_off(model, hidden, mask.sum(1).numpy(), tries, ids.shape[1])


def _nodes(tries: Sequence[AnswerTrie], values: Sequence[np.ndarray], fill: int) -> torch.Tensor:
    padded = np.full((len(tries), max(trie.nodes for trie in tries)), fill, np.int64)
    for row, known in zip(padded, values, strict=True):
        row[: len(known)] = known
    return torch.from_numpy(padded)


def _embed(
    model: Any,
    ids: torch.Tensor,
    tries: Sequence[AnswerTrie],
    image_token: int,
    features: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return the embedded columns (B, S, H) and what the text model adds to its first layers."""
    columns = torch.cat([ids, _nodes(tries, [t.tokens for t in tries], fill=0)], dim=1)
    embedded: torch.Tensor = model.get_input_embeddings()(columns.to(model.device))
    is_image = columns == image_token
    is_image[:, ids.shape[1] :] = False
    images = torch.cat(list(features)).to(embedded)
    if len(images) != int(is_image.sum()):
        raise ReaderError(f"{int(is_image.sum())} image tokens but {len(images)} vision features")
    is_image = is_image.to(model.device)
    last, *inner = images.split(embedded.shape[2], dim=1)
    embedded[is_image] = last
    if not inner:
        return embedded, {}
    return embedded, {"visual_pos_masks": is_image, "deepstack_visual_embeds": inner}


def _attention(
    model: Any, mask: torch.Tensor, tries: Sequence[AnswerTrie], dtype: torch.dtype
) -> torch.Tensor | None:
    """Additive mask (B, 1, S, S); None, which is causal, where no trie has nodes.

    Under a causal mask padding on the right is never seen by a token of the prompt.
    """
    width = max(trie.nodes for trie in tries)
    if width == 0:
        return None
    if model.config.get_text_config()._attn_implementation == "flash_attention_2":
        raise ReaderError(
            "flash attention cannot score answers of several tokens, which need a mask of their "
            "own; set backbone.attention to 'auto' or 'sdpa'"
        )
    batch, length = mask.shape
    total = length + width
    seen = torch.zeros(batch, total, total, dtype=torch.bool)
    seen[:, :length, :length] = torch.ones(length, length, dtype=torch.bool).tril()
    seen[:, length:, :length] = mask.bool()[:, None, :]
    # Unused columns see themselves: a row without any key would give NaN.
    seen[:, length:, length:] = torch.eye(width, dtype=torch.bool)
    for row, trie in enumerate(tries):
        span = slice(length, length + trie.nodes)
        seen[row, span, span] = torch.from_numpy(trie.visible)
    additive = torch.zeros(batch, 1, total, total, dtype=dtype, device=model.device)
    return additive.masked_fill_(~seen[:, None].to(model.device), torch.finfo(dtype).min)


def _positions(
    model: Any,
    packer: PromptPacker,
    prompts: Sequence[PackedPrompt],
    ids: torch.Tensor,
    mask: torch.Tensor,
    tries: Sequence[AnswerTrie],
) -> torch.Tensor:
    """Rotary positions (R, B, S), or (B, S) for models with plain ones."""
    # Positions depend on where the images are and how large, which few of a batch differ in.
    layouts: dict[tuple[bytes, bytes], int] = {}
    first: list[int] = []
    place_of = []
    for row, prompt in enumerate(prompts):
        sizes = packer.geometry(prompt.images).numpy().tobytes()
        layout = ((prompt.ids == packer.image_token).tobytes(), sizes)
        if layout not in layouts:
            layouts[layout] = len(first)
            first.append(row)
        place_of.append(layouts[layout])
    geometry = packer.geometry([address for row in first for address in prompts[row].images])
    of_layout = packer.family.positions(
        model.model, ids[first], mask[first], geometry, packer.image_token
    )
    of_prompt = of_layout[:, place_of]
    after = of_prompt.masked_fill(mask[None] == 0, -1).amax(dim=(0, 2)) + 1
    of_nodes = after[:, None] + _nodes(tries, [t.depths - 1 for t in tries], fill=0)
    rows = len(of_prompt)
    positions = torch.cat([of_prompt, of_nodes.expand(rows, *of_nodes.shape)], dim=2)
    return positions[0] if rows == 1 else positions


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


def _check_window(model: Any, length: int) -> None:
    window = sliding_window(model)
    if window is not None and length > window:
        raise ReaderError(
            f"a prompt with its answers has {length} tokens, more than the sliding window of the "
            f"model ({window}); lower prompt.max_side or prompt.max_text_chars"
        )


def _read_off(
    model: Any,
    hidden: torch.Tensor,
    lengths: np.ndarray,
    tries: Sequence[AnswerTrie],
    nodes_from: int,
) -> list[np.ndarray]:
    """Apply the head where an answer goes on and sum the log-probabilities of its tokens."""
    first = np.cumsum([0, *(trie.nodes + 1 for trie in tries)])
    sizes = np.cumsum([0, *(trie.size for trie in tries)])
    rows = np.repeat(np.arange(len(tries)), np.diff(first))
    columns = np.arange(first[-1]) - first[rows] + nodes_from - 1
    columns[first[:-1]] = lengths - 1
    places = np.concatenate([t.edge_places + start for t, start in zip(tries, first, strict=False)])
    tokens = np.concatenate([trie.edge_tokens for trie in tries])
    said = _log_probabilities(model, hidden[rows, columns], places, tokens)
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
