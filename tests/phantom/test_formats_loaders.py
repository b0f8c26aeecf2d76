"""The loaders of real data read the synthetic files: the usable comes back, the rest is listed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_items import SPLITS, draw, labelled, questions, records
from PIL import Image

from jomed.config import load_config, read_corpus
from jomed.data.benchmarks import load_benchmark
from jomed.data.corpora import load_corpus
from jomed.data.images import ImageError, open_image
from jomed.data.sources import divide
from jomed.phantom.formats import (
    brset,
    medmnist,
    mimic_cxr,
    path_vqa,
    pmc_oa,
    roco,
    rocov2,
    slake,
    vindr_pcxr,
    vqa_rad,
)
from jomed.phantom.items import LabelItem
from jomed.records import Record, Sample, Skipped

CONFIG = load_config(profile="tiny", benchmark="retina")
EXTRA_SKIPS = {"mimic_cxr": "lateral image beside a frontal one"}
CORPORA = {
    "roco": roco.write,
    "rocov2": rocov2.write,
    "pmc_oa": pmc_oa.write,
    "mimic_cxr": mimic_cxr.write,
}


def load(name: str, root: Path) -> tuple[list[Record], list[Skipped]]:
    return divide(load_corpus(read_corpus(name), root, CONFIG.data, CONFIG.benchmark))


def opens(record: Record | Sample, root: Path) -> bool:
    try:
        open_image(record.image, root)
    except ImageError:
        return False
    return True


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_comes_back_but_for_what_is_broken(name, tmp_path):
    write = CORPORA[name]
    items = records()
    planted = write(tmp_path, items, 5)
    found, skipped = load(name, tmp_path)
    usable = [record for record in found if opens(record, tmp_path)]
    lost = len(found) - len(usable) + len(skipped)
    assert len(usable) == planted.records
    assert lost == sum(planted.broken.values()) + planted.notes.get(EXTRA_SKIPS.get(name, ""), 0)
    drawn = {item.text.strip() for item in items}
    plain = [record.text for record in usable if record.text in drawn]
    assert len(set(plain)) == len(plain) >= planted.records - 4  # quotes and panel marks stay
    assert len({record.group for record in usable}) <= len({item.group for item in items})


def test_roco_images_and_captions_stay_together(tmp_path):
    items = {item.text.strip(): item for item in records()}
    roco.write(tmp_path, list(items.values()), 5)
    found, _ = load("roco", tmp_path)
    checked = 0
    for record in found:
        item = items[record.text.removeprefix('"')]
        if opens(record, tmp_path):
            shown = np.asarray(open_image(record.image, tmp_path), dtype=float)
            drawn = np.asarray(Image.fromarray(item.image).convert("RGB"), dtype=float)
            assert np.abs(shown - drawn).mean() < 4
            checked += 1
    assert checked == 46


def test_rocov2_keeps_captions_images_and_articles(tmp_path):
    items = {item.text.strip(): item for item in records()}
    planted = rocov2.write(tmp_path, list(items.values()), 5)
    found, (missing,) = load("rocov2", tmp_path)
    assert missing.reason == "missing image"
    assert planted.notes == {"a single concept": 2, "caption with a comma and a new line": 2}
    assert sum(record.text.startswith("Invented figure, ") for record in found) == 2
    assert {record.licence for record in found} <= set(roco.LICENCES)
    for record in found:
        item = items[record.text.removeprefix("Invented figure, ")]
        assert record.group == f"PMC9{item.group:06d}"
        if opens(record, tmp_path):
            shown = np.asarray(open_image(record.image, tmp_path), dtype=float)
            drawn = np.asarray(Image.fromarray(item.image).convert("RGB"), dtype=float)
            assert np.abs(shown - drawn).mean() < 4


def test_medmnist_comes_back_unchanged(tmp_path):
    benchmark = CONFIG.benchmark
    items = [LabelItem(draw(2 * i + 1), (i % 5,), i, SPLITS[i % 3]) for i in range(15)]
    planted = medmnist.write(tmp_path / benchmark.path, items, 0)
    samples, skipped = load_benchmark(CONFIG, tmp_path)
    assert (len(samples), skipped) == (planted.records, [])
    in_order = [item for split in SPLITS for item in items if item.split == split]
    for sample, item in zip(samples, in_order, strict=True):
        assert sample.answer == benchmark.answers[item.labels[0]]
        np.testing.assert_array_equal(np.asarray(open_image(sample.image, tmp_path)), item.image)


def test_vindr_comes_back_but_for_two_images(tmp_path):
    config = load_config(profile="tiny", benchmark="vindr_pcxr")
    assert config.benchmark.label_names == vindr_pcxr.LABELS
    items = labelled()
    planted = vindr_pcxr.write(tmp_path / config.benchmark.path, items, 5)
    samples, skipped = load_benchmark(config, tmp_path)
    assert len(samples) == planted.records
    assert len(skipped) == sum(planted.broken.values()) == 2
    drawn = {}
    for item in items:
        gray = np.array(Image.fromarray(item.image).convert("L"))
        gray[0, 0], gray[0, -1] = 0, 255
        drawn[gray.tobytes()] = ", ".join(map(str, item.labels))
    for sample in samples:
        shown = np.asarray(open_image(sample.image, tmp_path))
        assert drawn[shown[..., 0].tobytes()] == sample.answer


def test_vqa_rad_comes_back_but_for_two_questions(tmp_path):
    config = load_config(profile="tiny", benchmark="vqa_rad")
    items = questions()
    planted = vqa_rad.write(tmp_path / config.benchmark.path, items, 5)
    samples, skipped = load_benchmark(config, tmp_path)
    assert len(samples) == planted.records
    assert len(skipped) == sum(planted.broken.values()) == 2
    answers = {item.question: item for item in items}
    for sample in samples:
        item = answers[sample.question]
        assert (sample.answer, sample.answer_type) == (item.answer, "open")
        assert (sample.split == "test") == (item.split == "test")


def test_brset_comes_back_but_for_three_images(tmp_path):
    config = load_config(profile="tiny", benchmark="brset")
    names = [name.replace(" ", "_") for name in config.benchmark.label_names]
    assert names == [*brset.DISEASES, "no_finding"]
    items = [replace(item, group=i // 2) for i, item in enumerate(labelled())]
    items[3] = replace(items[3], labels=(brset.NO_FINDING,))
    planted = brset.write(tmp_path / config.benchmark.path, items, 5)
    samples, skipped = load_benchmark(config, tmp_path)
    assert len(samples) == planted.records
    assert len(skipped) == sum(planted.broken.values()) == 3
    for sample in samples:
        place = int(sample.sample_id.removeprefix("brset:img")) - 90_001
        assert sample.answer == ", ".join(map(str, items[place].labels))
        assert int(sample.group) == 9_001 + items[place].group
        shown = np.asarray(open_image(sample.image, tmp_path), dtype=float)
        drawn = np.asarray(Image.fromarray(items[place].image).convert("RGB"), dtype=float)
        assert np.abs(shown - drawn).mean() < 4
    assert len({(sample.group, sample.split) for sample in samples}) == len(
        {sample.group for sample in samples}
    )


def test_slake_comes_back_but_for_three_questions(tmp_path):
    config = load_config(profile="tiny", benchmark="slake")
    items = [replace(item, split=SPLITS[item.group % 3]) for item in questions()]
    planted = slake.write(tmp_path / config.benchmark.path, items, 5)
    samples, skipped = load_benchmark(config, tmp_path)
    assert len(samples) == planted.records
    chinese = [item for item in skipped if item.reason == "other language"]
    assert len(chinese) == planted.notes["question in Chinese"]
    assert len(skipped) - len(chinese) == sum(planted.broken.values()) == 3
    asked = {item.question: item for item in items}
    for sample in samples:
        item = asked[sample.question]
        assert (sample.answer, sample.answer_type) == (item.answer, "open")
        assert (sample.split, sample.question_type) == (item.split, "Quantity")
    assert len({sample.group for sample in samples}) == len({item.group for item in items})


def test_path_vqa_comes_back_but_for_two_questions(tmp_path):
    config = load_config(profile="tiny", benchmark="path_vqa")
    items = [
        replace(item, split=SPLITS[item.group % 3], answer="Yes" if i % 2 else item.answer)
        for i, item in enumerate(questions())
    ]
    planted = path_vqa.write(tmp_path / config.benchmark.path, items, 5)
    samples, skipped = load_benchmark(config, tmp_path)
    assert len(samples) == planted.records
    assert len(skipped) == sum(planted.broken.values()) == 2
    asked = {item.question.lower(): item for item in items}
    for sample in samples:
        if sample.answer != "none":
            item = asked[sample.question]
            assert (sample.answer, sample.split) == (item.answer.lower(), item.split)
            assert sample.answer_type == ("closed" if item.answer == "Yes" else "open")
            shown = np.asarray(open_image(sample.image, tmp_path), dtype=float)
            drawn = np.asarray(Image.fromarray(item.image).convert("RGB"), dtype=float)
            assert np.abs(shown - drawn).mean() < 4
    assert {sample.answer_type for sample in samples if sample.answer == "none"} == {"open"}


def test_vqa_rad_in_parquet_has_the_types_of_its_json(tmp_path):
    config = load_config(profile="tiny", benchmark="vqa_rad")
    home = tmp_path / config.benchmark.path
    items = [
        replace(item, answer_type="CLOSED" if i % 2 else "OPEN")
        for i, item in enumerate(questions())
    ]
    planted = vqa_rad.write_parquet(home, items, 5)
    with pytest.warns(UserWarning, match="47 of 47 count as closed"):
        load_benchmark(config, tmp_path)
    vqa_rad.write(tmp_path / "original", items, 5)
    (tmp_path / "original" / vqa_rad.QUESTIONS_FILE).rename(home / vqa_rad.QUESTIONS_FILE)
    with pytest.warns(UserWarning, match="1 of 47 count as closed"):  # the invented "none"
        samples, skipped = load_benchmark(config, tmp_path)
    assert len(samples) == planted.records
    assert len(skipped) == sum(planted.broken.values()) == 2
    asked = {item.question.lower(): item for item in items}
    for sample in samples:
        if sample.answer != "none":
            item = asked[sample.question]
            assert sample.answer_type == item.answer_type.lower()
            assert (sample.split == "test") == (item.split == "test")
