import pandas as pd

from jomed.reporting.suppress import MOST_CELLS, few, has_few, hide, suppress

COUNTS = pd.DataFrame(
    {
        "label": ["a", "b", "c"],
        "count": [0, 9, 10],
        "share": [0.0, 0.47, 0.53],
        "runs": [12, 30, 11],
    }
)


def test_small_counts_and_what_gives_them_away_are_hidden() -> None:
    hidden = suppress(COUNTS, guarded=True)
    assert hidden["count"].tolist() == ["0", "<10", "10"]
    assert hidden["share"].isna().tolist() == [False, True, False]
    assert hidden["runs"].tolist() == ["12", "30", "11"]
    assert hidden["label"].tolist() == ["a", "b", "c"]


def test_an_unknown_count_stays_unknown() -> None:
    counts = pd.DataFrame({"expected": pd.array([None, 3, 12], dtype="Int64")})
    hidden = suppress(counts, guarded=True)["expected"]
    assert hidden.isna().tolist() == [True, False, False]
    assert hidden.tolist()[1:] == ["<10", "12"]


def test_counts_among_other_objects_are_hidden() -> None:
    mixed = pd.DataFrame({"value": ["none", 3, 12, 0.25, True, None], "runs": [20] * 6})
    hidden = suppress(mixed, guarded=True)["value"].tolist()
    assert hidden == ["none", "<10", "12", 0.25, True, None]
    beside = pd.DataFrame({"value": ["none", 0.25, 0.5], "count": [3, 30, 3]}, dtype=object)
    assert suppress(beside, guarded=True)["value"].isna().tolist() == [False, False, True]


def test_a_gap_does_not_make_fractions_of_counts() -> None:
    gap = pd.DataFrame({"count": [3, None, 40], "all": [0.0, 1.0, None], "share": [0.5, 1.0, 0.25]})
    assert gap["count"].dtype == float
    hidden = suppress(gap, guarded=True)
    assert hidden["count"].tolist()[::2] == ["<10", "40"]
    assert hidden["count"].isna().tolist() == [False, True, False]
    assert hidden["all"].isna().all()  # 1.0 may be one patient, and 0.0 stands beside a small count
    assert hidden["share"].isna().tolist() == [True, False, False]
    nullable = gap[["count"]].astype("Float64")
    assert suppress(nullable, guarded=True)["count"].tolist()[::2] == ["<10", "40"]


def test_a_sum_gives_no_hidden_count_away() -> None:
    assert hide([105, 5, 40, 60]) == ["105", "<10", None, "60"]  # 105 - 40 - 60 = 5
    assert hide([105, 5, 0, 100]) == ["105", "<10", "0", None]
    assert hide([5, 100], known=[105]) == ["<10", None]
    assert hide([5, 100], known=[106]) == ["<10", "100"]  # no sum
    assert hide([5, 7, 100], known=[112]) == ["<10", "<10", "100"]  # two are hidden already
    assert hide([105, 5, 100, 30, 70]) == ["105", "<10", None, None, "70"]  # 100 = 30 + 70
    assert hide([None, 5, 100]) == [None, "<10", "100"]
    assert hide([12, 20, 32]) == ["12", "20", "32"]


def test_of_many_counts_two_are_hidden_in_any_case() -> None:
    counts = [3, *range(50, 50 + MOST_CELLS)]
    assert hide(counts)[:3] == ["<10", None, "51"]


def test_rows_of_a_frame_keep_their_sums_to_themselves() -> None:
    rows = pd.DataFrame({"loaded": [105, 300], "near": [5, 100], "records": [100, 200]})
    hidden = suppress(rows, guarded=True)
    assert hidden.astype(object).where(hidden.notna(), None).to_numpy().tolist() == [
        ["105", "<10", None],
        ["300", "100", "200"],
    ]


def test_a_table_without_rows_stays_as_it_is() -> None:
    assert suppress(COUNTS[:0], guarded=True).empty
    assert list(suppress(COUNTS[:0], guarded=True)) == list(COUNTS)


def test_open_data_are_shown_as_they_are() -> None:
    assert suppress(COUNTS, guarded=False) is COUNTS
    assert few(3, guarded=False) == "3"


def test_a_count_alone() -> None:
    assert [few(count, guarded=True) for count in (0, 1, 9, 10)] == ["0", "<10", "<10", "10"]
    assert has_few(COUNTS["count"], guarded=True)
    assert not has_few(COUNTS["count"], guarded=False)
    assert not has_few(COUNTS["runs"], guarded=True)
