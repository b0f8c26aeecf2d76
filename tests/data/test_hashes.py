from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_sets import picture

from jomed.data import hashes
from jomed.data.hashes import (
    HashLog,
    ImageHashes,
    hash_images,
    image_phash,
    image_sha,
    is_near,
    with_hashes,
)
from jomed.data.images import ImageError
from jomed.records import Record, Skipped

SCALES = (4, 8, 16, 32, 64)


def record(name: str, image: str) -> Record:
    return Record(name, "roco", image, "text", "g", "CC BY", "open", "", "")


def clouds(seed: int) -> Image.Image:
    """A picture with as much at every scale as a photograph has."""
    rng = np.random.default_rng(seed)
    layers = [Image.fromarray(rng.random((side, side), np.float32) / side) for side in SCALES]
    total = sum(np.asarray(layer.resize((256, 256), Image.Resampling.BICUBIC)) for layer in layers)
    return Image.fromarray(np.uint8(255 * (total - total.min()) / np.ptp(total)))


def near(one: Image.Image, other: Image.Image) -> bool:
    return is_near(int(image_phash(one), 16), int(image_phash(other), 16))


def test_hash_names_the_pixels(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    picture(1).save(tmp_path / "b.bmp")
    picture(2).save(tmp_path / "c.png")
    one, same, other = hash_images(["a.png", "b.bmp", "c.png"], tmp_path, threads=2)
    assert one == same == ImageHashes(image_sha(picture(1)), image_phash(picture(1)))
    assert isinstance(other, ImageHashes)
    assert (other.sha, other.phash) != (image_sha(picture(1)), image_phash(picture(1)))
    tall, wide = Image.new("RGB", (2, 3)), Image.new("RGB", (3, 2))
    assert image_sha(tall) != image_sha(wide)
    assert len(image_sha(tall)) == 16


def test_the_perceptual_hash_survives_size_and_compression(tmp_path: Path) -> None:
    original = clouds(1)
    original.save(tmp_path / "small.jpg", quality=60)
    with Image.open(tmp_path / "small.jpg") as compressed:
        copies = [compressed.convert("RGB"), original.resize((180, 180)).convert("RGB")]
    for copy in copies:
        assert image_sha(copy) != image_sha(original.convert("RGB"))
        assert near(copy, original)
    assert not near(original.transpose(Image.Transpose.FLIP_LEFT_RIGHT), original)
    assert not near(clouds(2), original)
    assert len(image_phash(original)) == 64


def test_hashes_come_in_order_with_errors_in_place(tmp_path: Path) -> None:
    names = [f"{seed}.png" for seed in range(150)]
    for seed, name in enumerate(names):
        picture(seed, 2).save(tmp_path / name)
    (tmp_path / "70.png").write_bytes(b"broken")
    found = list(hash_images(names, tmp_path, threads=3))
    assert isinstance(found[70], ImageError)
    expected = [image_sha(picture(seed, 2)) for seed in range(150) if seed != 70]
    assert [item.sha for item in found if isinstance(item, ImageHashes)] == expected
    assert list(hash_images([], tmp_path, threads=2)) == []


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_rows_stream_through_in_order(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "_BATCH", batch)
    picture(1).save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"broken")
    early = Skipped("roco", "x", "short text", "")
    rows = [record("r:1", "a.png"), early, record("r:2", "bad.png"), record("r:3", "a.png")]
    first, skip, broken, again = with_hashes(rows, tmp_path, threads=2)
    assert isinstance(first, Record)
    assert isinstance(again, Record)
    assert (first.record_id, first.image_sha) == ("r:1", image_sha(picture(1)))
    assert (again.record_id, again.image_phash) == ("r:3", image_phash(picture(1)))
    assert skip is early
    assert isinstance(broken, Skipped)
    assert (broken.item, broken.reason) == ("r:2", "unreadable image")
    assert "bad.png" in broken.detail


def test_an_interrupted_run_goes_on_with_its_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "_BATCH", 2)
    for seed in range(7):
        picture(seed).save(tmp_path / f"{seed}.png")
    (tmp_path / "1.png").write_bytes(b"broken")
    early = [Skipped("roco", str(place), "short text", "") for place in range(2)]
    rows = [*early, *(record(f"r:{seed}", f"{seed}.png") for seed in range(7))]
    whole, log = list(with_hashes(rows, tmp_path)), tmp_path / "log"
    killed = with_hashes(rows, tmp_path, log=HashLog(log))
    assert [next(killed) for _ in range(6)] == whole[:6]  # two Skipped, then two of four batches
    assert log.read_bytes().count(b"\n") == 3
    with log.open("ab") as file:
        file.write(b'{"4.png": ["cut')

    opened: list[str] = []
    reader = hashes.open_image
    monkeypatch.setattr(hashes, "open_image", lambda a, root: opened.append(a) or reader(a, root))
    assert list(with_hashes(rows, tmp_path, log=HashLog(log))) == whole
    assert sorted(opened) == ["1.png", "4.png", "5.png", "6.png"]  # broken, and not yet known
    opened.clear()
    assert list(with_hashes(rows[:2] + rows[4:], tmp_path, log=HashLog(log)))[2:] == whole[4:]
    assert sorted(opened) == ["2.png", "3.png", "4.png", "5.png", "6.png"]  # other batches
