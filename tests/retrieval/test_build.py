import itertools
import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tiny_clip
import torch

from jomed.retrieval.index import Index, IndexError_, build_index
from jomed.retrieval.shards import MANIFEST_FILE
from jomed.settings import IndexConfig

EXACT = IndexConfig(kind="exact", batch_size=2, shard_size=4, ivf_cells=1, ivf_probes=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_index_holds_the_encoders_vectors_in_record_order(tmp_path):
    records = tiny_clip.write_records(tmp_path, 11)
    encoder = tiny_clip.tiny_encoder(tmp_path / "encoder")
    assert build_index(records, encoder, tmp_path, tmp_path / "index", EXACT) == []
    index = Index.open(tmp_path / "index")
    assert index.record_ids == records["record_id"].tolist()
    images = encoder.encode_images([tiny_clip.draw(n) for n in range(11)])
    texts = encoder.encode_texts(records["text"].tolist())
    everything = np.arange(11)
    np.testing.assert_allclose(index.vectors("image", everything), images, atol=1e-3)
    np.testing.assert_allclose(index.vectors("text", everything), texts, atol=1e-3)
    assert index.search(images, "image", 1)[1][:, 0].tolist() == list(range(11))
    index.require_encoder(encoder)
    with pytest.raises(IndexError_, match="encoder key"):
        index.require_encoder(tiny_clip.tiny_encoder(tmp_path / "other", seed=9))


def test_bad_images_are_left_out_of_both_heads_and_reported(tmp_path):
    records = tiny_clip.write_records(tmp_path, 9)
    for number in (0, 4, 5, 6, 7):  # 4-7: a whole shard
        (tmp_path / f"images/{number}.png").write_bytes(b"no image")
    (tmp_path / "images/8.png").unlink()
    encoder = tiny_clip.tiny_encoder(tmp_path / "encoder")
    skipped = build_index(records, encoder, tmp_path, tmp_path / "index", EXACT)
    assert [item.item for item in skipped] == [f"roco:{n}" for n in (0, 4, 5, 6, 7, 8)]
    assert {(item.source, item.reason) for item in skipped} == {("roco", "unreadable image")}
    assert "images/8.png" in skipped[-1].detail
    index = Index.open(tmp_path / "index")
    assert index.record_ids == ["roco:1", "roco:2", "roco:3"]
    texts = encoder.encode_texts(["caption number 2"])
    np.testing.assert_allclose(index.vectors("text", np.array([1])), texts, atol=1e-3)
    again = build_index(records, encoder, tmp_path, tmp_path / "index", EXACT)
    assert again == skipped


def test_nothing_readable_is_an_error(tmp_path):
    records = tiny_clip.write_records(tmp_path, 2)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    encoder = tiny_clip.tiny_encoder(tmp_path / "encoder")
    with pytest.raises(IndexError_, match="not one record"):
        build_index(records, encoder, tmp_path, tmp_path / "index", EXACT)
    assert not (tmp_path / "index" / MANIFEST_FILE).exists()


def build_until_killed(records, encoder, root, folder):
    """Runs in a child process: dies by SIGKILL at the fourth batch, within the second shard."""
    torch.set_num_threads(1)
    plain, calls = encoder.encode_texts, itertools.count(1)

    def encode_texts(texts):
        if next(calls) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(texts)

    encoder.encode_texts = encode_texts
    build_index(records, encoder, root, folder, EXACT)


def test_killed_build_goes_on_to_the_identical_bytes(tmp_path, monkeypatch):
    records = tiny_clip.write_records(tmp_path, 11)
    encoder = tiny_clip.tiny_encoder(tmp_path / "encoder")
    build_index(records, encoder, tmp_path, tmp_path / "whole", EXACT)
    arguments = (records, encoder, tmp_path, tmp_path / "killed")
    child = multiprocessing.get_context("fork").Process(target=build_until_killed, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    with pytest.raises(IndexError_, match="no complete index"):
        Index.open(tmp_path / "killed")

    embedded = []
    plain = type(encoder).encode_texts
    monkeypatch.setattr(
        type(encoder), "encode_texts", lambda self, t: embedded.extend(t) or plain(self, t)
    )
    build_index(records, encoder, tmp_path, tmp_path / "killed", EXACT)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert "caption number 0" not in embedded  # the finished shard was kept
    assert "caption number 4" in embedded


def test_damaged_shard_alone_is_made_anew(tmp_path):
    records = tiny_clip.write_records(tmp_path, 9)
    encoder = tiny_clip.tiny_encoder(tmp_path / "encoder")
    folder = tmp_path / "index"
    build_index(records, encoder, tmp_path, folder, EXACT)
    whole = contents(folder)
    (folder / "shard-00001.text.npy").write_bytes(b"")
    (tmp_path / "images/0.png").unlink()  # would be noticed if shard 0 were embedded again
    build_index(records, encoder, tmp_path, folder, EXACT)
    assert contents(folder) == whole


def test_other_records_encoder_or_settings_are_refused(tmp_path):
    records = tiny_clip.write_records(tmp_path, 5)
    encoder = tiny_clip.tiny_encoder(tmp_path / "encoder")
    folder = tmp_path / "index"
    build_index(records, encoder, tmp_path, folder, EXACT)
    with pytest.raises(IndexError_, match="other records"):
        build_index(records.iloc[1:], encoder, tmp_path, folder, EXACT)
    other = tiny_clip.tiny_encoder(tmp_path / "other", seed=2)
    with pytest.raises(IndexError_, match="other encoder_key"):
        build_index(records, other, tmp_path, folder, EXACT)
    twice = records.iloc[[0, 1, 0]]
    with pytest.raises(IndexError_, match="'roco:0' occurs twice"):
        build_index(twice, encoder, tmp_path, tmp_path / "new", EXACT)


def test_encoder_that_gives_nan_is_stopped(tmp_path, monkeypatch):
    records = tiny_clip.write_records(tmp_path, 3)
    encoder = tiny_clip.tiny_encoder(tmp_path / "encoder")
    plain = encoder.encode_pixels
    monkeypatch.setattr(encoder, "encode_pixels", lambda pixels: plain(pixels) * np.nan)
    with pytest.raises(IndexError_, match="'roco:0'"):
        build_index(records, encoder, tmp_path, tmp_path / "index", EXACT)


def test_ivf_recall_is_measured_and_scores_are_exact(tmp_path):
    records = tiny_clip.write_records(tmp_path, 60)
    encoder = tiny_clip.tiny_encoder(tmp_path / "encoder", batch_size=30)
    sizes = {"batch_size": 30, "shard_size": 25}
    all_cells = IndexConfig(kind="ivf", ivf_cells=4, ivf_probes=4, **sizes)
    one_cell = IndexConfig(kind="ivf", ivf_cells=4, ivf_probes=1, **sizes)
    exact = IndexConfig(kind="exact", ivf_cells=4, ivf_probes=1, **sizes)
    found = {}
    for name, settings in (("all", all_cells), ("one", one_cell), ("exact", exact)):
        build_index(records, encoder, tmp_path, tmp_path / name, settings)
        found[name] = Index.open(tmp_path / name)
    queries = encoder.encode_images([tiny_clip.draw(n) for n in range(100, 108)])
    banned = [{n, n + 1} for n in range(8)]
    scores, rows = found["all"].search(queries, "image", 5, banned)
    expected_scores, expected_rows = found["exact"].search(queries, "image", 5, banned)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)
    assert found["all"].recall(queries, "image", 5) == 1.0
    assert found["exact"].recall(queries, "image", 5) == 1.0
    assert 0.0 < found["one"].recall(queries, "image", 20) < 1.0
    manifest = json.loads((tmp_path / "all" / MANIFEST_FILE).read_text())
    assert manifest["ivf"]["text"]["recall@10"] == 1.0
    with pytest.raises(IndexError_, match="ivf_probes"):
        found["one"].search(queries, "image", 59)


def test_more_cells_than_records_are_refused(tmp_path):
    records = tiny_clip.write_records(tmp_path, 3)
    encoder = tiny_clip.tiny_encoder(tmp_path / "encoder")
    settings = IndexConfig(kind="ivf", batch_size=3, shard_size=3, ivf_cells=4, ivf_probes=1)
    with pytest.raises(IndexError_, match="ivf_cells is 4 but there are 3"):
        build_index(records, encoder, tmp_path, tmp_path / "index", settings)
