import pandas as pd

from jomed.retrieval.index import exclusions


def record(record_id, source="roco", group="", sha=""):
    return {"record_id": record_id, "source": source, "group": group, "image_sha": sha}


def sample(sample_id, group="", sha=""):
    return {"sample_id": sample_id, "group": group, "image_sha": sha}


RECORDS = pd.DataFrame(
    [
        record("roco:1", sha="aa", group="P1"),
        record("training_split:retina:train/0", "training_split", "P1", "bb"),
        record("training_split:retina:train/1", "training_split", "P1", "cc"),
        record("training_split:retina:train/2", "training_split", "", "dd"),
        record("pmc_oa:5", "pmc_oa", "", "aa"),
        record("pmc_oa:6", "pmc_oa", "", ""),
    ]
)
# Row 3 of the frame was left out of the index, so rows and frame positions differ.
ROW_OF = {
    name: row
    for row, name in enumerate(r for r in RECORDS["record_id"] if not r.endswith("train/1"))
}


def excluded(*rows):
    return exclusions(pd.DataFrame(rows), RECORDS, ROW_OF)


def test_same_image_is_excluded_in_every_corpus():
    assert excluded(sample("retina:test/0", sha="aa")) == [{0, 3}]


def test_a_source_can_name_groups_as_the_benchmark_does():
    rows = pd.DataFrame([sample("retina:test/0", group="P1", sha="zz")])
    assert exclusions(rows, RECORDS, ROW_OF, same_groups=["roco"]) == [{0, 1}]
    assert exclusions(rows, RECORDS, ROW_OF, same_groups=["pmc_oa"]) == [{1}]


def test_groups_count_only_within_the_training_split():
    assert excluded(sample("retina:test/0", group="P1", sha="zz")) == [{1}]


def test_the_sample_itself_is_excluded_by_id_even_without_group_and_hash():
    assert excluded(sample("retina:train/2")) == [{2}]


def test_empty_hash_and_group_match_nothing():
    assert excluded(sample("retina:test/7"), sample("retina:train/1", sha="cc")) == [set(), set()]
