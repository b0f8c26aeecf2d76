from pathlib import Path

import medmnist
import numpy as np
import pytest
from tiny_sets import benchmark_config, data_config, load_samples, reasons

from jomed.data.hashes import image_sha
from jomed.data.images import open_image
from jomed.data.sources import DataError, file_md5
from jomed.settings import SampleLimits

LABELS = {"train": [0, 1, 2, 0, 1, 1], "val": [2, 0, 1], "test": [1, 2, 2]}


def write(path: Path, size: int = 28, channels: tuple[int, ...] = (3,), **changes: object) -> Path:
    rng = np.random.default_rng(size)
    members: dict[str, object] = {}
    for split, labels in LABELS.items():
        shape = (len(labels), size, size, *channels)
        members[f"{split}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        members[f"{split}_labels"] = np.array(labels, dtype=np.uint8)[:, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **(members | changes))
    return path


def test_samples_of_all_splits(tmp_path: Path) -> None:
    benchmark = benchmark_config(answers=("no", "yes", "?"))
    write(tmp_path / benchmark.path)
    samples, skipped = load_samples(tmp_path, benchmark, data_config())
    assert skipped == []
    assert [sample.split for sample in samples] == ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    assert [sample.answer for sample in samples[6:]] == ["?", "no", "yes", "yes", "?", "?"]
    first = samples[6]
    assert first.sample_id == first.group == "retina:val/0"
    assert first.image == "medmnist/retinamnist.npz::val_images/0"
    assert (first.question, first.answer_type) == ("What grade?", "label")
    assert len({sample.sample_id for sample in samples}) == 12


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_address_and_hash_name_the_same_pixels(
    tmp_path: Path, size: int, channels: tuple[int, ...]
) -> None:
    benchmark = benchmark_config(size=size)
    suffix = "" if size == 28 else f"_{size}"
    write(tmp_path / f"medmnist/retinamnist{suffix}.npz", size, channels)
    samples, _ = load_samples(tmp_path, benchmark, data_config())
    for sample in samples[::4]:
        image = open_image(sample.image, tmp_path)
        assert image.size == (size, size)
        assert image_sha(image) == sample.image_sha
    assert len({sample.image_sha for sample in samples}) == 12


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    benchmark = benchmark_config()
    write(tmp_path / benchmark.path, 64)
    with pytest.raises(DataError, match=r"train_images are 64 x 64 .* benchmark\.size is 28"):
        load_samples(tmp_path, benchmark, data_config())


def test_labels_agree_with_the_medmnist_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "retinamnist.npz")
    counts = {split: len(labels) for split, labels in LABELS.items()}
    monkeypatch.setitem(medmnist.INFO["retinamnist"], "n_samples", counts)
    samples, _ = load_samples(tmp_path, benchmark_config(path="retinamnist.npz"), data_config())
    for split in LABELS:
        package = medmnist.RetinaMNIST(split=split, root=str(tmp_path), download=False)
        ours = [sample for sample in samples if sample.split == split]
        assert [int(sample.answer) for sample in ours] == package.labels[:, 0].tolist()
        for sample, (image, _) in zip(ours, package, strict=True):
            assert image_sha(image) == sample.image_sha


def test_md5_is_checked_where_one_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "medmnist/retinamnist.npz")
    right = benchmark_config(md5={28: file_md5(path)})
    assert len(load_samples(tmp_path, right, data_config())[0]) == 12
    with pytest.raises(DataError, match=r"MD5 \w{32}, not that.*MD5 0{32}.*to null"):
        load_samples(tmp_path, benchmark_config(md5={28: "0" * 32}), data_config())
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_md5(tmp_path / "abc") == "900150983cd24fb0d6963f7d28e17f72"


def test_larger_images_are_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "medmnist/retinamnist_224.npz", 224)
    larger = benchmark_config(size=224, md5={28: "0" * 32, 224: file_md5(path)})
    samples, _ = load_samples(tmp_path, larger, data_config())
    assert samples[0].image == "medmnist/retinamnist_224.npz::train_images/0"
    with pytest.raises(DataError, match=r"retinamnist_128\.npz is missing"):
        load_samples(tmp_path, benchmark_config(size=128), data_config())
    wrong = benchmark_config(size=224, md5={28: file_md5(path), 224: "0" * 32})
    with pytest.raises(DataError, match="not that of the official file"):
        load_samples(tmp_path, wrong, data_config())


def test_missing_file_says_which_from_where_and_its_md5(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_samples(tmp_path, benchmark_config(md5={28: "1" * 32}), data_config())
    for part in (str(tmp_path / "medmnist/retinamnist.npz"), "https://example.org/data", "1" * 32):
        assert part in str(caught.value)


def test_truncated_file_and_other_files(tmp_path: Path) -> None:
    benchmark = benchmark_config()
    path = write(tmp_path / benchmark.path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated download"):
        load_samples(tmp_path, benchmark, data_config())
    spoilt = bytearray(whole)
    spoilt[2000:2100] = bytes(100)
    path.write_bytes(spoilt)
    with pytest.raises(DataError, match="cannot be read"):
        load_samples(tmp_path, benchmark, data_config())
    np.savez(path, train_images=np.zeros((1, 2, 2), dtype=np.uint8))
    with pytest.raises(DataError, match="not a MedMNIST file"):
        load_samples(tmp_path, benchmark, data_config())
    write(path, train_labels=np.zeros((6, 14), dtype=np.uint8))
    with pytest.raises(DataError, match="exactly one label"):
        load_samples(tmp_path, benchmark, data_config())
    write(path, val_images=np.zeros((3, 2, 2)))
    with pytest.raises(DataError, match="not uint8"):
        load_samples(tmp_path, benchmark, data_config())


@pytest.mark.parametrize("labels", [["a"] * 6, [0.5] * 6, [np.nan] * 6])
def test_labels_that_are_no_whole_numbers_are_refused(tmp_path: Path, labels: list) -> None:
    benchmark = benchmark_config()
    write(tmp_path / benchmark.path, train_labels=np.array(labels).reshape(6, 1))
    with pytest.raises(DataError, match="not all of it whole numbers"):
        load_samples(tmp_path, benchmark, data_config())


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    benchmark = benchmark_config()
    write(tmp_path / benchmark.path, train_labels=np.array([{}] * 6, dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        load_samples(tmp_path, benchmark, data_config())


def test_unknown_labels_are_skipped_and_limits_hold(tmp_path: Path) -> None:
    benchmark = benchmark_config(answers=("0", "1"), label_names=("a", "b"))
    write(tmp_path / benchmark.path)
    limits = SampleLimits(train=2, val=None, test=1)
    samples, skipped = load_samples(tmp_path, benchmark, data_config(sample_limits=limits))
    assert reasons(skipped) == dict.fromkeys(
        ("retina:train/2", "retina:val/0", "retina:test/1", "retina:test/2"), "unknown label"
    )
    assert [sample.sample_id for sample in samples] == [
        *("retina:train/0", "retina:train/3"),
        *("retina:val/1", "retina:val/2", "retina:test/0"),
    ]
