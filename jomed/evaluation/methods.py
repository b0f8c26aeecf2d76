"""The compared methods, as data, and candidate lists that need no retriever.

A method says which records the reader sees (from which lists, by which heads, which parts of the
record) and nothing else: reader, fusion and metrics are the same for all of them.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jomed.evaluation.fusion import HeadList

HeadName = Literal["text", "image"]
HeadWeights = Literal["untrained", "trained", "shuffled"]
Source = Literal["none", "random", "corpora", "training_split"]


@dataclass(frozen=True, slots=True)
class Method:
    """What a method needs.

    ``source``: where records come from (none, drawn at random from the corpora, retrieved from the
    corpora, retrieved from the training split). ``heads``: (head, weights) in list order, where
    ``shuffled`` weights were trained on likelihoods of other records. ``record_image`` and
    ``record_text``: the parts of a record that the prompt shows.
    """

    name: str
    title: str
    source: Source
    heads: tuple[tuple[HeadName, HeadWeights], ...] = ()
    record_image: bool = True
    record_text: bool = True

    @property
    def lists(self) -> tuple[str, ...]:
        """Names of the candidate lists that a sample must bring: its heads, or its source."""
        return tuple(head for head, _ in self.heads) or (self.source,)


_UNTRAINED: tuple[tuple[HeadName, HeadWeights], ...] = (
    ("image", "untrained"),
    ("text", "untrained"),
)
_TRAINED: tuple[tuple[HeadName, HeadWeights], ...] = (("image", "trained"), ("text", "trained"))

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("closed_book", "No retrieval", "none", record_image=False, record_text=False),
        Method("random_records", "Random records", "random"),
        Method("standard_rag", "Standard RAG (untrained heads)", "corpora", _UNTRAINED),
        Method(
            "text_head", "+ text head", "corpora", (("image", "untrained"), ("text", "trained"))
        ),
        Method(
            "image_head",
            "+ image head alone",
            "corpora",
            (("image", "trained"), ("text", "untrained")),
        ),
        Method("jomed", "JOMED (both heads)", "corpora", _TRAINED),
        Method(
            "shuffled",
            "Heads trained on shuffled likelihoods",
            "corpora",
            (("image", "shuffled"), ("text", "shuffled")),
        ),
        Method("caption_only", "JOMED, caption only", "corpora", _TRAINED, record_image=False),
        Method("image_only", "JOMED, image only", "corpora", _TRAINED, record_text=False),
        Method("rad", "RAD (answers of similar training cases)", "training_split", _UNTRAINED),
    )
}


def method_named(name: str) -> Method:
    """The registered method of that name; ValueError with the known names otherwise."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]


def no_record() -> dict[str, HeadList]:
    """The candidate list of a closed-book sample: the empty record id, with all the weight."""
    return {"none": HeadList(("",), (0.0,))}


def random_records(
    record_ids: Sequence[str],
    count: int,
    sample_id: str,
    seed: int,
    exclude: Collection[str] = (),
) -> dict[str, HeadList]:
    """``count`` different records drawn with equal weight, for one sample.

    The draw depends on ``seed`` and ``sample_id`` alone, so it does not change with the order or
    number of samples. ``exclude``: records that are the query image itself.
    """
    allowed = [record_id for record_id in record_ids if record_id not in set(exclude)]
    if not 0 < count <= len(allowed):
        raise ValueError(f"cannot draw {count} of {len(allowed)} records for {sample_id!r}")
    digest = hashlib.sha256(f"{seed}:{sample_id}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    drawn = rng.choice(len(allowed), size=count, replace=False).tolist()
    return {"random": HeadList(tuple(allowed[i] for i in drawn), (0.0,) * count)}
