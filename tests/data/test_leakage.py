import pandas as pd

from jomed.data.hashes import NEAR_BITS
from jomed.data.leakage import COLUMNS, count_leakage, find_leakage, leaked_samples


def bits(place: int, changed: int = 0) -> str:
    """A perceptual hash far from that of every other place, with some of its bits changed."""
    return f"{int(f'{place:x}' * 64, 16) ^ ((1 << changed) - 1):064x}"


SAMPLES = pd.DataFrame(
    [
        ("s1", "train", "sha1", bits(1), "p1"),
        ("s2", "train", "sha2", bits(2), "p1"),
        ("s3", "train", "sha3", bits(3), "p2"),
        ("s4", "val", "sha4", bits(4), "p3"),
        ("s5", "test", "sha2", bits(2), "p4"),  # image of s2
        ("s6", "test", "sha6", bits(6), "p1"),  # patient of s1 and s2
        ("s7", "test", "sha7", bits(1, NEAR_BITS), ""),  # looks like s1
        ("s8", "test", "", "", "p9"),
        ("s9", "test", "sha8", bits(1, NEAR_BITS + 1), "p8"),  # looks less like s1
    ],
    columns=["sample_id", "split", "image_sha", "image_phash", "group"],
)
RECORDS = pd.DataFrame(
    [
        ("r1", "pmc_oa", "sha4", bits(4), "PMC1"),
        ("r2", "own", "sha4", bits(4), "p3"),
        ("r3", "own", "", "", ""),
        ("r4", "training_split", "sha9", bits(6, 2), "p2"),
    ],
    columns=["record_id", "source", "image_sha", "image_phash", "group"],
)


def test_rows_name_sample_key_and_partner() -> None:
    rows = find_leakage(SAMPLES, RECORDS, ["own"]).to_dict("split")["data"]
    assert rows == [
        ["image", "test", "train", "s5", "sha2", 1, "s2"],
        ["near", "test", "train", "s7", bits(1, NEAR_BITS), 1, "s1"],
        ["group", "test", "train", "s6", "p1", 2, "s1"],
        ["near", "test", "index", "s6", bits(6), 1, "r4"],
        ["image", "val", "index", "s4", "sha4", 2, "r1"],
        ["group", "val", "index", "s4", "p3", 1, "r2"],
        ["group", "train", "index", "s3", "p2", 1, "r4"],
    ]


def test_patients_of_another_data_set_are_other_patients() -> None:
    def grouped(*same_groups: str) -> list[tuple[str, str]]:
        leaks = find_leakage(SAMPLES, RECORDS, same_groups)
        shared = leaks[(leaks["kind"] == "group") & (leaks["other"] == "index")]
        return list(zip(shared["sample_id"], shared["example"], strict=True))

    assert grouped() == [("s3", "r4")]  # what is made of the training split has its names
    assert grouped("pmc_oa") == [("s3", "r4")]
    assert grouped("own") == [("s4", "r2"), ("s3", "r4")]
    copies = find_leakage(SAMPLES, RECORDS)
    assert copies.query("kind == 'image' and other == 'index'")["matches"].tolist() == [2]


def test_counts_cover_every_pair() -> None:
    counts = count_leakage(find_leakage(SAMPLES, RECORDS), SAMPLES)
    assert len(counts) == 18
    by_pair = counts.set_index(["kind", "split", "other"])
    assert by_pair.loc[("image", "test", "train")].tolist() == [1, 5, 0.2]
    assert by_pair.loc[("group", "test", "index")].tolist() == [0, 5, 0.0]
    assert by_pair.loc[("image", "val", "index")].tolist() == [1, 1, 1.0]


def test_leaked_samples_are_those_of_the_named_kinds() -> None:
    def leaked(*kinds: str) -> set[str]:
        return leaked_samples(SAMPLES, RECORDS, "test", kinds)

    assert leaked("image") == {"s5"}
    assert leaked("near") == {"s6", "s7"}
    assert leaked("image", "group") == {"s5", "s6"}
    assert leaked() == set()
    elsewhere = RECORDS.assign(source="own", group="p9")
    assert leaked_samples(SAMPLES, elsewhere, "test", ["group"]) == {"s6"}
    assert leaked_samples(SAMPLES, elsewhere, "test", ["group"], ["own"]) == {"s6", "s8"}


def test_nothing_shared_is_an_empty_table() -> None:
    for samples in (SAMPLES[SAMPLES["split"] == "test"], SAMPLES[:0]):
        leaks = find_leakage(samples, RECORDS[:3])
        assert leaks.empty
        assert tuple(leaks.columns) == COLUMNS
        assert count_leakage(leaks, samples)["affected"].sum() == 0
    assert find_leakage(SAMPLES, RECORDS[:0])["other"].eq("index").sum() == 0
