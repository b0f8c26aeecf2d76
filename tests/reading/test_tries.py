import pytest
from tiny_models import QWEN_SPECIAL, byte_tokenizer

from jomed.reading.packing import ReaderError
from jomed.reading.tries import build_trie, scored_tokens


def test_a_trie_shares_prefixes_and_needs_no_node_for_last_tokens() -> None:
    trie = build_trie([[5, 9], [5, 6, 9], [7, 9], [9]])
    assert trie.tokens.tolist() == [5, 6, 7]
    assert trie.depths.tolist() == [1, 2, 1]
    assert trie.ends.tolist() == [2, 2, 3]
    edges = zip(trie.edge_answers, trie.edge_places, trie.edge_tokens, strict=True)
    assert sorted(map(tuple, edges)) == [
        (0, 0, 5), (0, 1, 9), (1, 0, 5), (1, 1, 6), (1, 2, 9), (2, 0, 7), (2, 3, 9), (3, 0, 9),
    ]  # fmt: skip


def test_a_set_of_single_tokens_has_no_node() -> None:
    trie = build_trie([[5], [6]])
    assert (trie.nodes, trie.size, trie.edge_places.tolist()) == (0, 2, [0, 0])


def test_the_end_of_turn_counts_unless_all_answers_are_single_tokens() -> None:
    tokenizer = byte_tokenizer(QWEN_SPECIAL, eos_token="<|im_end|>")
    end = tokenizer.eos_token_id
    one, two = tokenizer("1")["input_ids"], tokenizer("2")["input_ids"]
    assert scored_tokens(tokenizer, ["1", "2"]) == [one, two]
    assert scored_tokens(tokenizer, ["1", "12"]) == [[*one, end], [*one, *two, end]]
    assert scored_tokens(tokenizer, ["1", ""]) == [[*one, end], [end]]


def test_answers_with_equal_tokens_are_refused() -> None:
    class Blind:
        eos_token_id = 1

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [0]}

    with pytest.raises(ReaderError, match="'a' and 'b'"):
        scored_tokens(Blind(), ["a", "b"])
