"""The store: what is read, what is mended, and what is refused by line number."""

import json
from pathlib import Path

import pytest

from jomed.reading.closing_store import Line, StoreError, appending, locked_store, read_store


def line(key: str, *options: str) -> Line:
    return Line(
        version=1, benchmark="quiz", access="open", sample="s", key=key * 64, model="m",
        served="m-1", options=options,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store.jsonl"
    with locked_store(path), appending(path) as append:
        append(line("a", "heart"))
        append(line("b", "liver", "cœur"))
    return path


def test_what_was_appended_is_read(store: Path) -> None:
    assert read_store(store) == {"a" * 64: line("a", "heart"), "b" * 64: line("b", "liver", "cœur")}
    assert read_store(store.with_name("none.jsonl")) == {}


def test_every_line_is_on_disk_when_append_returns(store: Path) -> None:
    with appending(store) as append:
        append(line("c", "skin"))
        assert len(read_store(store)) == 3


def test_of_two_lines_with_one_key_the_first_counts(store: Path) -> None:
    with appending(store) as append:
        append(line("a", "skin"))
    assert read_store(store)["a" * 64].options == ("heart",)


def test_stores_can_be_put_together(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    with appending(other) as append:
        append(line("c", "skin"))
    store.write_bytes(store.read_bytes() + other.read_bytes())
    assert len(read_store(store)) == 3


def test_a_last_line_without_its_end_counts_when_it_is_whole(store: Path) -> None:
    store.write_bytes(store.read_bytes().rstrip(b"\n"))
    assert len(read_store(store)) == 2
    with appending(store) as append:
        append(line("c", "skin"))
    assert len(read_store(store)) == 3


@pytest.mark.parametrize("lost", [2, 40, 150])
def test_a_torn_last_line_is_left_out_and_cut_off(store: Path, lost: int) -> None:
    store.write_bytes(store.read_bytes()[:-lost])
    assert list(read_store(store)) == ["a" * 64]
    with pytest.warns(UserWarning, match="torn"), appending(store) as append:
        append(line("c", "skin"))
    assert [text["key"][0] for text in map(json.loads, store.read_text().splitlines())] == [
        "a",
        "c",
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"version":1', '"version":2', "line 1: version"),
        ('"key":"a', '"key":"x', "line 1: key"),
        ('"options":["heart"]', '"options":"heart"', "line 1: options"),
        ('"sample":"s"', '"sampel":"s"', "line 1: sample"),
        ('{"version"', '"version"', "line 1: line"),
    ],
)
def test_any_other_broken_line_is_named_without_its_words(
    store: Path, old: str, new: str, problem: str
) -> None:
    store.write_text(store.read_text().replace(old, new, 1))
    with pytest.raises(StoreError, match=problem) as caught:
        read_store(store)
    assert str(store) in str(caught.value)
    assert "heart" not in str(caught.value)
