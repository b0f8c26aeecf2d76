"""Small frames of samples and predictions, written by hand in the tests."""

from collections.abc import Mapping, Sequence

import pandas as pd

from jomed.evaluation.text import is_correct
from jomed.records import Prediction, Sample


def samples_frame(
    gold: Mapping[str, str], kind: str | Mapping[str, str] = "label", groups: Sequence[str] = ()
) -> pd.DataFrame:
    """Samples with the given gold answers, by sample id."""
    kinds = dict.fromkeys(gold, kind) if isinstance(kind, str) else kind
    group_of = dict(zip(gold, groups or [""] * len(gold), strict=True))
    return pd.DataFrame(
        [
            Sample(s, "toy", "test", "x.png", "?", answer, kinds[s], "", group_of[s], "", "")
            for s, answer in gold.items()
        ]
    )


def predictions_frame(
    method: str, samples: pd.DataFrame, said: Mapping[str, tuple[Sequence[str], str]]
) -> pd.DataFrame:
    """Predictions of a method: per sample the candidates' answers and the fused one."""
    rows = []
    facts = samples.set_index("sample_id")
    for sample, (candidates, fused) in said.items():
        kind, gold = facts.loc[sample, "answer_type"], facts.loc[sample, "answer"]
        named = [("image", rank, answer) for rank, answer in enumerate(candidates, start=1)]
        for head, rank, answer in [*named, ("fused", 0, fused)]:
            right = is_correct(kind, answer, gold)
            rows.append(Prediction(sample, method, head, rank, f"r{rank}", 0.5, 0.5, answer, right))
    return pd.DataFrame(rows)
