import json

import numpy as np
import pytest

from jomed.artifacts import atomic_write
from jomed.retrieval.index import Index, IndexError_
from jomed.retrieval.shards import (
    FORMAT_VERSION,
    IDS_FILE,
    MANIFEST_FILE,
    file_sha,
    vector_file,
    write_json,
    write_vectors,
)


def unit(rng, count, dim=6):
    vectors = rng.normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def store(folder, text, image, shard_rows):
    """Write given vectors as an index, `shard_rows` records to a shard."""
    folder.mkdir()
    shards = []
    for number, start in enumerate(range(0, len(text), shard_rows)):
        part = slice(start, start + shard_rows)
        shard = {"number": number, "rows": len(text[part])}
        for head, vectors in (("text", text), ("image", image)):
            path = folder / vector_file(number, head)
            write_vectors(path, vectors[part])
            shard[head] = file_sha(path)
        shards.append(shard)
    write_json(folder / IDS_FILE, [f"r{n}" for n in range(len(text))])
    manifest = {
        "version": FORMAT_VERSION,
        "encoder": "none",
        "encoder_key": "0",
        "count": len(text),
        "dim": text.shape[1],
        "ids_sha256": file_sha(folder / IDS_FILE),
        "shards": shards,
        "kind": "exact",
    }
    write_json(folder / MANIFEST_FILE, manifest)
    return Index.open(folder)


def brute(vectors, queries, k, exclude=None):
    scores = (queries.astype(np.float64) @ vectors.astype(np.float16).astype(np.float64).T).astype(
        np.float32
    )
    for query, rows in enumerate(exclude or []):
        scores[query, list(rows)] = -np.inf
    order = np.stack([np.lexsort((np.arange(len(s)), -s)) for s in scores])[:, :k]
    return np.take_along_axis(scores, order, 1), order


def test_hand_computed_scores_and_order(tmp_path):
    text = np.array([[1, 0], [0, 1], [0.5, 0.5], [-1, 0]], np.float32)
    index = store(tmp_path / "i", text, -text, shard_rows=3)
    scores, rows = index.search(np.array([[2.0, 1.0]], np.float32), "text", 4)
    assert rows.tolist() == [[0, 2, 1, 3]]
    assert scores.tolist() == [[2.0, 1.5, 1.0, -2.0]]
    scores, rows = index.search(np.array([[2.0, 1.0]], np.float32), "image", 2)
    assert rows.tolist() == [[3, 1]]
    assert scores.tolist() == [[2.0, -1.0]]
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)


def test_search_equals_brute_force_over_shards_and_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("jomed.retrieval.shards._CHUNK_ROWS", 16)
    monkeypatch.setattr("jomed.retrieval.exact._QUERY_BLOCK", 4)
    rng = np.random.default_rng(0)
    text, image, queries = unit(rng, 150), unit(rng, 150), unit(rng, 11)
    index = store(tmp_path / "i", text, image, shard_rows=40)
    exclude = [set(rng.choice(150, size=n, replace=False).tolist()) for n in range(11)]
    for head, vectors in (("text", text), ("image", image)):
        for banned in (None, exclude):
            scores, rows = index.search(queries, head, 20, banned)
            expected_scores, expected_rows = brute(vectors, queries, 20, banned)
            np.testing.assert_array_equal(rows, expected_rows)
            np.testing.assert_array_equal(scores, expected_scores)


def test_ties_go_to_the_lower_row_wherever_duplicates_lie(tmp_path, monkeypatch):
    monkeypatch.setattr("jomed.retrieval.shards._CHUNK_ROWS", 7)
    rng = np.random.default_rng(1)
    base = unit(rng, 4, dim=33)
    vectors = np.tile(base, (25, 1))  # row r repeats base[r % 4]
    index = store(tmp_path / "i", vectors, vectors, shard_rows=30)
    rows = index.search(base, "text", 10)[1]
    expected = np.stack([np.arange(q, 40, 4) for q in range(4)])
    np.testing.assert_array_equal(rows, expected)
    alone = np.concatenate([index.search(base[q : q + 1], "text", 10)[1] for q in range(4)])
    np.testing.assert_array_equal(alone, expected)


def test_excluded_rows_never_cost_results(tmp_path):
    rng = np.random.default_rng(2)
    vectors = unit(rng, 12)
    index = store(tmp_path / "i", vectors, vectors, shard_rows=5)
    exclude = [set(range(9)), {3}, ()]
    rows = index.search(vectors[[3, 3, 3]], "image", 3, exclude)[1]
    assert set(rows[0].tolist()) == {9, 10, 11}
    assert 3 not in rows[1]
    assert rows[2, 0] == 3


def test_vectors_and_rows(tmp_path):
    rng = np.random.default_rng(3)
    text, image = unit(rng, 10), unit(rng, 10)
    index = store(tmp_path / "i", text, image, shard_rows=4)
    rows = np.array([[9, 0, 4], [3, 3, 8]])
    expected = image.astype(np.float16).astype(np.float32)[rows]
    found = index.vectors("image", rows)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    assert index.vectors("text", np.empty((0, 3), np.int64)).shape == (0, 3, 6)
    assert (index.size, index.dim, index.row_of["r7"]) == (10, 6, 7)
    with pytest.raises(IndexError_, match="row outside"):
        index.vectors("text", np.array([10]))
    with pytest.raises(IndexError_, match="row outside"):
        index.vectors("text", np.array([-1]))


def test_impossible_searches_are_refused(tmp_path):
    rng = np.random.default_rng(4)
    vectors = unit(rng, 6)
    index = store(tmp_path / "i", vectors, vectors, shard_rows=6)
    with pytest.raises(IndexError_, match=r"asked for 7 candidates.* 6 records"):
        index.search(vectors, "text", 7)
    with pytest.raises(IndexError_, match="up to 2 of them excluded"):
        index.search(vectors[:1], "text", 5, [{0, 1}])
    with pytest.raises(IndexError_, match="length 6"):
        index.search(vectors[:, :3], "text", 1)
    with pytest.raises(IndexError_, match="NaN"):
        index.search(np.full((1, 6), np.nan, np.float32), "text", 1)
    with pytest.raises(IndexError_, match="1 exclusion sets for 2"):
        index.search(vectors[:2], "text", 1, [set()])


@pytest.mark.parametrize("harm", ["missing", "short", "altered", "ids", "manifest", "version"])
def test_damaged_index_is_never_read(tmp_path, harm):
    rng = np.random.default_rng(5)
    vectors = unit(rng, 8)
    folder = tmp_path / "i"
    store(folder, vectors, vectors, shard_rows=3)
    shard = folder / vector_file(1, "image")
    if harm == "missing":
        shard.unlink()
    elif harm == "short":
        shard.write_bytes(shard.read_bytes()[:-4])
    elif harm == "altered":
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(content)
    elif harm == "ids":
        (folder / IDS_FILE).write_text(json.dumps(["r0"]))
    elif harm == "manifest":
        (folder / MANIFEST_FILE).unlink()
    else:
        manifest = json.loads((folder / MANIFEST_FILE).read_text())
        with atomic_write(folder / MANIFEST_FILE) as path:
            path.write_text(json.dumps({**manifest, "version": 0}))
    with pytest.raises(IndexError_, match="build"):
        Index.open(folder)
