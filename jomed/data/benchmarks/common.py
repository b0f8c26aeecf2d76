"""What the benchmark loaders share: splits, answers of several labels and sample limits."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from jomed.records import SPLITS, Sample
from jomed.settings import SampleLimits

_FLAGS = {"0": False, "0.0": False, "1": True, "1.0": True}


def hold_out(groups: Iterable[str], share: float, name: str) -> set[str]:
    """Choose the `share` of the distinct groups that become the validation split.

    The order is that of a hash of `name` and group: the choice is the same in every run, for every
    seed and whatever the order of the files. At least one group is chosen and at least one is left.
    """
    ranked = _ranked(groups, name)
    return set(ranked[: min(max(1, round(share * len(ranked))), len(ranked) - 1)])


def hold_out_samples(samples: Sequence[Sample], share: float, name: str) -> list[Sample]:
    """The samples with the `share` of the training groups that `hold_out` chooses in validation."""
    held_out = hold_out((one.group for one in samples if one.split == "train"), share, name)
    return [
        replace(one, split="val") if one.split == "train" and one.group in held_out else one
        for one in samples
    ]


def yes_or_no(_question: str, answer: str) -> str:
    """The type of a question by its answer alone: "closed" for yes and no, else "open"."""
    return "closed" if answer.lower() in ("yes", "no") else "open"


def apportion(groups: Iterable[str], sizes: Mapping[str, int], name: str) -> dict[str, str]:
    """Give every distinct group a split: the splits relate to one another as `sizes`.

    The order is that of `hold_out`. As many groups as `sizes` counts get exactly these sizes; of
    fewer or more, the first split takes what rounding leaves, and the others at least one.
    """
    ranked = _ranked(groups, name)
    total, found = sum(sizes.values()), dict[str, str]()
    first, *others = sizes
    for split in others:
        count = max(1, round(len(ranked) * sizes[split] / total))
        found |= dict.fromkeys(ranked[len(found) : len(found) + count], split)
    return found | dict.fromkeys(ranked[len(found) :], first)


def read_flags(cells: Iterable[str]) -> list[bool] | None:
    """Cells that say 0 or 1, also as 0.0 or 1.0, or None when one says something else."""
    flags = [_FLAGS.get(cell.strip()) for cell in cells]
    return None if None in flags else [bool(flag) for flag in flags]


def listed(flags: Iterable[bool]) -> str:
    """The answer to a question with several labels: the places of the true ones, "3, 7"."""
    return ", ".join(str(place) for place, flag in enumerate(flags) if flag)


def limit(samples: Sequence[Sample], limits: SampleLimits) -> list[Sample]:
    """At most the given number of samples per split, evenly spread over it, in unchanged order."""
    kept: list[Sample] = []
    for split in SPLITS:
        chosen = [sample for sample in samples if sample.split == split]
        count = min(getattr(limits, split) or len(chosen), len(chosen))
        kept.extend(chosen[place * len(chosen) // count] for place in range(count))
    return kept


def _ranked(groups: Iterable[str], name: str) -> list[str]:
    return sorted(
        set(groups), key=lambda group: hashlib.sha256(f"{name}:{group}".encode()).digest()
    )
