"""Inconsistent retrieval predictions: samples whose candidates lead to different answers.

Everything here reads prediction rows (one per candidate, one with head "fused" per sample).
"""

from collections.abc import Mapping

import pandas as pd

from jomed.evaluation.text import canonical_answer

FUSED = "fused"


def fused_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """The one fused row per method and sample."""
    return predictions[predictions["head"] == FUSED]


def candidate_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of the single candidates."""
    return predictions[predictions["head"] != FUSED]


def inconsistency(predictions: pd.DataFrame, answer_types: Mapping[str, str]) -> pd.DataFrame:
    """Per method and sample: number of candidates, and whether their answers differ.

    ``answer_types`` maps sample_id to the sample's answer type. Answers are compared by what they
    say ("Yes." equals "yes", "7, 3" equals "3, 7"); answers that cannot be read are one answer.
    Returns columns method, sample_id, candidates (int), inconsistent (bool).
    """
    rows = candidate_rows(predictions)
    kinds = rows["sample_id"].map(dict(answer_types))
    if kinds.isna().any():
        unknown = rows.loc[kinds.isna(), "sample_id"].iloc[0]
        raise ValueError(f"predictions name a sample without answer type: {unknown!r}")
    said = [canonical_answer(k, a) for k, a in zip(kinds, rows["answer"], strict=True)]
    table = rows[["method", "sample_id"]].assign(said=pd.Series(said, rows.index, dtype=object))
    grouped = table.groupby(["method", "sample_id"], sort=False)["said"]
    out = grouped.agg(candidates="size", answers=lambda column: len(set(column))).reset_index()
    inconsistent = out["answers"].astype(int) > 1
    return out.assign(inconsistent=inconsistent).drop(columns="answers")


def inconsistent_samples(flags: pd.DataFrame, method: str) -> frozenset[str]:
    """Ids of the samples on which a method's candidates disagree.

    ``flags``: the frame of `inconsistency`. A method that has no rows there is a ValueError.
    """
    own = flags[flags["method"] == method]
    if own.empty:
        known = ", ".join(sorted(flags["method"].unique()))
        raise ValueError(f"no predictions of method {method!r}; there are those of {known}")
    return frozenset(own.loc[own["inconsistent"], "sample_id"])


def inconsistent_shares(flags: pd.DataFrame) -> pd.DataFrame:
    """Share of inconsistent samples per method.

    Only samples with at least two candidates can be inconsistent: the share is taken over those
    (column ``n``), and is NaN for a method that never has two. Columns method, share, n.
    """
    able = flags.assign(able=flags["candidates"] > 1).groupby("method", sort=False)
    counts = able.agg(n=("able", "sum"), differ=("inconsistent", "sum"))
    share = (counts["differ"] / counts["n"].where(counts["n"] > 0)).rename("share")
    return pd.concat([share, counts["n"]], axis=1).reset_index()
