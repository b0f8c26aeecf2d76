"""Stages 01 and 02: counts, read-back, half-written artefacts, broken files."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from tiny_run import Run

from jomed.artifacts import MissingArtifact, artifact, data_root
from jomed.config import RunConfig, load_config, with_overrides
from jomed.data import hashes
from jomed.data.merge import CorpusCounts
from jomed.data.sources import DataError
from jomed.phantom.world import planted_counts, provide_data
from jomed.stages.data import prepare_corpora, prepare_samples, read_corpora, read_samples


def moved(config: RunConfig, tmp_path: Path) -> RunConfig:
    """The same configuration with a copy of the world as its only artefact."""
    other = config.model_copy(update={"runs_dir": tmp_path})
    shutil.copytree(data_root(config), artifact(other, "world").path)
    return other


def test_corpora_have_the_planted_counts(run: Run) -> None:
    planted, counts = planted_counts(data_root(run.config)), run.corpora.counts
    assert counts["source"].tolist() == ["roco", "pmc_oa", "mimic_cxr"]
    for row in counts.itertuples(index=False):
        assert row.records + row.exact + row.near == planted[row.source].records
    assert counts["records"].sum() == len(run.corpora.records)
    lost = counts[["skipped", "repeated", "unreadable"]].to_numpy().sum()
    assert lost == len(run.corpora.skipped)
    dropped = run.corpora.duplicates["dropped"].sum()
    assert counts[["exact", "near"]].to_numpy().sum() == dropped > 0
    assert (run.corpora.skipped["reason"] != "").all()


@pytest.mark.parametrize("made", ["run", "asked"])
def test_samples_have_the_planted_counts(made: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(made)
    planted = planted_counts(data_root(run.config))[run.config.benchmark.name]
    assert len(run.samples.samples) == planted.records
    assert len(run.samples.skipped) == sum(planted.broken.values())
    assert set(run.samples.samples["split"]) == {"train", "val", "test"}


def test_a_finished_stage_is_read_and_not_made_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("merge_corpora", "load_benchmark"):
        monkeypatch.setattr(f"jomed.stages.data.{name}", None)
    corpora, samples = prepare_corpora(run.config), prepare_samples(run.config)
    for name in ("records", "skipped", "duplicates", "counts"):
        pd.testing.assert_frame_equal(getattr(corpora, name), getattr(run.corpora, name))
    for name in ("samples", "skipped"):
        pd.testing.assert_frame_equal(getattr(samples, name), getattr(run.samples, name))


def test_made_twice_is_the_same(run: Run, tmp_path: Path) -> None:
    config = moved(run.config, tmp_path)
    pd.testing.assert_frame_equal(prepare_corpora(config).records, run.corpora.records)


def test_an_interrupted_corpus_goes_on_to_the_same_files(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = moved(run.config, tmp_path)
    with monkeypatch.context() as during:
        during.setattr(CorpusCounts, "table", None)  # after all images were opened
        with pytest.raises(TypeError):
            prepare_corpora(config)
    with pytest.raises(MissingArtifact, match="corpus"):
        read_corpora(config)
    opened: list[str] = []
    reader = hashes.open_image
    monkeypatch.setattr(hashes, "open_image", lambda a, root: opened.append(a) or reader(a, root))
    pd.testing.assert_frame_equal(prepare_corpora(config).records, run.corpora.records)
    assert len(opened) == run.corpora.counts["unreadable"].sum()
    files = [artifact(one, "corpus").manifest()["files"] for one in (config, run.config)]
    assert files[0] == files[1]
    pd.testing.assert_frame_equal(prepare_samples(config).samples, run.samples.samples)
    for stage in ("corpus", "samples"):
        contents = [artifact(c, stage).manifest()["content"] for c in (config, run.config)]
        assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("read", "notebook"),
    [
        (read_corpora, "01_prepare_corpora"),
        (prepare_corpora, "01_prepare_corpora"),  # there is no world to read
        (read_samples, "02_prepare_benchmarks"),
    ],
)
def test_what_is_missing_is_named_with_its_notebook(read, notebook, tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=rf"does not exist\. Run notebooks/{notebook}\.ipynb"):
        read(load_config("tiny", runs_dir=tmp_path))


def test_half_written_records_are_not_read_but_made_again(run: Run, tmp_path: Path) -> None:
    config = moved(run.config, tmp_path)
    prepare_corpora(config)
    made = artifact(config, "corpus")
    (made.path / "COMPLETE").unlink()
    (made.path / "records.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingArtifact, match="half-written and will not be read"):
        read_corpora(config)
    pd.testing.assert_frame_equal(prepare_corpora(config).records, run.corpora.records)


def test_a_corrupt_record_image_is_one_more_skip(run: Run, tmp_path: Path) -> None:
    config = moved(run.config, tmp_path)
    victim = run.corpora.records[run.corpora.records["source"] == "roco"].iloc[-1]
    image = data_root(config) / victim["image"]
    image.write_bytes(image.read_bytes()[:200])
    corpora = prepare_corpora(config)
    assert len(corpora.skipped) == len(run.corpora.skipped) + 1
    assert victim["record_id"] not in set(corpora.records["record_id"])
    (row,) = corpora.skipped[corpora.skipped["item"] == victim["record_id"]].itertuples()
    assert (row.source, row.reason) == ("roco", "unreadable image")


def test_a_truncated_file_is_a_clear_error_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    config = moved(run.config, tmp_path)
    file = data_root(config) / config.benchmark.path
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=r"retinamnist\.npz cannot be read .* truncated download"):
        prepare_samples(config)
    assert not artifact(config, "samples").path.exists()


@pytest.fixture
def without_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.setenv("JOMED_DATA", str(tmp_path))
    return load_config("retina_small", runs_dir=tmp_path / "runs")


@pytest.mark.parametrize("prepare", [prepare_corpora, prepare_samples])
def test_without_the_file_the_error_says_which_from_where_and_its_sum(
    prepare, without_file: RunConfig
) -> None:
    provide_data(without_file)
    with pytest.raises(DataError) as caught:
        prepare(without_file)
    for part in (
        "medmnist/retinamnist.npz is missing",
        "https://zenodo.org/records/10519652",
        "bd4c0672f1bba3e3a89f0e4e876791e4",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("prepare", [prepare_corpora, prepare_samples])
def test_another_file_of_that_name_is_refused(
    prepare, run: Run, without_file: RunConfig, tmp_path: Path
) -> None:
    target = tmp_path / without_file.benchmark.path
    target.parent.mkdir()
    shutil.copy(data_root(run.config) / run.config.benchmark.path, target)
    with pytest.raises(DataError, match="not that of the official file"):
        prepare(without_file)
    prepare(with_overrides(without_file, {"benchmark.md5": None}))
