from pathlib import Path

import pytest
from test_medmnist import LABELS, write
from tiny_sets import benchmark_config, data_config, load_records

from jomed.data.benchmarks import list_samples
from jomed.data.sources import DataError

TEXT = "fundus photograph, diabetic retinopathy grade {label}: {label_name}"


def test_records_are_the_training_samples(tmp_path: Path) -> None:
    benchmark = benchmark_config(licence="CC BY-NC 4.0", access="dua")
    write(tmp_path / benchmark.path)
    settings = data_config(record_text=TEXT)
    records, skipped = load_records("training_split", tmp_path, settings, benchmark)
    samples = [s for s in list_samples(tmp_path, benchmark, settings)[0] if s.split == "train"]
    assert skipped == []
    assert len(records) == len(LABELS["train"])
    assert records[2].text == "fundus photograph, diabetic retinopathy grade 2: severe"
    assert records[0].record_id == "training_split:retina:train/0"
    for record, sample in zip(records, samples, strict=True):
        assert record.group == sample.group == sample.sample_id
        assert record.image == sample.image
    assert {(record.licence, record.access) for record in records} == {("CC BY-NC 4.0", "dua")}


def test_template_and_task_are_checked(tmp_path: Path) -> None:
    write(tmp_path / benchmark_config().path)
    for text in ("grade {grade}", "grade {}", "grade {label", "{label.none}"):
        with pytest.raises(DataError, match="label_name"):
            load_records(
                "training_split", tmp_path, data_config(record_text=text), benchmark_config()
            )
    with pytest.raises(DataError, match=r"needs data\.record_text"):
        load_records("training_split", tmp_path, data_config())
    with pytest.raises(DataError, match="one label per image"):
        load_records(
            "training_split",
            tmp_path,
            data_config(record_text=TEXT),
            benchmark_config(task="multi_label"),
        )
