"""Prompts as rows of the language model: what prompts beside one record share is read once.

Exact, because attention is causal: the tokens up to the query image are the same for every query
beside a record, and none of them sees a query.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from jomed.reading.packing import PackedPrompt, ReaderError
from jomed.reading.tries import AnswerTrie

LONGEST_ROW = 4
"""A row has at most this many times the tokens of its longest prompt with its answers.

The work of attention and the mask grow with the square of a row. With two thirds of each prompt
shared, a row then holds 10 prompts and saves 90 % of what sharing can save at most.
"""


@dataclass(frozen=True)
class Row:
    """Prompts that begin alike: the beginning, then a branch for each, in S columns.

    A branch is what only its own prompt has, followed by the nodes of its answers' trie.
    ``places`` are the prompts' places in what the caller asked for.
    """

    places: tuple[int, ...]
    prompts: tuple[PackedPrompt, ...]
    tries: tuple[AnswerTrie, ...]

    @property
    def lead(self) -> int:
        """Number of columns that belong to all prompts."""
        return self.prompts[0].lead

    @property
    def length(self) -> int:
        """Number of columns (S)."""
        return self.ends[-1]

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The column behind each branch."""
        sizes = [_size(p, t) - p.lead for p, t in zip(self.prompts, self.tries, strict=True)]
        return tuple(accumulate(sizes, initial=self.lead))[1:]

    @property
    def last(self) -> list[int]:
        """Column of each prompt's last token; the nodes of its trie follow it."""
        return [end - t.nodes - 1 for end, t in zip(self.ends, self.tries, strict=True)]

    @property
    def images(self) -> tuple[str, ...]:
        """Addresses of the images in the order of the columns."""
        queries = (prompt.images[-1] for prompt in self.prompts)
        return (*self.prompts[0].images[:-1], *queries)

    def tokens(self) -> np.ndarray:
        """Token ids (S,)."""
        return self._joined([p.ids for p in self.prompts], [t.tokens for t in self.tries])

    def shows(self, image_token: int) -> np.ndarray:
        """Tell which columns are patches of images, bool (S,): never those of answers."""
        patches = [prompt.ids == image_token for prompt in self.prompts]
        return self._joined(patches, [np.zeros(trie.nodes, bool) for trie in self.tries])

    def seen_until(self) -> np.ndarray:
        """Return where each token stops to be seen, int (S,): it is seen by column i >= its own
        if i is less than this. For a prompt's own tokens that is the end of their branch.
        """
        pairs = list(zip(self.tries, self.ends, strict=True))
        own = [np.full(len(p.ids), end) for p, end in zip(self.prompts, self.ends, strict=True)]
        own[0][: self.lead] = self.length
        return self._joined(own, [end - trie.nodes + trie.ends for trie, end in pairs])

    def positions(self, of_prompts: Sequence[np.ndarray]) -> np.ndarray:
        """Return rotary positions (R, S) from those of each whole prompt (R, L_m).

        A node has the position that it would have behind its own prompt. Raises ReaderError where
        the prompts' shared tokens have different positions.
        """
        lead = of_prompts[0][:, : self.lead]
        for own in of_prompts[1:]:
            if own is not of_prompts[0] and not np.array_equal(own[:, : self.lead], lead):
                raise ReaderError("prompts that begin alike have different positions there")
        axes = len(lead)
        nodes = [
            np.broadcast_to(own.max() + trie.depths, (axes, trie.nodes))
            for own, trie in zip(of_prompts, self.tries, strict=True)
        ]
        return self._joined(of_prompts, nodes)

    def _joined(self, own: Sequence[np.ndarray], nodes: Sequence[np.ndarray]) -> np.ndarray:
        """Join values of whole prompts (..., L_m) and of nodes (..., T_m) to those of columns."""
        parts = [own[0][..., : self.lead]]
        for prompt, trie in zip(own, nodes, strict=True):
            parts += [prompt[..., self.lead :], trie]
        return np.concatenate(parts, axis=-1)


def make_rows(
    prompts: Sequence[PackedPrompt], tries: Sequence[AnswerTrie], budget: int, share: bool
) -> list[Row]:
    """Return all prompts, each with its trie, as rows of at most ``budget`` tokens.

    With ``share`` prompts beside the same record, which is the same images and tokens up to the
    query image, stand in one row or, beyond LONGEST_ROW, in several. One that is longer than the
    budget makes a row of its own, and so does every closed-book prompt.
    """
    groups: dict[object, list[int]] = {}
    for place, prompt in enumerate(prompts):
        record = (prompt.images[:-1], prompt.ids[: prompt.lead].tobytes())
        groups.setdefault(record if share and prompt.lead else place, []).append(place)
    rows = []
    for group in groups.values():
        sizes = [_size(prompts[place], tries[place]) for place in group]
        limit = min(budget, LONGEST_ROW * max(sizes))
        for places in _cut(group, sizes, prompts[group[0]].lead, limit):
            chosen = tuple(prompts[place] for place in places)
            rows.append(Row(tuple(places), chosen, tuple(tries[place] for place in places)))
    return rows


def plan_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Return batches of indices, longest first, of at most ``budget`` padded tokens each.

    A batch of n pads to n x its longest length. An item that is larger than the budget makes a
    batch of its own.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > budget:
            batches.append([])
        batches[-1].append(index)
    return batches


def _cut(group: Sequence[int], sizes: Sequence[int], lead: int, limit: int) -> list[list[int]]:
    """Cut a group, in its order, into as few rows of at most ``limit`` tokens as that gives."""
    rows: list[list[int]] = []
    length = 0
    for place, size in zip(group, sizes, strict=True):
        if not rows or length + size - lead > limit:
            rows.append([])
            length = lead
        rows[-1].append(place)
        length += size - lead
    return rows


def _size(prompt: PackedPrompt, trie: AnswerTrie) -> int:
    return len(prompt.ids) + trie.nodes
