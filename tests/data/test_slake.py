import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import (
    benchmark_config,
    data_config,
    jpeg,
    load_samples,
    reasons,
    save_jpeg,
    save_parquet,
    truncate,
)

from jomed.data.sources import DataError, MissingData
from jomed.records import Sample

BENCHMARK = benchmark_config(
    name="slake",
    title="SLAKE",
    loader="slake",
    task="vqa",
    path="slake",
    question=None,
    answers=(),
    label_names=(),
)
SETTINGS = data_config()


def row(qid: int, image: int | str, **changes: Any) -> dict[str, Any]:
    return {
        "img_id": 1,
        "img_name": f"xmlab{image}/source.jpg",
        "question": "Does the picture contain liver?",
        "answer": "Yes",
        "q_lang": "en",
        "location": "Abdomen",
        "modality": "CT",
        "answer_type": "CLOSED",
        "base_type": "vqa",
        "content_type": "Organ",
        "triple": ["vhead", "_", "_"],
        "qid": qid,
    } | changes


def chinese(qid: int, image: int) -> dict[str, Any]:
    return row(qid, image, question="图像里包含肝脏吗?", answer="包含", q_lang="zh")


TRAIN = [
    row(1, 1),
    row(2, 1, question="Which is bigger,  liver or spleen?\t", answer="Liver", content_type="Size"),
    dict(reversed(row(3, 2, answer_type="OPEN", answer="None", content_type=" KG ").items())),
    chinese(4, 5),
    row(5, 1, answer=""),
    row(6, 99),
    row(7, "broken"),
    row(8, 1, answer_type="HALF"),
    {"qid": 9},
    "not a row",
]
VAL = [row(10, 3), row(10, 3, answer="No")]
TEST = [row(11, 4), chinese(12, 4), row(13, 5)]
FILES = {"train.json": TRAIN, "validate.json": VAL, "test.json": TEST}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "slake"
    for seed, number in enumerate((1, 2, 3, 4, 5, "broken")):
        save_jpeg(home / f"imgs/xmlab{number}/source.jpg", seed, "L" if number == 3 else "RGB")
    truncate(home / "imgs/xmlabbroken/source.jpg")
    for name, rows in FILES.items():
        (home / name).write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return tmp_path


def by_id(samples: list[Sample]) -> dict[str, Sample]:
    found = {sample.sample_id: sample for sample in samples}
    assert len(found) == len(samples)
    return found


def test_splits_types_and_texts_are_the_published_ones(root: Path) -> None:
    found = by_id(load_samples(root, BENCHMARK, SETTINGS)[0])
    assert {key: sample.split for key, sample in found.items()} == {
        **{"slake:1": "train", "slake:2": "train", "slake:3": "train"},
        **{"slake:10": "val", "slake:10#2": "val"},
        **{"slake:11": "test", "slake:13": "test"},
    }
    size, graph = found["slake:2"], found["slake:3"]
    assert (size.question, size.answer) == ("Which is bigger, liver or spleen?", "Liver")
    assert (size.answer_type, size.question_type) == ("closed", "Size")
    assert (graph.answer, graph.answer_type, graph.question_type) == ("None", "open", "KG")


def test_questions_of_one_image_share_group_and_hash(root: Path) -> None:
    found = by_id(load_samples(root, BENCHMARK, SETTINGS)[0])
    one, two, other = (found[f"slake:{qid}"] for qid in (1, 2, 11))
    assert one.group == two.group == "xmlab1/source.jpg"
    assert one.image_sha == two.image_sha != other.image_sha
    assert one.image == "slake/imgs/xmlab1/source.jpg"


def test_everything_left_out_has_a_reason(root: Path) -> None:
    samples, skipped = load_samples(root, BENCHMARK, SETTINGS)
    assert reasons(skipped) == {
        "4": "other language",
        "5": "empty text",
        "6": "missing image",
        "slake:7": "unreadable image",
        "8": "unknown answer type",
        "9": "unreadable row",
        "train.json row 9": "unreadable row",
        "12": "other language",
    }
    assert len(samples) + len(skipped) == len([*TRAIN, *VAL, *TEST])
    assert all("肝" not in item.detail and "liver" not in item.detail for item in skipped)


def test_missing_and_broken_files(root: Path) -> None:
    home = root / "slake"
    (home / "imgs").rename(home / "pictures")
    with pytest.raises(MissingData, match=r"no imgs and no imgs\.zip.*example\.org"):
        load_samples(root, BENCHMARK, SETTINGS)
    (home / "test.json").write_text('{"version": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="holds a dict"):
        load_samples(root, BENCHMARK, SETTINGS)
    (home / "validate.json").unlink()
    with pytest.raises(MissingData, match=r"validate\.json is missing.*example\.org"):
        load_samples(root, BENCHMARK, SETTINGS)
    (home / "train.json").unlink()
    (home / "test.json").unlink()
    with pytest.raises(MissingData, match=r"train\.json is missing.*example\.org"):
        load_samples(root, BENCHMARK, SETTINGS)


def test_images_are_read_from_the_archive(root: Path) -> None:
    home = root / "slake"
    before, left_out = load_samples(root, BENCHMARK, SETTINGS)
    with zipfile.ZipFile(home / "imgs.zip", "w") as archive:
        for path in sorted((home / "imgs").rglob("*.jpg")):
            archive.write(path, path.relative_to(home))
    shutil.rmtree(home / "imgs")
    packed, skipped = load_samples(root, BENCHMARK, SETTINGS)
    assert packed[0].image == "slake/imgs.zip::imgs/xmlab1/source.jpg"
    assert [s.image_sha for s in packed] == [s.image_sha for s in before]
    assert reasons(skipped) == reasons(left_out)
    (home / "imgs.zip").write_bytes((home / "imgs.zip").read_bytes()[:300])
    with pytest.raises(DataError, match=r"imgs\.zip is not a whole zip"):
        load_samples(root, BENCHMARK, SETTINGS)


def test_parquet_files_are_read_with_a_warning_about_types(tmp_path: Path) -> None:
    data = tmp_path / "slake/data"
    first, second = jpeg(1), jpeg(2)
    save_parquet(data / "train-00000-of-00002.parquet", [(first, "Is it?", "Yes")])
    save_parquet(data / "train-00001-of-00002.parquet", [(first, "Which?", "Liver, Spleen")])
    save_parquet(data / "validation-00000-of-00001.parquet", [(second, "Where?", "NA")])
    save_parquet(data / "test-00000-of-00001.parquet", [(jpeg(3), "Any?", "no"), (None, "x", "y")])
    with pytest.warns(UserWarning, match=r"SLAKE.*4 of 4 count as closed.*validate\.json"):
        samples, skipped = load_samples(tmp_path, BENCHMARK, SETTINGS)
    found = by_id(samples)
    assert {key: (s.split, s.answer, s.answer_type) for key, s in found.items()} == {
        "slake:train/0": ("train", "Yes", "closed"),
        "slake:train/1": ("train", "Liver, Spleen", "open"),
        "slake:val/0": ("val", "NA", "open"),
        "slake:test/0": ("test", "no", "closed"),
    }
    assert found["slake:train/0"].group == found["slake:train/1"].group
    assert reasons(skipped) == {"slake:test/1": "missing image"}


def test_the_original_goes_before_parquet_files(root: Path) -> None:
    save_parquet(root / "slake/data/train-00000-of-00001.parquet", [(jpeg(1), "Is it?", "Yes")])
    assert len(load_samples(root, BENCHMARK, SETTINGS)[0]) == 7
