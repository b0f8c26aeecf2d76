"""The whole world on disk: the same for the same settings, and every planted trap is counted."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jomed.artifacts import artifact
from jomed.config import RunConfig, load_config
from jomed.data.benchmarks import load_benchmark
from jomed.data.leakage import find_leakage
from jomed.data.merge import CorpusCounts, merge_corpora
from jomed.phantom.general import read_general
from jomed.phantom.items import Planted
from jomed.phantom.lexicon import ANATOMIES, CHEST, FUNDUS, FUNDUS_BRSET
from jomed.phantom.world import (
    MIXED,
    QUESTIONS_PER_IMAGE,
    REPEATED,
    Artist,
    draw_world,
    planted_counts,
    provide_data,
)
from jomed.records import Duplicate, Record, Skipped
from jomed.settings import WorldConfig

QUESTIONS = ("vqa_rad", "slake", "path_vqa")
BENCHMARKS = ("breast", "derma", "retina", "vindr_pcxr", "brset", *QUESTIONS)
CORPORA = ("roco", "pmc_oa", "mimic_cxr")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return load_config("tiny", runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def root(config: RunConfig) -> Path:
    return provide_data(config)


def world_of(config: RunConfig) -> WorldConfig:
    assert config.data.world is not None
    return config.data.world


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_the_same_settings_give_the_same_files(config: RunConfig, tmp_path: Path) -> None:
    world = world_of(config)
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    planted = draw_world(world, one)
    assert draw_world(world, two) == planted
    assert digest(one) == digest(two)
    draw_world(world.model_copy(update={"seed": world.seed + 1}), other)
    changed = {name for name, sha in digest(other).items() if digest(one).get(name) != sha}
    assert {"general/images.npz", "medmnist/retinamnist.npz"} <= changed


def items_of(name: str, images: int) -> int:
    """How many samples so many images of a benchmark make."""
    return images * (QUESTIONS_PER_IMAGE if name in QUESTIONS else 1)


def test_every_data_set_is_drawn_in_full(config: RunConfig, root: Path) -> None:
    world, planted = world_of(config), planted_counts(root)
    assert planted.keys() == {*BENCHMARKS, *CORPORA, "rocov2"}
    for name in BENCHMARKS:
        assert planted[name].drawn == items_of(name, world.train + world.val + world.test)
    assert {planted[name].drawn for name in CORPORA} == {world.records}
    assert all(isinstance(counts, Planted) for counts in planted.values())
    pairs = read_general(root)
    assert len(pairs) == world.general
    assert {(len(pair.tasks), len(pair.sights)) for pair in pairs} == {(3, 2)}


def test_corpora_come_back_as_planted_and_every_loss_is_listed(
    config: RunConfig, root: Path
) -> None:
    skipped, counts, planted = [], CorpusCounts(), planted_counts(root)
    for item in merge_corpora(config, root):
        counts.add(item)
        if isinstance(item, Skipped):
            skipped.append(item)
    table = counts.table(config.data.corpora).set_index("source")
    assert set(table.index) == set(CORPORA)
    for name in CORPORA:
        row = table.loc[name]
        assert row["records"] + row["exact"] + row["near"] == planted[name].records
        lateral = planted[name].notes.get("lateral image beside a frontal one", 0)
        listed = sum(item.source == name for item in skipped)
        assert listed == row["skipped"] + row["repeated"] + row["unreadable"]
        assert listed == sum(planted[name].broken.values()) + lateral
    assert all(item.reason and item.item for item in skipped)


def test_records_that_two_corpora_share_are_found(config: RunConfig, root: Path) -> None:
    merged = merge_corpora(config, root)
    duplicates = [item for item in merged if isinstance(item, Duplicate) and item.kind == "exact"]
    assert {copy.source for copy in duplicates} == {"pmc_oa"}
    assert all(copy.duplicate_of.startswith("roco:") for copy in duplicates)
    # A repeat that one of the writers broke cannot be found.
    assert 1 <= len(duplicates) <= REPEATED


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_come_back_as_planted_and_every_loss_is_listed(
    name: str, config: RunConfig, root: Path
) -> None:
    named = load_config("tiny", name, runs_dir=config.runs_dir)
    samples, skipped = load_benchmark(named, root)
    planted = planted_counts(root)[name]
    assert len(samples) == planted.records
    chinese = planted.notes.get("question in Chinese", 0)
    assert len(skipped) - chinese == sum(planted.broken.values())
    assert all(item.reason and item.item for item in skipped)
    splits = Counter(sample.split for sample in samples)
    assert set(splits) == {"train", "val", "test"}
    if name != "brset":  # published without splits
        expected = items_of(name, world_of(config).test)
        assert expected - len(skipped) <= splits["test"] <= expected


def test_published_validation_splits_have_their_size(config: RunConfig, root: Path) -> None:
    for name in ("slake", "path_vqa"):
        named = load_config("tiny", name, runs_dir=config.runs_dir)
        samples, skipped = load_benchmark(named, root)
        drawn = items_of(name, world_of(config).val)
        assert drawn - len(skipped) <= sum(s.split == "val" for s in samples) <= drawn


def test_eyes_of_one_patient_stay_together(config: RunConfig, root: Path) -> None:
    named = load_config("tiny", "brset", runs_dir=config.runs_dir)
    samples, _ = load_benchmark(named, root)
    patients = Counter(sample.group for sample in samples)
    assert set(patients.values()) == {1, 2}
    assert len({(sample.group, sample.split) for sample in samples}) == len(patients)
    assert {label for sample in samples for label in sample.answer.split(", ")} <= {
        str(finding.label) for finding in FUNDUS_BRSET.findings
    }


def test_planted_leaks_are_found(config: RunConfig, root: Path) -> None:
    samples = pd.DataFrame(load_benchmark(config, root)[0])
    merged = merge_corpora(config, root)
    records = pd.DataFrame([item for item in merged if isinstance(item, Record)])
    leaks = find_leakage(samples, records)
    shown = leaks[(leaks["kind"] == "image") & (leaks["split"] == "test")]
    assert len(shown[shown["other"] == "train"]) == REPEATED


def test_streams_of_different_names_are_independent(config: RunConfig) -> None:
    world = world_of(config)
    images = {name: Artist(world, name).case(FUNDUS).image for name in ("a", "b")}
    assert (images["a"] != images["b"]).any()
    np.testing.assert_array_equal(images["a"], Artist(world, "a").case(FUNDUS).image)


def test_shares_of_the_drawn_cases(config: RunConfig) -> None:
    artist = Artist(world_of(config).model_copy(update={"image_size": 4}), "shares")
    cases = [artist.case(FUNDUS) for _ in range(1000)]
    drawn = Counter(case.findings[0].label for case in cases)
    for finding in FUNDUS.findings:  # weights sum to 1; three standard deviations are 0.042
        assert drawn[finding.label] / 1000 == pytest.approx(finding.weight, abs=0.042)
    assert all(len(case.findings) == 1 for case in cases)
    anatomies = Counter(artist.anatomy(MIXED).name for _ in range(1000))
    for anatomy, share in MIXED:
        assert anatomies[anatomy.name] / 1000 == pytest.approx(share, abs=0.05)
    assert set(anatomies) == {anatomy.name for anatomy in ANATOMIES}


def test_several_labels_on_a_retina_only_where_the_set_has_them(config: RunConfig) -> None:
    artist = Artist(world_of(config).model_copy(update={"image_size": 4}), "retinas")
    found = [artist.case(FUNDUS_BRSET).findings for _ in range(400)]
    double = [findings for findings in found if len(findings) == 2]
    assert double
    assert all(FUNDUS_BRSET.healthy not in findings for findings in double)
    names = [[finding.names for finding in fundus.findings] for fundus in (FUNDUS, FUNDUS_BRSET)]
    assert names[0] == names[1]


def test_only_sick_chests_have_two_findings_in_label_order(config: RunConfig) -> None:
    artist = Artist(world_of(config).model_copy(update={"image_size": 4}), "chests")
    found = [artist.case(CHEST).findings for _ in range(400)]
    double = [findings for findings in found if len(findings) == 2]
    # 0.15 x sum over sick findings of w (0.78 - w) = 0.072, and three standard deviations of 0.013
    assert 0.033 < len(double) / 400 < 0.111
    for first, second in double:
        assert CHEST.healthy not in (first, second)
        assert first.label < second.label


def test_a_finished_world_is_not_drawn_again(
    config: RunConfig, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jomed.phantom.world.draw_world", None)
    assert provide_data(config) == root == artifact(config, "world").path


def test_real_data_are_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOMED_DATA", str(tmp_path))
    assert provide_data(load_config("retina_small", runs_dir=tmp_path / "runs")) == tmp_path
    assert list(tmp_path.iterdir()) == []
