import pandas as pd

from jomed.data.leakage import COLUMNS, count_leakage, find_leakage

SAMPLES = pd.DataFrame(
    [
        ("s1", "train", "sha1", "p1"),
        ("s2", "train", "sha2", "p1"),
        ("s3", "train", "sha3", "p2"),
        ("s4", "val", "sha4", "p3"),
        ("s5", "test", "sha2", "p4"),  # image of s2
        ("s6", "test", "sha6", "p1"),  # patient of s1 and s2
        ("s7", "test", "sha7", ""),
        ("s8", "test", "", "p9"),
    ],
    columns=["sample_id", "split", "image_sha", "group"],
)
RECORDS = pd.DataFrame(
    [("r1", "sha4", "PMC1"), ("r2", "sha4", "p3"), ("r3", "", ""), ("r4", "sha9", "p2")],
    columns=["record_id", "image_sha", "group"],
)


def test_rows_name_sample_key_and_partner() -> None:
    rows = find_leakage(SAMPLES, RECORDS).to_dict("split")["data"]
    assert rows == [
        ["image", "test", "train", "s5", "sha2", 1, "s2"],
        ["group", "test", "train", "s6", "p1", 2, "s1"],
        ["image", "val", "index", "s4", "sha4", 2, "r1"],
        ["group", "val", "index", "s4", "p3", 1, "r2"],
        ["group", "train", "index", "s3", "p2", 1, "r4"],
    ]


def test_counts_cover_every_pair() -> None:
    counts = count_leakage(find_leakage(SAMPLES, RECORDS), SAMPLES)
    assert len(counts) == 12
    by_pair = counts.set_index(["kind", "split", "other"])
    assert by_pair.loc[("image", "test", "train")].tolist() == [1, 4, 0.25]
    assert by_pair.loc[("group", "test", "index")].tolist() == [0, 4, 0.0]
    assert by_pair.loc[("image", "val", "index")].tolist() == [1, 1, 1.0]


def test_nothing_shared_is_an_empty_table() -> None:
    for samples in (SAMPLES[SAMPLES["split"] == "test"], SAMPLES[:0]):
        leaks = find_leakage(samples, RECORDS)
        assert leaks.empty
        assert tuple(leaks.columns) == COLUMNS
        assert count_leakage(leaks, samples)["affected"].sum() == 0
    assert find_leakage(SAMPLES, RECORDS[:0])["other"].eq("index").sum() == 0
