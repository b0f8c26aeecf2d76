"""The oracle: how good a method would be if the best of its candidates were always chosen."""

from collections.abc import Mapping

import pandas as pd

from jomed.evaluation.inconsistency import candidate_rows, fused_rows
from jomed.evaluation.text import token_scores

ORACLE_SUFFIX = "+oracle"


def oracle_rows(
    predictions: pd.DataFrame, gold: Mapping[str, str], answer_types: Mapping[str, str]
) -> pd.DataFrame:
    """Fused rows of the methods' oracles, method name + "+oracle".

    A sample is right if any candidate is right: its answer is then the gold answer, otherwise the
    fused prediction, so that macro-F1 can be computed from the same rows. An open question that no
    candidate answers exactly takes the answer with the highest token recall (the fused one on
    ties). Methods whose samples have a single candidate have no oracle.
    """
    candidates = candidate_rows(predictions)
    keys = ["method", "sample_id"]
    sizes = candidates.groupby(keys).size()
    methods = set(sizes[sizes > 1].index.get_level_values("method"))
    fused = fused_rows(predictions)
    fused = fused[fused["method"].isin(methods)].reset_index(drop=True)
    answers = candidates.groupby(keys)["answer"].agg(list).to_dict()
    right = candidates.groupby(keys)["correct"].any().to_dict()
    chosen = [
        gold[sample]
        if right.get((method, sample), False)
        else _closest(answer_types[sample], gold[sample], answer, answers.get((method, sample), []))
        for method, sample, answer in zip(*(fused[c] for c in (*keys, "answer")), strict=True)
    ]
    pairs = zip(fused["method"], fused["sample_id"], fused["correct"], strict=True)
    return fused.assign(
        method=fused["method"] + ORACLE_SUFFIX,
        answer=pd.Series(chosen, fused.index, dtype="str"),
        correct=[bool(own) or bool(right.get((m, s), False)) for m, s, own in pairs],
    )


def _closest(answer_type: str, gold: str, fused: str, candidates: list[str]) -> str:
    if answer_type != "open":
        return fused
    return max([fused, *candidates], key=lambda answer: token_scores(answer, gold).recall)
