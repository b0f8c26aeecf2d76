"""Synthetic Parquet files of questions, as Hugging Face publishes VQA-RAD and PathVQA."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jomed.phantom.formats import check_splits, cut_jpeg, encode_jpeg, plant, some, tally
from jomed.phantom.items import Planted, QuestionItem

_MISSING, _CORRUPT = "missing image", "corrupt image"
_CMYK, _NONE, _TAB = "question about a CMYK image", 'answer "none"', "answer with a tab"
_ODDITIES = {_MISSING: 1, _CORRUPT: 1, _CMYK: 1, _NONE: 1, _TAB: 2}
_NONE_QUESTION = "what else is seen?"
_ROWS_PER_GROUP = 100
_TRAIN_SHARDS = 2
_SCHEMA = pa.schema(
    {
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "question": pa.string(),
        "answer": pa.string(),
    }
)


def write_questions(
    root: Path, items: Sequence[QuestionItem], prefixes: Mapping[str, str], seed: int
) -> Planted:
    """Write `items` below root/data, texts in small letters; `prefixes` as split -> file prefix.

    Every row holds its image; items of one `group` hold the same bytes, but for two that lose it:
    one has none, one the first part of a file. One item has a CMYK image instead of its own
    encoding, one asks what is answered by "none", two answers end in a tab, and only some images
    have a name. The training split has two files. Raises ValueError for a split without a prefix.
    """
    check_splits((item.split for item in items), tuple(prefixes), "the Parquet release")
    rng = np.random.default_rng(seed)
    odd = plant(rng, len(items), _ODDITIES)
    images = {item.group: encode_jpeg(item.image) for item in items}
    counts: Counter[str] = Counter()
    rows: dict[str, list[dict[str, object]]] = {split: [] for split in prefixes}
    for place, item in enumerate(items):
        kind = odd.get(place, "")
        name = some(rng, (f"{item.split}_{item.group:04d}.jpg", ""))
        question, answer = item.question.lower(), item.answer.lower()
        if kind == _NONE:
            question, answer = _NONE_QUESTION, "none"
        encoded = _encoded(item.image, images[item.group], kind)
        rows[item.split].append(
            {
                "image": {"bytes": encoded, "path": name or None},
                "question": question,
                "answer": f"{answer}\t" if kind == _TAB else answer,
            }
        )
        counts[kind] += 1
    for split, prefix in prefixes.items():
        _save(root / "data", prefix, rows[split], _TRAIN_SHARDS if split == "train" else 1)
    return tally(len(items), counts, (_MISSING, _CORRUPT))


def _encoded(image: np.ndarray, encoded: bytes, kind: str) -> bytes | None:
    if kind == _MISSING:
        return None
    if kind == _CMYK:
        return encode_jpeg(image, "CMYK")
    return cut_jpeg(encoded) if kind == _CORRUPT else encoded


def _save(folder: Path, prefix: str, rows: Sequence[Mapping[str, object]], shards: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // shards)
    for shard in range(shards):
        table = pa.Table.from_pylist(rows[shard * size : (shard + 1) * size], _SCHEMA)
        name = f"{prefix}-{shard:05d}-of-{shards:05d}.parquet"
        pq.write_table(table, folder / name, row_group_size=_ROWS_PER_GROUP)
