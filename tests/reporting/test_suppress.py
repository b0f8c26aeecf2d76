import pandas as pd

from jomed.reporting.suppress import few, has_few, suppress

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


def test_open_data_are_shown_as_they_are() -> None:
    assert suppress(COUNTS, guarded=False) is COUNTS
    assert few(3, guarded=False) == "3"


def test_a_count_alone() -> None:
    assert [few(count, guarded=True) for count in (0, 1, 9, 10)] == ["0", "<10", "<10", "10"]
    assert has_few(COUNTS["count"], guarded=True)
    assert not has_few(COUNTS["count"], guarded=False)
    assert not has_few(COUNTS["runs"], guarded=True)
