"""What the benchmark loaders share: a validation split and sample limits."""

import hashlib
from collections.abc import Iterable, Sequence

from jomed.records import SPLITS, Sample
from jomed.settings import SampleLimits


def hold_out(groups: Iterable[str], share: float, name: str) -> set[str]:
    """Choose the `share` of the distinct groups that become the validation split.

    The order is that of a hash of `name` and group: the choice is the same in every run, for every
    seed and whatever the order of the files. At least one group is chosen and at least one is left.
    """
    ranked = sorted(
        set(groups), key=lambda group: hashlib.sha256(f"{name}:{group}".encode()).digest()
    )
    return set(ranked[: min(max(1, round(share * len(ranked))), len(ranked) - 1)])


def limit(samples: Sequence[Sample], limits: SampleLimits) -> list[Sample]:
    """At most the given number of samples per split, evenly spread over it, in unchanged order."""
    kept: list[Sample] = []
    for split in SPLITS:
        chosen = [sample for sample in samples if sample.split == split]
        count = min(getattr(limits, split) or len(chosen), len(chosen))
        kept.extend(chosen[place * len(chosen) // count] for place in range(count))
    return kept
