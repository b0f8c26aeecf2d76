"""General pairs for tiny models where there is no phantom world: a benchmark's training images."""

from collections.abc import Sequence

import numpy as np

from jomed.config import ConfigError, RunConfig
from jomed.phantom.general import GeneralPair
from jomed.records import Sample

WHICH = ("Which finding does the background report?", "What does the report name as the finding?")
WHETHER = "Does the background report {name}?"


def labelled_pairs(config: RunConfig, samples: Sequence[Sample]) -> list[GeneralPair]:
    """Training images with `data.record_text` as text, and questions that the text answers.

    Only the training split is used. Raises ConfigError where there is no text template or the
    benchmark has no single label per image.
    """
    benchmark, template = config.benchmark, config.data.record_text
    if template is None or benchmark.task != "single_label":
        raise ConfigError(
            f"tiny models without a phantom world learn from the labels of a single-label "
            f"benchmark and data.record_text; {benchmark.name!r} with {template!r} has not both"
        )
    names = dict(zip(benchmark.answers, benchmark.label_names, strict=True))
    rng = np.random.default_rng(0)
    pairs = []
    for sample in samples:
        if sample.split != "train":
            continue
        name = names[sample.answer]
        other = benchmark.label_names[int(rng.integers(len(names)))]
        tasks = (
            (WHICH[int(rng.integers(len(WHICH)))], name),
            (WHETHER.format(name=name), "Yes"),
            (WHETHER.format(name=other), "Yes" if other == name else "No"),
        )
        text = template.format(label=sample.answer, label_name=name)
        pairs.append(GeneralPair(sample.image, text, tasks, sights=()))
    return pairs
