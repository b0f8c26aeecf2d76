"""Where a split has seen another one, or the index holds a query image: exact overlaps."""

import pandas as pd

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

KEYS = {"image": "image_sha", "group": "group"}
COLUMNS = ("kind", "split", "other", "sample_id", "key", "matches", "example")


def find_leakage(samples: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """One row per sample, kind and pair of PAIRS with an overlap; empty where there is none.

    `samples` and `records` have the columns of Sample and Record. Columns of the result: kind
    ("image": the same pixels, "group": the same patient, article or question image), split, other,
    sample_id, key (the shared hash or group), matches (how many items of `other` share it) and
    example (the first of them). Rows follow PAIRS, then the order of the samples.
    """
    sides = {split: rows for split, rows in samples.groupby("split")}
    tables = []
    for split, other in PAIRS:
        right = records if other == INDEX else sides.get(other)
        if split in sides and right is not None:
            for kind, column in KEYS.items():
                tables.append(_overlap(sides[split], right, column, (kind, split, other)))
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
    for kind in KEYS:
        for split, other in PAIRS:
            count, total = int(affected.get((kind, split, other), 0)), int(sizes.get(split, 0))
            share = count / total if total else 0.0
            rows.append((kind, split, other, count, total, share))
    columns = ["kind", "split", "other", "affected", "samples", "share"]
    return pd.DataFrame(rows, columns=columns)


def _overlap(
    left: pd.DataFrame, right: pd.DataFrame, column: str, names: tuple[str, str, str]
) -> pd.DataFrame:
    id_column = "sample_id" if "sample_id" in right else "record_id"
    known = right[right[column] != ""]
    shared = known[known[column].isin(left[column])].groupby(column)[id_column]
    found = shared.agg(matches="size", example="first")
    rows = left[["sample_id", column]].rename(columns={column: "key"})
    rows = rows.join(found, on="key", how="inner")
    for name, value in zip(COLUMNS, names, strict=False):
        rows[name] = value
    return rows[list(COLUMNS)]
