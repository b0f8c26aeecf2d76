"""The loaders read every variant: what was drawn minus what is broken, and every loss is listed."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jomed.config import load_config, read_corpus
from jomed.data.benchmarks import load_benchmark
from jomed.data.corpora import load_corpus
from jomed.data.hashes import UNREADABLE
from jomed.data.images import ImageError, open_image
from jomed.data.sources import divide
from jomed.phantom.formats import mimic_cxr, pmc_oa, vqa_rad
from jomed.phantom.items import Planted
from jomed.phantom.variants import LARGE, write_variants
from jomed.records import Record, Sample, Skipped

CONFIG = load_config(profile="tiny")
LATERAL, CHINESE = "lateral image beside a frontal one", "question in Chinese"
CORPORA = ("roco/splits", "rocov2/splits", "mimic_cxr/splits", "mimic_cxr/plain", "pmc_oa/packed")
BENCHMARKS = ("slake/gray", "vqa_rad/numbers", "vqa_rad/parquet", "retina/large", "breast/large")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("variants")


@pytest.fixture(scope="module")
def planted(root: Path) -> dict[str, Planted]:
    assert CONFIG.data.world is not None
    return write_variants(CONFIG.data.world, root)


def records_of(variant: str, root: Path, **changes: object) -> tuple[list[Record], list[Skipped]]:
    settings = CONFIG.data.model_copy(update=changes)
    corpus = read_corpus(variant.partition("/")[0])
    found, skipped = divide(load_corpus(corpus, root / variant, settings, CONFIG.benchmark))
    return opened(found, root / variant, skipped), skipped


def samples_of(variant: str, root: Path) -> tuple[list[Sample], list[Skipped]]:
    config = load_config(profile="tiny", benchmark=variant.partition("/")[0])
    if variant.endswith("/large"):
        benchmark = config.benchmark.model_copy(update={"size": LARGE})
        config = config.model_copy(update={"benchmark": benchmark})
    return load_benchmark(config, root / variant)


def opened(found: list[Record], root: Path, skipped: list[Skipped]) -> list[Record]:
    """The records whose image opens; the others are added to `skipped`."""
    usable = []
    for record in found:
        try:
            open_image(record.image, root)
            usable.append(record)
        except ImageError as error:
            skipped.append(Skipped(record.source, record.record_id, UNREADABLE, str(error)))
    return usable


def test_every_variant_is_read_here(planted: Mapping[str, Planted]) -> None:
    assert planted.keys() == {*CORPORA, *BENCHMARKS}


@pytest.mark.parametrize("variant", CORPORA)
def test_corpora_come_back_but_for_what_is_broken(
    variant: str, root: Path, planted: Mapping[str, Planted]
) -> None:
    assert CONFIG.data.world is not None
    assert planted[variant].drawn == CONFIG.data.world.records
    records, skipped = records_of(variant, root)
    assert len(records) == planted[variant].records
    others = planted[variant].notes.get(LATERAL, 0)
    assert len(skipped) == sum(planted[variant].broken.values()) + others
    assert all(item.reason and item.item for item in skipped)


@pytest.mark.parametrize("variant", BENCHMARKS)
@pytest.mark.filterwarnings("ignore:.*count as closed")
def test_benchmarks_come_back_but_for_what_is_broken(
    variant: str, root: Path, planted: Mapping[str, Planted]
) -> None:
    samples, skipped = samples_of(variant, root)
    assert len(samples) == planted[variant].records
    others = planted[variant].notes.get(CHINESE, 0)
    assert len(skipped) == sum(planted[variant].broken.values()) + others
    assert all(item.reason and item.item for item in skipped)
    assert {sample.split for sample in samples} == {"train", "val", "test"}


def test_figures_and_studies_of_all_splits_are_read(
    root: Path, planted: Mapping[str, Planted]
) -> None:
    for variant, names in (
        ("roco/splits", ("/train/", "/validation/", "/test/")),
        ("rocov2/splits", ("/train/", "/valid_images/", "/test_images/")),
    ):
        images = [record.image for record in records_of(variant, root)[0]]
        assert all(any(name in image for image in images) for name in names)
    lost = planted["mimic_cxr/splits"].broken["image outside the training split"]
    own, _ = records_of("mimic_cxr/splits", root)
    every, _ = records_of("mimic_cxr/splits", root, mimic_splits=("train", "validate", "test"))
    assert len(every) == len(own) + lost
    assert lost > 0


def test_plain_tables_say_what_the_gzipped_ones_say(root: Path) -> None:
    tables = list((root / "mimic_cxr/plain").rglob("*.csv*"))
    assert len(tables) == 7
    assert all(path.suffix == ".csv" for path in tables)
    assert (root / "mimic_cxr/splits" / mimic_cxr.IMAGE_FOLDER).is_dir()
    assert records_of("mimic_cxr/plain", root) == records_of("mimic_cxr/splits", root)


def test_figures_are_read_in_the_archive_that_was_downloaded(root: Path) -> None:
    home = root / "pmc_oa/packed" / pmc_oa.FOLDER
    assert sorted(path.name for path in home.iterdir()) == [
        "images.zip?download=true",
        "pmc_oa.jsonl?download=true",
    ]
    records, _ = records_of("pmc_oa/packed", root)
    assert all("images.zip?download=true::" in record.image for record in records)


def pixels(sample: Sample, root: Path) -> np.ndarray:
    return np.asarray(open_image(sample.image, root))


def test_large_images_are_read_in_colour_and_grey(root: Path) -> None:
    for variant, coloured in (("retina/large", True), ("breast/large", False)):
        samples, _ = samples_of(variant, root)
        shown = pixels(samples[0], root / variant)
        assert shown.shape == (LARGE, LARGE, 3)
        assert bool((shown[..., 0] != shown[..., 2]).any()) == coloured
        (file,) = (root / variant).rglob("*_224.npz")
        with np.load(file, allow_pickle=False) as members:
            assert members["train_images"].ndim == (4 if coloured else 3)
            assert {members[f"{split}_labels"].shape[1] for split in ("train", "val")} == {1}


def test_grey_images_lie_beside_coloured_ones(root: Path) -> None:
    samples, _ = samples_of("slake/gray", root)
    modes = Counter()
    for image in {sample.image for sample in samples}:
        with Image.open(root / "slake/gray" / image) as picture:
            modes[picture.mode] += 1
        assert open_image(image, root / "slake/gray").mode == "RGB"
    assert modes.keys() == {"L", "RGB"}
    assert min(modes.values()) > 10


def test_numbers_are_answers(root: Path, planted: Mapping[str, Planted]) -> None:
    variant, config = "vqa_rad/numbers", load_config(benchmark="vqa_rad")
    file = root / variant / config.benchmark.path / vqa_rad.QUESTIONS_FILE
    rows = json.loads(file.read_text(encoding="utf-8"))
    numbers = [row for row in rows if isinstance(row["answer"], int)]
    assert len(numbers) == planted[variant].notes["answer as a number"] == 5
    assert "CLOSED " in {row["answer_type"] for row in rows}
    assert {row["question_rephrase"] for row in rows} == {"NULL"}
    samples = {sample.sample_id: sample for sample in samples_of(variant, root)[0]}
    for row in numbers:
        sample = samples[f"vqa_rad:{row['qid']}"]
        assert (sample.answer, sample.answer_type) == (str(row["answer"]), "open")
        assert sample.question_type == "COUNT"
    closed = {s.answer for s in samples.values() if s.answer_type == "closed"}
    assert closed - {"Yes", "No"}
