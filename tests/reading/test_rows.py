"""Rows by hand, and scores of prompts that share a record against the whole model."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reading_cases import ONE_TOKEN, PROMPTS, SEVERAL, naive_score

from jomed.reading import forward
from jomed.reading import reader as reading
from jomed.reading.answers import AnswerSet
from jomed.reading.packing import PackedPrompt, ReaderError
from jomed.reading.prompts import Prompt
from jomed.reading.reader import Reader
from jomed.reading.rows import Row, make_rows
from jomed.reading.tries import AnswerTrie, build_trie

ONE = build_trie([[1], [2]])
TREE = build_trie([[5, 9], [5, 6, 9], [7, 9], [9]])  # nodes 5, 5-6 and 7
IMAGE = 99
SHARED = (
    Prompt("a.png", "hello world", "b.png", "what is it?"),
    Prompt(None, None, "b.png", "what is it?"),
    Prompt("c.png", "hello world", "b.png", "is it?"),
    Prompt("a.png", "hello world", "c.png", "which one is it, and where?"),
    Prompt("like_a.png", "hello world", "b.png", "what is it?"),
    Prompt("a.png", "hi", "b.png", "what is it?"),
    Prompt(None, "a text only", "b.png", "x"),
    Prompt("a.png", "hello world", "d.png", "what is it?"),
    Prompt(None, None, "b.png", "is it?"),
    Prompt("d.png", None, "a.png", "x"),
    Prompt("a.png", "hi", "like_a.png", "is it?"),
    Prompt(None, "a text only", "d.png", "is it?"),
    Prompt("a.png", "hello world", "like_a.png", "what?"),
    Prompt("d.png", None, "c.png", "where?"),
)
"""Records with 4, 2, 2, 2, 1 and 1 queries, and two closed-book prompts, in no order."""
SETS = (ONE_TOKEN, SEVERAL, AnswerSet(("left lung", "right lung", "left")))


def prompt(*ids: int, lead: int, images: tuple[str, ...] = ("r", "q")) -> PackedPrompt:
    return PackedPrompt(np.array(ids), images, lead)


def row() -> Row:
    """Shared: tokens 1, IMAGE; branches: IMAGE, 3 with the tree and IMAGE, 4, 5 without nodes."""
    first = prompt(1, IMAGE, IMAGE, 3, lead=2, images=("r", "q1"))
    second = prompt(1, IMAGE, IMAGE, 4, 5, lead=2, images=("r", "q2"))
    return Row((7, 3), (first, second), (TREE, ONE))


def test_the_columns_of_a_row() -> None:
    one = row()
    assert one.images == ("r", "q1", "q2")
    assert (one.lead, one.length, one.ends, one.last) == (2, 10, (7, 10), [3, 9])
    assert one.tokens().tolist() == [1, IMAGE, IMAGE, 3, 5, 6, 7, IMAGE, 4, 5]
    assert np.flatnonzero(one.shows(IMAGE)).tolist() == [1, 2, 7]
    assert np.flatnonzero(one.shows(5)).tolist() == [9]
    # Node 5 is seen by itself and by 5-6, node 7 by itself; a branch by no other branch.
    assert one.seen_until().tolist() == [10, 10, 7, 7, 6, 6, 7, 10, 10, 10]


def test_positions_are_those_in_the_prompt_of_its_own() -> None:
    """Two axes; the second prompt's last position is that of its image, on the second axis."""
    first = np.array([[0, 1, 2, 3], [0, 1, 2, 3]])
    second = np.array([[0, 1, 2, 3, 4], [0, 1, 8, 3, 4]])
    assert row().positions([first, second]).tolist() == [
        [0, 1, 2, 3, 4, 5, 4, 2, 3, 4],
        [0, 1, 2, 3, 4, 5, 4, 8, 3, 4],
    ]
    with pytest.raises(ReaderError, match="begin alike have different positions"):
        row().positions([first, second + 1])
    turned = Row((0, 1), row().prompts[::-1], (TREE, ONE))
    assert turned.positions([second, first])[0].tolist() == [0, 1, 2, 3, 4, 9, 10, 9, 2, 3]


def places(prompts: list[PackedPrompt], tries: list[AnswerTrie], *rest: Any) -> list[list[int]]:
    return [list(each.places) for each in make_rows(prompts, tries, *rest)]


def test_rows_are_of_one_record_and_keep_to_their_length() -> None:
    record = [prompt(1, 2, 3, token, lead=3, images=("r", "q")) for token in range(6)]
    other = prompt(1, 2, 3, 4, lead=3, images=("s", "q"))
    closed = [prompt(1, 2, lead=0, images=("q",))] * 2
    mixed = [*record[:2], closed[0], other, record[2], closed[1], *record[3:]]
    ones = [ONE] * len(mixed)
    together = [[0, 1, 4, 6, 7, 8], [2], [3], [5]]
    assert places(mixed, ones, 100, True) == together
    assert places(mixed, ones, 6, True) == [[0, 1, 4], [6, 7, 8], [2], [3], [5]]
    assert places(mixed, ones, 5, True) == [[0, 1], [4, 6], [7, 8], [2], [3], [5]]
    alone = [[place] for place in range(9)]
    assert sorted(places(mixed, ones, 1, True)) == alone
    assert places(mixed, ones, 100, False) == alone
    # Of 4 tokens each, 3 of them shared: 16 columns are 3 and 13 prompts.
    many = [prompt(1, 2, 3, token, lead=3) for token in range(20)]
    assert list(map(len, places(many, [ONE] * 20, 100, True))) == [13, 7]
    # With three nodes each 7 tokens, 3 of them shared: 28 columns are 3 and 6 branches.
    assert list(map(len, places(many, [TREE] * 20, 100, True))) == [6, 6, 6, 2]


def test_the_lead_of_a_prompt_ends_at_the_query_image(reader: Reader) -> None:
    packer = reader.packer
    for one, packed in zip(SHARED, packer.pack(SHARED), strict=True):
        if one.record_image is None and one.record_text is None:
            assert packed.lead == 0
            continue
        query = packer.snippet(one.query_image).ids
        assert packed.ids[packed.lead :][: len(query)].tolist() == query.tolist()
        before = [] if one.record_image is None else [packer.snippet(one.record_image).ids]
        patches = sum(int((ids == packer.image_token).sum()) for ids in before)
        assert int((packed.ids[: packed.lead] == packer.image_token).sum()) == patches


@pytest.mark.parametrize("budget", [10_000, 700, 170, 1])
def test_prompts_that_share_records_score_as_if_each_stood_alone(
    reader: Reader, image_root: Path, budget: int
) -> None:
    """Answer sets of one and of several tokens stand in the same rows."""
    reader.token_budget = budget
    sets = [SETS[place % len(SETS)] for place in range(len(SHARED))]
    done: Counter[int] = Counter()
    for indices, values in reader.score_batches(SHARED, sets):
        for index, scores in zip(indices, values, strict=True):
            done[index] += 1
            expected = [
                naive_score(reader, SHARED[index], a, image_root, sets[index] is not ONE_TOKEN)
                for a in sets[index].answers
            ]
            np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert done == Counter(range(len(SHARED)))


@pytest.mark.parametrize("answers", [ONE_TOKEN, SEVERAL])
def test_a_record_is_read_once_and_masks_are_made_only_where_needed(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, answers: AnswerSet
) -> None:
    columns, masks = watched(reader, monkeypatch)
    trie = reader._trie(answers)
    packed = reader.packer.pack(SHARED)
    whole = sum(len(one.ids) + trie.nodes for one in packed)
    shared = {(p.ids[: p.lead].tobytes(), p.images[:-1]): p.lead for p in packed}
    once = whole - sum(p.lead for p in packed) + sum(shared.values())
    reader.token_budget = 10_000
    together = reader.score(SHARED, answers)
    assert sum(row.length for row in columns) == once < 0.9 * whole
    assert masks == [True]
    columns.clear(), masks.clear()
    monkeypatch.setattr(reading, "takes_masks", lambda model: False)
    alone = reader.score(SHARED, answers)
    assert sum(row.length for row in columns) == whole
    assert masks == [answers is SEVERAL]
    np.testing.assert_allclose(alone, together, atol=1e-4)


def watched(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Row], list[bool]]:
    """The rows that a reader goes on to read, and for each batch whether it has a mask."""
    rows: list[Row] = []
    masks: list[bool] = []
    core, score = reader.model.model.language_model, reading.score_batch
    run = core.forward

    def scored(model: Any, packer: Any, some: list[Row], features: Any) -> Any:
        rows.extend(some)
        return score(model, packer, some, features)

    def forwarded(**named: Any) -> Any:
        masks.append(named["attention_mask"] is not None)
        return run(**named)

    monkeypatch.setattr(reading, "score_batch", scored)
    monkeypatch.setattr(core, "forward", forwarded)
    return rows, masks


def test_flash_attention_gets_rows_of_one_prompt_and_no_mask(
    load_reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel itself runs on CUDA only: here it is told to be torch's own, causal."""
    reader = load_reader("qwen2_vl")
    expected = reader.score(SHARED, ONE_TOKEN)
    columns, masks = watched(reader, monkeypatch)
    text, core = reader.model.config.text_config, reader.model.model.language_model
    run = core.forward

    def causal(**named: Any) -> Any:
        text._attn_implementation = "sdpa"
        try:
            return run(**named)
        finally:
            text._attn_implementation = "flash_attention_2"

    monkeypatch.setattr(core, "forward", causal)
    text._attn_implementation = "flash_attention_2"
    found = reader.score(SHARED, ONE_TOKEN)
    assert {len(each.places) for each in columns} == {1}
    assert not any(masks)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_limits_hold_for_a_prompt_and_not_for_its_row(
    load_reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = load_reader("pixtral", backbone__token_budget=10_000)
    expected = reader.score(SHARED, SEVERAL)
    trie, packed = reader._trie(SEVERAL), reader.packer.pack(SHARED)
    longest = max(len(one.ids) for one in packed) + int(trie.depths.max())
    columns, _ = watched(reader, monkeypatch)
    text = reader.model.config.text_config
    text.max_position_embeddings, text.sliding_window = longest + 1, longest
    np.testing.assert_array_equal(reader.score(SHARED, SEVERAL), expected)
    assert max(each.length for each in columns) > longest + 1
    text.sliding_window = longest - 1
    with pytest.raises(ReaderError, match=rf"has {longest} tokens, .* \({longest - 1}\)"):
        reader.score(SHARED, SEVERAL)


def test_the_mask_of_a_row_by_hand(reader: Reader) -> None:
    """What each column of the row above sees; beside it a row that is padded."""
    short = Row((0,), (prompt(1, IMAGE, lead=0, images=("q",)),), (ONE,))
    mask = forward._attention(reader.model, [row(), short], torch.float32)
    assert mask is not None
    assert mask.shape == (2, 1, 10, 10)
    seen = (mask[0, 0] == 0).int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 1, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 1, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 0, 0, 1, 1, 1],
    ]
    assert (mask[1, 0, :2, :3] == 0).int().tolist() == [[1, 0, 0], [1, 1, 0]]
    assert forward._attention(reader.model, [short], torch.float32) is None


def test_what_a_block_gives_depends_on_the_block_alone(
    load_reader: Callable[..., Reader], family: str
) -> None:
    fresh, used = load_reader(family), load_reader(family)
    used.score(SHARED[::-1], SEVERAL)
    used.score(PROMPTS, ONE_TOKEN)
    expected = fresh.score(SHARED, SEVERAL)
    np.testing.assert_array_equal(used.score(SHARED, SEVERAL), expected)
