from collections import Counter

import pytest

from jomed.evaluation.methods import METHODS, method_named, no_record, random_records


def test_registry_says_what_each_method_needs() -> None:
    untrained = (("image", "untrained"), ("text", "untrained"))
    assert METHODS["standard_rag"].heads == untrained
    assert METHODS["rad"].heads == untrained
    assert METHODS["rad"].source == "training_split"
    assert METHODS["text_head"].heads == (("image", "untrained"), ("text", "trained"))
    assert METHODS["image_head"].heads == (("image", "trained"), ("text", "untrained"))
    assert METHODS["jomed"].heads == (("image", "trained"), ("text", "trained"))
    assert METHODS["shuffled"].heads == (("image", "shuffled"), ("text", "shuffled"))
    parts = {name: (m.record_image, m.record_text) for name, m in METHODS.items()}
    assert parts.pop("closed_book") == (False, False)
    assert parts.pop("caption_only") == (False, True)
    assert parts.pop("image_only") == (True, False)
    assert set(parts.values()) == {(True, True)}


def test_lists_that_a_sample_must_bring() -> None:
    assert METHODS["jomed"].lists == ("image", "text")
    assert METHODS["closed_book"].lists == tuple(no_record())
    assert METHODS["random_records"].lists == ("random",)


def test_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'jomde'; known: closed_book"):
        method_named("jomde")
    assert method_named("jomed") is METHODS["jomed"]


def test_random_records_depend_on_seed_and_sample_only() -> None:
    ids = [f"r{i}" for i in range(30)]
    first = random_records(ids, 4, "s1", seed=0)["random"]
    assert first == random_records(ids, 4, "s1", seed=0)["random"]
    assert first != random_records(ids, 4, "s2", seed=0)["random"]
    assert first != random_records(ids, 4, "s1", seed=1)["random"]
    assert len(set(first.record_ids)) == 4
    assert first.scores == (0.0,) * 4


def test_random_records_are_uniform_over_what_is_allowed() -> None:
    counts = Counter(
        record_id
        for i in range(1_000)
        for record_id in random_records(list("abcde"), 2, f"s{i}", 0, exclude={"c"})[
            "random"
        ].record_ids
    )
    assert set(counts) == set("abde")
    assert all(430 < count < 570 for count in counts.values())


def test_too_many_random_records_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot draw 2 of 1 records for 's'"):
        random_records(["a", "b"], 2, "s", 0, exclude=["a"])
