"""Building an index: records -> fp16 shards of both heads, streamed, resumable, never partial."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jomed.progress import track
from jomed.records import Skipped
from jomed.retrieval.approximate import build_ivf, measured_recall
from jomed.retrieval.encoders import Encoder, FloatArray
from jomed.retrieval.shards import (
    FORMAT_VERSION,
    IDS_FILE,
    MANIFEST_FILE,
    IndexError_,
    Shards,
    file_sha,
    vector_file,
    write_json,
    write_vectors,
)
from jomed.retrieval.streaming import ImageItem, stream_pixels
from jomed.settings import IndexConfig

_BUILD_FILE = "build.json"
_RECALL_K = 10


def build_index(
    records: pd.DataFrame, encoder: Encoder, root: Path, folder: Path, settings: IndexConfig
) -> list[Skipped]:
    """Embed texts and images of all records into `folder`; returns the records left out.

    `records` has the columns of RECORD_SCHEMA; addresses are relative to `root`. A record whose
    image cannot be opened is left out of both heads and reported. After a kill, a second call
    with the same records, encoder and settings keeps the finished shards and ends in the same
    bytes. Raises IndexError_ where `folder` holds a build of other records or another encoder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_build(records, encoder, folder, settings)
    starts = range(0, len(records), settings.shard_size)
    shards = []
    for number, start in enumerate(track(starts, "embedding records")):
        done = _finished_shard(folder, number)
        if done is None:
            part = records.iloc[start : start + settings.shard_size]
            done = _embed_shard(part, encoder, root, folder, number, settings.batch_size)
        shards.append(done)
    skipped = [Skipped(**item) for shard in shards for item in shard["skipped"]]
    _finish(folder, shards, skipped, encoder, settings)
    return skipped


def _check_build(
    records: pd.DataFrame, encoder: Encoder, folder: Path, settings: IndexConfig
) -> None:
    if records["record_id"].duplicated().any():
        twice = records.loc[records["record_id"].duplicated(), "record_id"].iloc[0]
        raise IndexError_(f"record_id {twice!r} occurs twice: ids must be unique in an index")
    corpus = hashlib.sha256()
    for row in records[["record_id", "image", "image_sha", "text"]].itertuples(index=False):
        corpus.update(json.dumps(list(row)).encode())
    wanted = {
        "records": corpus.hexdigest()[:16],
        "encoder_key": encoder.key,
        "shard_size": settings.shard_size,
        "batch_size": settings.batch_size,
    }
    path = folder / _BUILD_FILE
    if not path.is_file():
        write_json(path, wanted)
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != wanted:
        differing = sorted(key for key in wanted if found.get(key) != wanted[key])
        raise IndexError_(
            f"{folder} holds a build with other {', '.join(differing)}: "
            "delete that folder or build into another one"
        )


def _embed_shard(
    part: pd.DataFrame, encoder: Encoder, root: Path, folder: Path, number: int, batch_size: int
) -> dict[str, Any]:
    items = [
        ImageItem(name, source, address)
        for name, source, address in zip(
            part["record_id"], part["source"], part["image"], strict=True
        )
    ]
    ids: list[str] = []
    skipped: list[Skipped] = []
    images: list[FloatArray] = []
    texts: list[FloatArray] = []
    for batch in stream_pixels(items, root, encoder, batch_size):
        skipped += batch.skipped
        if batch.positions:
            kept = part.iloc[batch.positions]
            ids += kept["record_id"].tolist()
            images.append(encoder.encode_pixels(batch.pixels))
            texts.append(encoder.encode_texts(kept["text"].tolist()))
    shard: dict[str, Any] = {
        "number": number,
        "ids": ids,
        "skipped": [
            {"source": s.source, "item": s.item, "reason": s.reason, "detail": s.detail}
            for s in skipped
        ],
    }
    for head, vectors in (("text", texts), ("image", images)) if ids else ():
        shard[head] = _write_head(folder / vector_file(number, head), np.concatenate(vectors), ids)
    write_json(folder / _shard_file(number), shard)
    return shard


def _write_head(path: Path, vectors: FloatArray, ids: list[str]) -> str:
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise IndexError_(
            f"the encoder gave NaN or infinity for record {ids[int(bad.argmax())]!r}: "
            "check the encoder's weights"
        )
    write_vectors(path, vectors)
    return file_sha(path)


def _shard_file(number: int) -> str:
    return f"shard-{number:05d}.json"


def _finished_shard(folder: Path, number: int) -> dict[str, Any] | None:
    """A shard's description where its files are whole, else None (it is embedded again)."""
    path = folder / _shard_file(number)
    if not path.is_file():
        return None
    shard: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for head in ("text", "image") if shard["ids"] else ():
        vectors = folder / vector_file(number, head)
        if not vectors.is_file() or file_sha(vectors) != shard[head]:
            return None
    return shard


def _finish(
    folder: Path,
    shards: list[dict[str, Any]],
    skipped: list[Skipped],
    encoder: Encoder,
    settings: IndexConfig,
) -> None:
    ids = [record_id for shard in shards for record_id in shard["ids"]]
    if not ids:
        why = f"the first: {skipped[0].item}: {skipped[0].detail}" if skipped else "none was given"
        raise IndexError_(f"not one record could be embedded ({why})")
    write_json(folder / IDS_FILE, ids)
    manifest: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "encoder": encoder.name,
        "encoder_key": encoder.key,
        "count": len(ids),
        "dim": encoder.dim,
        "dtype": "float16",
        "metric": "inner product of unit vectors",
        "ids": IDS_FILE,
        "ids_sha256": file_sha(folder / IDS_FILE),
        "skipped": len(skipped),
        "shards": [
            {"number": s["number"], "rows": len(s["ids"]), "text": s["text"], "image": s["image"]}
            for s in shards
            if s["ids"]
        ],
        "kind": settings.kind,
    }
    if settings.kind == "ivf":
        manifest["ivf"] = _add_ivf(folder, manifest, settings)
    write_json(folder / MANIFEST_FILE, manifest)


def _add_ivf(folder: Path, manifest: Mapping[str, Any], settings: IndexConfig) -> dict[str, Any]:
    shards = Shards(folder, manifest)
    k = min(_RECALL_K, shards.count)
    heads: dict[str, Any] = {}
    for head in ("text", "image"):
        path = folder / f"ivf.{head}.faiss"
        build_ivf(shards, head, settings.ivf_cells, settings.ivf_probes, path)
        recall = measured_recall(shards, head, path, k)
        heads[head] = {"file": path.name, "sha256": file_sha(path), f"recall@{k}": recall}
    return heads
