import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydicom.uid import RLELossless
from test_images import RAMP, dicom
from tiny_sets import benchmark_config, data_config, load_samples, reasons, truncate

from jomed.data.hashes import image_sha
from jomed.data.images import open_image
from jomed.data.sources import DataError

OFFICIAL = (
    *("No finding", "Bronchitis", "Brocho-pneumonia", "Other disease", "Bronchiolitis"),
    *("Situs inversus", "Pneumonia", "Pleuro-pneumonia", "Diagphramatic hernia", "Tuberculosis"),
    *("Congenital emphysema", "CPAM", "Hyaline membrane disease", "Mediastinal tumor"),
    "Lung tumor",
)
BENCHMARK = benchmark_config(
    name="vindr_pcxr",
    loader="vindr_pcxr",
    task="multi_label",
    path="vindr-pcxr",
    access="dua",
    answers=tuple(str(place) for place in range(15)),
    label_names=OFFICIAL,
)
TRAIN = {"t1": [3, 7], "t2": [0], "t3": [14], "t4": [1], "t5": [], "t6": [2], "t7": [0]}
TEST = {"e1": [0], "e2": [6, 1], "e3": [10]}


def table(home: Path, split: str, rows: dict[str, list[int]], one: str = "1.0") -> None:
    columns = {
        name: [one if place in labels else "0.0" for labels in rows.values()]
        for place, name in enumerate(OFFICIAL)
    }
    frame = pd.DataFrame({"image_id": list(rows), "rad_ID": "R1", **columns})
    # columns are addressed by name, so their order and case do not matter
    shuffled = ["rad_ID", *reversed(OFFICIAL), "image_id"]
    frame[shuffled].rename(columns={"CPAM": " cpam "}).to_csv(
        home / f"image_labels_{split}.csv", index=False
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "vindr-pcxr"
    for place, name in enumerate([*TRAIN, *TEST]):
        path = home / ("train" if name in TRAIN else "test") / f"{name}.dicom"
        path.parent.mkdir(parents=True, exist_ok=True)
        changes = {
            "t1": {"PhotometricInterpretation": "MONOCHROME1"},
            "t2": {"WindowCenter": 2048, "WindowWidth": 1024},
        }.get(name, {})
        dataset = dicom(path, np.roll(RAMP, place, axis=1), **changes)
        if name == "t3":
            dataset.compress(RLELossless)
        if name == "t4":
            del dataset.file_meta.TransferSyntaxUID
            dataset.save_as(path, implicit_vr=False, little_endian=True)
        else:
            dataset.save_as(path, enforce_file_format=True)
    (home / "train/t6.dicom").unlink()
    truncate(home / "test/e3.dicom")
    table(home, "train", TRAIN)
    table(home, "test", TEST, one="1")
    return tmp_path


def test_answers_are_index_lists_in_official_order(root: Path) -> None:
    samples, _ = load_samples(root, BENCHMARK, data_config(val_share=0.2))
    answers = {sample.group: sample.answer for sample in samples}
    assert answers == {
        **{"t1": "3, 7", "t2": "0", "t3": "14", "t4": "1", "t7": "0"},
        **{"e1": "0", "e2": "1, 6"},
    }
    assert {sample.answer_type for sample in samples} == {"labels"}


def test_every_encoding_is_read(root: Path) -> None:
    samples, _ = load_samples(root, BENCHMARK, data_config())
    for sample in samples:
        assert image_sha(open_image(sample.image, root)) == sample.image_sha
    found = {sample.group: np.asarray(open_image(sample.image, root)) for sample in samples}
    assert found["t1"][0, 0, 0] == 255  # MONOCHROME1: what is stored as 0 is white
    assert (found["t2"][0, 1:90] == 0).all()  # below the window
    assert len({sample.image_sha for sample in samples}) == len(samples)


def test_validation_is_held_out_of_train_only(root: Path) -> None:
    samples, _ = load_samples(root, BENCHMARK, data_config(val_share=0.4))
    splits = {sample.group: sample.split for sample in samples}
    assert [splits[name] for name in ("e1", "e2")] == ["test", "test"]
    train = [splits[name] for name in ("t1", "t2", "t3", "t4", "t7")]
    assert sorted(train) == ["train"] * 3 + ["val"] * 2
    again, _ = load_samples(root, BENCHMARK, data_config(val_share=0.4))
    assert again == samples


def test_everything_left_out_has_a_reason(root: Path) -> None:
    home = root / "vindr-pcxr"
    rows = pd.read_csv(home / "image_labels_test.csv", dtype=str)
    rows.loc[len(rows)] = rows.loc[0]
    rows.loc[len(rows)] = rows.loc[0].replace({"1": "?", "e1": "e4"})
    rows.to_csv(home / "image_labels_test.csv", index=False)
    samples, skipped = load_samples(root, BENCHMARK, data_config())
    assert reasons(skipped) == {
        "t5": "no label",
        "t6": "missing image",
        "e1": "repeated row",
        "e4": "unreadable label",
        "vindr_pcxr:test/e3": "unreadable image",
    }
    assert len(samples) == 7


def test_folders_as_a_release_or_wget_leaves_them(root: Path) -> None:
    expected = load_samples(root, BENCHMARK, data_config())[0]
    home = root / "vindr-pcxr"
    for name in ("vindr-pcxr-1.0.0", "physionet.org/files/vindr-pcxr/1.0.0"):
        home.rename(root / "moved")
        (home / name).parent.mkdir(parents=True)
        (root / "moved").rename(home / name)
        samples, _ = load_samples(root, BENCHMARK, data_config())
        moved = [one.image.replace(f"vindr-pcxr/{name}/", "vindr-pcxr/", 1) for one in samples]
        assert moved == [one.image for one in expected]
        assert [one.image_sha for one in samples] == [one.image_sha for one in expected]
        (home / name).rename(root / "moved")
        shutil.rmtree(home)
        (root / "moved").rename(home)


def test_missing_table_and_column(root: Path) -> None:
    path = root / "vindr-pcxr/image_labels_test.csv"
    rows = pd.read_csv(path, dtype=str)
    rows.drop(columns="Pneumonia").to_csv(path, index=False)
    with pytest.raises(DataError, match="no column pneumonia"):
        load_samples(root, BENCHMARK, data_config())
    path.unlink()
    with pytest.raises(DataError, match=r"image_labels_test\.csv is missing.*example\.org"):
        load_samples(root, BENCHMARK, data_config())
