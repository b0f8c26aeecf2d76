"""The answers of a set as a tree of tokens: one forward pass then scores all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jomed.reading.packing import ReaderError


def answer_ids(tokenizer: Any, answer: str) -> list[int]:
    """Return the tokens of an answer as the reader says it, with the end-of-turn token."""
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id]


def scored_tokens(tokenizer: Any, answers: Sequence[str]) -> list[list[int]]:
    """Return the tokens by which each answer of a set is scored.

    The end-of-turn token is one of them, so that answers of different length compare, except
    where every answer of the set is a single token: those compare without it, and the prompt's
    last position scores them all. Raises ReaderError where two answers have the same tokens.
    """
    tokens = [answer_ids(tokenizer, answer) for answer in answers]
    if all(len(ids) == 2 for ids in tokens):
        tokens = [ids[:1] for ids in tokens]
    first: dict[tuple[int, ...], str] = {}
    for answer, ids in zip(answers, tokens, strict=True):
        known = first.setdefault(tuple(ids), answer)
        if known is not answer:
            raise ReaderError(f"answers {known!r} and {answer!r} are the same to the tokenizer")
    return tokens


@dataclass(frozen=True)
class AnswerTrie:
    """Distinct proper prefixes of the answers (the nodes) and the tokens read off after each.

    ``tokens`` (T,), ``depths`` (T,) from 1; a node's descendants follow it, up to ``ends`` (T,).
    Edge e says: token ``edge_tokens[e]`` after ``edge_places[e]`` (0 = the prompt's last token,
    i + 1 = node i) belongs to answer ``edge_answers[e]``.
    """

    tokens: np.ndarray
    depths: np.ndarray
    ends: np.ndarray
    edge_places: np.ndarray
    edge_tokens: np.ndarray
    edge_answers: np.ndarray
    size: int

    @property
    def nodes(self) -> int:
        """Number of tokens that the trie adds to a prompt (T)."""
        return len(self.tokens)


def build_trie(answers: Sequence[Sequence[int]]) -> AnswerTrie:
    """Return the trie of answers given as token ids; an answer's last token needs no node."""
    # Sorted, a prefix stands before its continuations and these stand together.
    prefixes = sorted({tuple(ids[:depth]) for ids in answers for depth in range(len(ids))})
    places = {prefix: place for place, prefix in enumerate(prefixes)}
    edges = [
        (places[tuple(ids[:depth])], token, number)
        for number, ids in enumerate(answers)
        for depth, token in enumerate(ids)
    ]
    columns = np.array(edges, np.int64).reshape(-1, 3).T
    nodes = prefixes[1:]
    depths = [len(prefix) for prefix in nodes]
    ends = [
        next((i for i in range(place + 1, len(nodes)) if depths[i] <= depth), len(nodes))
        for place, depth in enumerate(depths)
    ]
    return AnswerTrie(
        tokens=np.array([prefix[-1] for prefix in nodes], np.int64),
        depths=np.array(depths, np.int64),
        ends=np.array(ends, np.int64),
        edge_places=columns[0],
        edge_tokens=columns[1],
        edge_answers=columns[2],
        size=len(answers),
    )
