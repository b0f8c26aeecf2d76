from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_sets import (
    benchmark_config,
    data_config,
    jpeg,
    load_samples,
    reasons,
    save_parquet,
)

from jomed.data.benchmarks import list_samples
from jomed.data.hashes import image_sha
from jomed.data.images import open_image
from jomed.data.sources import DataError, MissingData, clean_text
from jomed.records import Sample

BENCHMARK = benchmark_config(
    name="path_vqa",
    title="PathVQA",
    loader="path_vqa",
    task="vqa",
    path="path-vqa",
    question=None,
    answers=(),
    label_names=(),
)
SETTINGS = data_config()
NAMES = {
    "train": ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"),
    "val": ("validation-00000-of-00001.parquet",),
    "test": ("test-00000-of-00001-0123456789abcdef.parquet",),
}
CELLS = jpeg(1)
INK = jpeg(2, "CMYK")
FILES: dict[str, list[tuple[bytes | None, str | None, str | None]]] = {
    NAMES["train"][0]: [
        (CELLS, "where are the\tcells ? ", "in  the canals\tof something"),
        (CELLS, "is there a nucleus?", "yes"),
        (INK, "what else?", "none"),
    ],
    NAMES["train"][1]: [
        (CELLS, "how many?", "3"),
        (None, "no image?", "yes"),
        (jpeg(3), "no answer?", None),
        (jpeg(3), " ", "no question"),
        (jpeg(4)[:300], "cut short?", "no"),
    ],
    NAMES["val"][0]: [(jpeg(5, "L"), "is it gray?", "Yes")],
    NAMES["test"][0]: [(CELLS, "what is it?", "NA"), (jpeg(6), "is it new?", "no ")],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, rows in FILES.items():
        save_parquet(tmp_path / "path-vqa/data" / name, rows)
    return tmp_path


def by_id(samples: list[Sample]) -> dict[str, Sample]:
    return {sample.sample_id.removeprefix("path_vqa:"): sample for sample in samples}


def test_closed_are_the_questions_with_yes_or_no(root: Path) -> None:
    samples, _ = load_samples(root, BENCHMARK, SETTINGS)
    assert {key: (s.answer, s.answer_type) for key, s in by_id(samples).items()} == {
        "train/0": ("in the canals of something", "open"),
        "train/1": ("yes", "closed"),
        "train/2": ("none", "open"),
        "train/3": ("3", "open"),
        "val/0": ("Yes", "closed"),
        "test/0": ("NA", "open"),
        "test/1": ("no", "closed"),
    }
    assert samples[0].question == "where are the cells ?"
    assert {key.split("/")[0] for key in by_id(samples)} == {"train", "val", "test"}
    assert all(key.startswith(sample.split) for key, sample in by_id(samples).items())


def test_questions_of_one_image_share_group_address_and_hash(root: Path) -> None:
    found = by_id(load_samples(root, BENCHMARK, SETTINGS)[0])
    address = f"path-vqa/data/{NAMES['train'][0]}::"
    assert {found[f"train/{row}"].image for row in (0, 1, 3)} == {f"{address}0"}
    assert found["train/2"].image == f"{address}2"
    same = [found[key] for key in ("train/0", "train/3", "test/0")]
    assert len({sample.group for sample in same}) == len({s.image_sha for s in same}) == 1
    assert found["test/0"].image.startswith("path-vqa/data/test-")
    assert len({sample.group for sample in found.values()}) == 4


def test_images_are_those_of_their_rows(root: Path) -> None:
    for sample in load_samples(root, BENCHMARK, SETTINGS)[0]:
        assert image_sha(open_image(sample.image, root)) == sample.image_sha
    ink = by_id(load_samples(root, BENCHMARK, SETTINGS)[0])["train/2"]
    assert open_image(ink.image, root).mode == "RGB"


def test_everything_left_out_has_a_reason(root: Path) -> None:
    samples, skipped = load_samples(root, BENCHMARK, SETTINGS)
    assert reasons(skipped) == {
        "path_vqa:train/4": "missing image",
        "path_vqa:train/5": "empty text",
        "path_vqa:train/6": "empty text",
        "path_vqa:train/7": "unreadable image",
    }
    assert len(samples) + len(skipped) == sum(map(len, FILES.values()))
    assert skipped[0].detail == f"path-vqa/data/{NAMES['train'][1]}::1"


@pytest.mark.parametrize("group", [1, 64, 1000])
def test_rows_are_those_that_pandas_reads(group: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["none", "NA", "nan", "null", "yes", "1.0", "", "two  words"]
    rows: list[Any] = [(jpeg(n % 7), f"q {n}?", words[int(rng.integers(8))]) for n in range(150)]
    data = tmp_path / "path-vqa/data"
    for split, (name, *_) in NAMES.items():
        short = name.replace("-of-00002", "-of-00001")
        save_parquet(data / short, rows[:: 1 if split == "train" else 30], group)
    samples, skipped = list_samples(tmp_path, BENCHMARK, SETTINGS)
    train = [sample for sample in samples if sample.split == "train"]
    frame = pd.read_parquet(data / "train-00000-of-00001.parquet")
    full = frame[frame["answer"] != ""]
    assert [sample.question for sample in train] == full["question"].tolist()
    assert [sample.answer for sample in train] == [clean_text(a) for a in full["answer"]]
    assert len(samples) + len(skipped) == 160
    places = [int(sample.image.partition("::")[2]) for sample in train]
    images = [frame["image"][place]["bytes"] for place in places]
    assert images == [cell["bytes"] for cell in full["image"]]


def test_rows_are_those_of_the_datasets_package(root: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = {
        split: [str(root / "path-vqa/data" / n) for n in names] for split, names in NAMES.items()
    }
    published = datasets.load_dataset("parquet", data_files=files, cache_dir=str(root / "cache"))
    for sample in list_samples(root, BENCHMARK, SETTINGS)[0]:
        row = published[sample.split][int(sample.sample_id.rpartition("/")[2])]
        assert (sample.question, sample.answer) == tuple(
            clean_text(row[key]) for key in ("question", "answer")
        )


def test_answers_may_be_numbers(tmp_path: Path) -> None:
    table = pa.table(
        {
            "image": pa.array([{"bytes": CELLS, "path": None}] * 2),
            "question": ["how many?"] * 2,
            "answer": pa.array([0, None], pa.int64()),
        }
    )
    for prefix in ("train", "validation", "test"):
        path = tmp_path / f"path-vqa/data/{prefix}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    samples, skipped = list_samples(tmp_path, BENCHMARK, SETTINGS)
    assert [(sample.answer, sample.answer_type) for sample in samples] == [("0", "open")] * 3
    assert [item.reason for item in skipped] == ["empty text"] * 3


def test_pickles_are_refused(tmp_path: Path) -> None:
    home = tmp_path / "path-vqa"
    for name in ("qas/train/train_qa.pkl", "pvqa/qas/val_vqa.pkl"):
        path = home / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
        with pytest.raises(DataError, match=r"is a Python pickle.*validation-\*\.parquet.*example"):
            load_samples(tmp_path, BENCHMARK, SETTINGS)
        path.unlink()
    assert not (tmp_path / "executed").exists()
    with pytest.raises(MissingData, match=r"train-\*\.parquet is missing.*example\.org"):
        load_samples(tmp_path, BENCHMARK, SETTINGS)


def test_missing_and_broken_files(root: Path) -> None:
    data = root / "path-vqa/data"
    table = pq.read_table(data / NAMES["val"][0])
    pq.write_table(table.drop_columns("answer"), data / NAMES["val"][0])
    with pytest.raises(DataError, match=r"validation.* has the columns image, question; needed"):
        load_samples(root, BENCHMARK, SETTINGS)
    plain = table.set_column(0, "image", pa.array([b"no struct"]))
    pq.write_table(plain, data / NAMES["val"][0])
    with pytest.raises(DataError, match="a struct with the field bytes"):
        load_samples(root, BENCHMARK, SETTINGS)
    (data / NAMES["val"][0]).write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(DataError, match=r"cannot be read .*truncated download.*example\.org"):
        load_samples(root, BENCHMARK, SETTINGS)
    (data / NAMES["train"][1]).unlink()
    with pytest.raises(DataError, match=r"one of 2 files, but 1 begin with train-"):
        load_samples(root, BENCHMARK, SETTINGS)
    for name in NAMES["train"][:1] + NAMES["test"]:
        (data / name).unlink()
    with pytest.raises(MissingData, match=r"train-\*\.parquet is missing.*example\.org"):
        load_samples(root, BENCHMARK, SETTINGS)
