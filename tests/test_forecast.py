"""Forecasts: sizes counted or stated, nothing unknown counted as zero, and the printed table."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from fake_project import make_project

from jomed.artifacts import artifact
from jomed.config import ConfigError, RunConfig, load_config
from jomed.estimate import Assumptions
from jomed.forecast import (
    Forecast,
    Shared,
    forecasts,
    gpu_named,
    read_gpus,
    shared_work,
)
from jomed.forecast_table import CSV_COLUMNS, forecast_lines, short, size_text, write_csv
from jomed.sizes import Records, record_count, sample_counts
from jomed.workload import SampleCounts

ASSUMPTIONS = Assumptions(
    utilisation=0.5,
    drift=0.0,
    characters_per_token=4.0,
    markup_tokens=60,
    tokens_per_answer=4,
    nodes_per_answer=4.0,
    answers_per_set={"multi_label": 200, "vqa": 10},
    bytes_per_record=600,
    bytes_per_score_key=50,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOMED_ROOT", str(tmp_path))
    monkeypatch.delenv("JOMED_RUNS", raising=False)
    monkeypatch.delenv("JOMED_DATA", raising=False)
    return make_project(tmp_path)


def paper(benchmark: str, backbone: str = "qwen2_vl_7b", **arguments: Any) -> RunConfig:
    return load_config("paper", benchmark, backbone, "biomedclip", **arguments)


def write_samples(config: RunConfig, rows: Sequence[tuple[str, str, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["split", "answer", "answer_type"])
    with artifact(config, "samples").writing() as folder:
        frame.to_parquet(folder / "samples.parquet")


def test_counts_of_the_publisher() -> None:
    # 7,728 training images, a fifth of them for validation; 200 answers are an assumption
    found = sample_counts(paper("vindr_pcxr"), ASSUMPTIONS)
    assert found == SampleCounts(6182, 1546, 1397, 0, 200.0, counted=False)
    found = sample_counts(paper("breast"), ASSUMPTIONS)
    assert found == SampleCounts(546, 78, 156, 0, 2.0, counted=False)
    # Which questions are open is not published: as if all were.
    found = sample_counts(paper("slake"), ASSUMPTIONS)
    assert found == SampleCounts(4919, 1053, 1061, 1061, 10.0, counted=False)
    assert sample_counts(paper("brset"), ASSUMPTIONS) is None


def test_counts_of_a_drawn_world(project: Path) -> None:
    found = sample_counts(load_config("phantom"), ASSUMPTIONS)
    assert found == SampleCounts(500, 150, 400, 0, 5.0, counted=False)
    # 24 + 10 drawn without a validation split, of which a fifth becomes one; 12 for the test
    found = sample_counts(load_config("tiny", "vindr_pcxr"), ASSUMPTIONS)
    assert found == SampleCounts(27, 7, 12, 0, 200.0, counted=False)
    # two questions per image
    found = sample_counts(load_config("tiny", "vqa_rad"), ASSUMPTIONS)
    assert found == SampleCounts(54, 14, 24, 24, 10.0, counted=False)


def test_finished_samples_are_counted(project: Path) -> None:
    config = load_config("tiny", "vindr_pcxr")
    train = [("train", answer, "labels") for answer in ("1", "1", "2, 3")]
    write_samples(config, [*train, ("val", "4", "labels"), ("test", "5", "labels")])
    found = sample_counts(config, ASSUMPTIONS)
    assert found == SampleCounts(3, 1, 1, 0, 2, counted=True)
    config = load_config("tiny", "vqa_rad")
    write_samples(config, [("train", "yes", "closed"), ("test", "no", "closed"), *OPEN])
    found = sample_counts(config, ASSUMPTIONS)
    assert found == SampleCounts(1, 0, 3, 2, 10, counted=True)


OPEN = [("test", "left", "open"), ("test", "right", "open")]


def test_records_are_counted_or_stated_or_unknown(project: Path) -> None:
    # ROCO 81,807 and MIMIC-CXR 377,110; PMC-OA states no number
    assert record_count(paper("breast"), None) == Records(458_917, ("pmc_oa",))
    few = paper("breast", overrides={"data.corpora": ["roco", "rocov2"]})
    assert record_count(few, None) == Records(81_807 + 79_789, ())
    assert record_count(load_config("tiny"), None) == Records(3 * 24, ())
    split = load_config("retina_small")
    assert record_count(split, None) == Records(0, ("training_split",))
    assert record_count(split, sample_counts(split, ASSUMPTIONS)) == Records(1080, ())
    with artifact(paper("breast"), "corpus").writing() as folder:
        pd.DataFrame({"record_id": ["a", "b"]}).to_parquet(folder / "records.parquet")
    assert record_count(paper("breast"), None) == Records(2, ())


def test_one_row_for_all_seeds_and_no_number_for_what_is_unknown() -> None:
    runs = [paper(name, seed=seed) for name in ("breast", "brset") for seed in (0, 1)]
    breast, brset = forecasts(runs, ASSUMPTIONS, None, None)
    assert (breast.name, breast.runs) == ("breast.qwen2_vl_7b", 2)
    assert breast.hours is None
    assert breast.memory is not None
    assert (brset.runs, brset.counts, brset.load, brset.memory, brset.disk) == (2, *[None] * 4)


def test_hours_follow_peak_utilisation_or_rate() -> None:
    gpus = read_gpus()[1]
    run = [paper("breast")]

    def hours(gpu: str | None, rate: float | None) -> tuple[float, float, float]:
        found = forecasts(run, ASSUMPTIONS, gpus[gpu] if gpu else None, rate)[0].hours
        assert found is not None
        return found

    slow, fast = hours("a100_80", None), hours("h100", None)
    assert [a / b for a, b in zip(slow, fast, strict=True)] == pytest.approx([989 / 312] * 3)
    # Without drift two heads ask for 2 x (546 + 78) x 50 pairs; 156 x 21 in the evaluation.
    assert hours(None, 10.0)[1:] == pytest.approx((62_400 / 36_000, 3276 / 36_000))
    assert hours("h100", 10.0) == hours(None, 10.0)
    # An example costs three to four scoring passes: 3 per product, 4 per attention, as activations
    # are computed again.
    examples, checks = 2160 * 3 * 8, 20 * 78 * 4
    assert 3 < (hours(None, 10.0)[0] * 36_000 - checks) / examples < 4


def test_no_peak_says_how_fast_a_tiny_reader_is() -> None:
    gpu = read_gpus()[1]["h100"]
    assert forecasts([load_config("tiny")], ASSUMPTIONS, gpu, None)[0].hours is None
    found = forecasts([load_config("tiny")], ASSUMPTIONS, gpu, 5.0)[0]
    assert found.hours is not None
    assert found.memory is None


def test_disk_of_a_run_and_of_what_runs_share() -> None:
    found = forecasts([paper("breast")], ASSUMPTIONS, None, None)[0]
    # 62,400 + 3,276 pairs of 50 + 2 x 4 bytes; two heads and the adapter in float32
    adapter = 8 * (28 * (4 * 3584 + 2 * (3584 + 512) + 3 * (3584 + 18944)))
    adapter += 8 * (32 * (8 * 1280 + 3 * (1280 + 5120)))
    assert found.disk == 65_676 * 58 + 4 * (2 * 86_191_872 + adapter)
    runs = [paper(name, seed=seed) for name in ("breast", "slake") for seed in (0, 1)]
    index, files = shared_work(runs, ASSUMPTIONS)
    assert index.disk == 458_917 * (600 + 2 * 512 * 2)
    assert index.unknown == ("records of pmc_oa",)
    assert (files.name, files.disk) == ("files of Qwen2-VL 7B", 16_582_751_232)


def test_a_reader_without_a_shape_is_unknown_but_counted() -> None:
    config = paper("breast", overrides={"backbone.shape": None})
    found = forecasts([config], ASSUMPTIONS, read_gpus()[1]["h100"], None)[0]
    assert found.load is not None
    assert (found.hours, found.memory, found.disk) == (None, None, None)
    assert shared_work([config], ASSUMPTIONS)[1] == Shared("files of Qwen2-VL 7B", None)


def test_facts_of_models_change_no_hash() -> None:
    changed = {"backbone.shape.layers": 29, "encoder.shape.dim": 3}
    assert paper("breast", overrides=changed).hash == paper("breast").hash


def test_a_tiny_model_states_no_shape() -> None:
    stated = yaml.safe_dump(paper("breast").encoder.shape.model_dump())  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="set shape to null"):
        load_config("tiny", overrides={"encoder.shape": yaml.safe_load(stated)})


def lines_of(rows: Sequence[Forecast], gpu: str | None, shared: Sequence[Shared] = ()) -> list[str]:
    chosen = None if gpu is None else read_gpus()[1][gpu]
    return forecast_lines(rows, shared, ASSUMPTIONS, chosen, None)


def test_the_table_sums_what_is_known_and_names_the_rest() -> None:
    rows = forecasts(
        [paper(name, seed=seed) for name in ("breast", "brset") for seed in (0, 1)],
        ASSUMPTIONS,
        None,
        None,
    )
    rows[0] = replace(rows[0], hours=(1.5, 2.0, 0.25), disk=10**9)
    lines = lines_of(rows, None, [Shared("index", 2 * 10**9, ("records of pmc_oa",))])
    assert lines[1].split()[:3] == ["benchmark.reader", "runs", "train/val/test"]
    assert len({len(line) for line in lines[1:4]}) == 1
    cells = lines[2].split("  ")
    assert [cells[0].strip(), *lines[2].split()[1:3]] == ["breast.qwen2_vl_7b", "2", "546/78/156"]
    assert "62.4k (31.2k-16.4M)" in lines[2]
    assert "1.5+2.0+0.25" in lines[2]
    assert "not known" in lines[3]
    assert lines[3].split()[-1] == "?"
    # 2 runs x (51,840 + 6,240 + 62,400 + 3,276)
    text = "\n".join(lines)
    assert "All 4 runs: 248k reader passes, without brset.qwen2_vl_7b (not known)" in text
    assert "7.5 hours on one GPU, without brset.qwen2_vl_7b (not known)" in text
    assert "2 GB of disk for their results, without brset.qwen2_vl_7b (not known)" in text
    assert "once: 2 GB for index, without the records of pmc_oa (not known)" in text
    assert "at least 4 GB of disk in all" in text


def test_the_table_says_what_it_rests_on_and_what_does_not_fit() -> None:
    row = forecasts([paper("breast", "pixtral_12b")], ASSUMPTIONS, None, None)
    text = "\n".join(lines_of(row, "rtx_4090"))
    assert "50% of the dense bfloat16 peak of NVIDIA GeForce RTX 4090, 165.2 TFLOP/s" in text
    assert "! does not fit: NVIDIA GeForce RTX 4090 has 24 GB." in text
    assert "does not fit" not in "\n".join(lines_of(row, "h200"))
    assert "name a GPU (--gpu)" in "\n".join(lines_of(row, None))
    lines = forecast_lines(row, [], ASSUMPTIONS, None, 12.5)
    assert any("the given rate, 12.5 scored pairs/s" in line for line in lines)


def test_memory_is_rounded_up() -> None:
    row = forecasts([paper("breast")], ASSUMPTIONS, None, None)[0]
    shown = lines_of([replace(row, memory=(24 * 10**9, 24 * 10**9 + 1, 1))], "rtx_4090")[2]
    assert " 24/25!/1 " in shown


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (950, "950"), (27_300, "27.3k"), (999_999, "1M"), (10**10, "10G")]
)
def test_short_counts(count: int, text: str) -> None:
    assert short(count) == text


@pytest.mark.parametrize(
    ("size", "text"), [(1234, "1.23 kB"), (85 * 10**7, "850 MB"), (999_900_000, "1 GB")]
)
def test_short_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_csv_holds_whole_numbers_and_leaves_out_what_is_unknown(tmp_path: Path) -> None:
    rows = forecasts([paper("breast"), paper("brset")], ASSUMPTIONS, None, 10.0)
    write_csv(tmp_path / "plan.csv", rows)
    with (tmp_path / "plan.csv").open(newline="") as file:
        breast, brset = csv.DictReader(file)
    assert tuple(breast) == CSV_COLUMNS
    assert (breast["train"], breast["stage2_likely"], breast["scored"]) == ("546", "62400", "3276")
    assert float(breast["hours_stage2"]) == pytest.approx(62_400 / 36_000)
    assert breast["counted"] == "False"
    assert {name for name, value in brset.items() if value} == {"benchmark", "backbone", "runs"}


def test_gpus_are_read_and_named(project: Path) -> None:
    gpus = read_gpus()[1]
    assert {"a100_40", "a100_80", "h100", "h200", "l40s", "rtx_4090", "a6000"} <= set(gpus)
    assert gpu_named("h100", gpus).memory_gb == 80
    with pytest.raises(ConfigError, match=r"no GPU 'h10' in params/gpus.yaml; did you mean 'h100'"):
        gpu_named("h10", gpus)
    file = project / "params/gpus.yaml"
    file.write_text(file.read_text().replace("drift:", "dirft:"))
    with pytest.raises(ConfigError, match=r"unknown key 'assumptions.dirft'; did you mean 'drift'"):
        read_gpus()
    file.write_text("gpus: {}\n")
    with pytest.raises(ConfigError, match="expected the keys assumptions and gpus"):
        read_gpus()
