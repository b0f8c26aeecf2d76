"""Where a split has seen another one, or the index holds a query image: copies and groups."""

from collections.abc import Collection

import faiss
import numpy as np
import pandas as pd

from jomed.data.corpora.training_split import SOURCE as TRAINING_SOURCE
from jomed.data.hashes import NEAR_BITS, PHASH_SIDE

INDEX = "index"
PAIRS = (
    ("test", "train"),
    ("test", "val"),
    ("val", "train"),
    ("test", INDEX),
    ("val", INDEX),
    ("train", INDEX),
)
"""(split, what it is compared with)."""

KINDS = ("image", "near", "group")
COLUMNS = ("kind", "split", "other", "sample_id", "key", "matches", "example")

_KEYS = {"image": "image_sha", "near": "image_phash", "group": "group"}


def find_leakage(
    samples: pd.DataFrame, records: pd.DataFrame, same_groups: Collection[str] = ()
) -> pd.DataFrame:
    """One row per sample, kind and pair of PAIRS with an overlap; empty where there is none.

    `samples` and `records` have the columns of Sample and Record. Columns of the result: kind
    ("image": the same pixels; "near": other pixels, but perceptual hashes that differ in at most
    NEAR_BITS bits; "group": the same patient, article or question image), split, other, sample_id,
    key (the sample's hash or group), matches (how many items of `other` share it) and example (the
    first of them). Rows follow PAIRS, then the order of the samples.

    Patient 17 of one data set is not patient 17 of another: groups are compared with the records of
    the benchmark's own training split and of the sources in `same_groups`, as the search does that
    leaves them out (`jomed.retrieval.exclusion`).
    """
    comparable = records[records["source"].isin({TRAINING_SOURCE, *same_groups})]
    sides = {split: rows for split, rows in samples.groupby("split")}
    tables = []
    for split, other in PAIRS:
        right = records if other == INDEX else sides.get(other)
        if split in sides and right is not None:
            for kind in KINDS:
                overlap = _near_copies if kind == "near" else _shared_keys
                others = comparable if (other, kind) == (INDEX, "group") else right
                found = overlap(sides[split], others, _KEYS[kind])
                found = found.assign(kind=kind, split=split, other=other)
                tables.append(found[list(COLUMNS)])
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(tables, ignore_index=True)


def count_leakage(leaks: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Per kind and pair of PAIRS: affected samples, all samples of the split, their share.

    Pairs without an overlap are listed with 0; the share of an empty split is 0.
    """
    sizes = samples["split"].value_counts()
    affected = leaks.groupby(["kind", "split", "other"]).size()
    rows = []
    for kind in KINDS:
        for split, other in PAIRS:
            count, total = int(affected.get((kind, split, other), 0)), int(sizes.get(split, 0))
            share = count / total if total else 0.0
            rows.append((kind, split, other, count, total, share))
    columns = ["kind", "split", "other", "affected", "samples", "share"]
    return pd.DataFrame(rows, columns=columns)


def leaked_samples(
    samples: pd.DataFrame,
    records: pd.DataFrame,
    split: str,
    kinds: Collection[str],
    same_groups: Collection[str] = (),
) -> set[str]:
    """Ids of the samples of `split` that share what `kinds` names with another split or the index.

    What a sample must not be its own evidence for is left out by the search itself, so a sample
    whose only copy is in the index counts here although it is never shown that copy.
    """
    leaks = find_leakage(samples, records, same_groups)
    return set(leaks.loc[(leaks["split"] == split) & leaks["kind"].isin(kinds), "sample_id"])


def _shared_keys(left: pd.DataFrame, right: pd.DataFrame, column: str) -> pd.DataFrame:
    known = right[right[column] != ""]
    shared = known[known[column].isin(left[column])].groupby(column)[_id(right)]
    found = shared.agg(matches="size", example="first")
    rows = left[["sample_id", column]].rename(columns={column: "key"})
    return rows.join(found, on="key", how="inner")


def _near_copies(left: pd.DataFrame, right: pd.DataFrame, column: str) -> pd.DataFrame:
    left, right = left[left[column] != ""], right[right[column] != ""]
    index = faiss.IndexBinaryFlat(PHASH_SIDE**2)
    index.add(_bits(right[column]))
    # faiss keeps what is nearer than the radius
    limits, _, rows = index.range_search(_bits(left[column]), NEAR_BITS + 1)
    ids, shas = right[_id(right)].to_numpy(), right["image_sha"].to_numpy()
    found = []
    for place, (sample_id, sha, key) in enumerate(
        left[["sample_id", "image_sha", column]].itertuples(index=False, name=None)
    ):
        near = sorted(rows[limits[place] : limits[place + 1]])
        others = [ids[row] for row in near if shas[row] != sha]
        if others:
            found.append((sample_id, key, len(others), others[0]))
    return pd.DataFrame(found, columns=["sample_id", "key", "matches", "example"])


def _bits(hashes: pd.Series) -> np.ndarray:
    """Hex hashes as uint8 (N, bytes)."""
    code = bytes.fromhex("".join(hashes))
    return np.frombuffer(code, dtype=np.uint8).reshape(-1, PHASH_SIDE**2 // 8)


def _id(frame: pd.DataFrame) -> str:
    return "sample_id" if "sample_id" in frame else "record_id"
