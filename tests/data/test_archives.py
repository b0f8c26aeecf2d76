"""The reader of large archives against the standard library's writer."""

import random
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jomed.data import pixels
from jomed.data.archives import ZipIndex, list_members

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def contents(count: int) -> dict[str, bytes]:
    rng = random.Random(0)
    names = [f"dir/Ünïcode {place}.jpg" if place % 3 else f"{place}.jpg" for place in range(count)]
    return {name: rng.randbytes(rng.randrange(200)) * rng.randrange(4) for name in names}


def write(path: Path, files: dict[str, bytes], comment: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = comment
        for place, (name, data) in enumerate(files.items()):
            archive.writestr(name, data, METHODS[place % 2])
    return path


@pytest.mark.parametrize("comment", [b"", b"as some archives have one " * 50])
def test_what_was_written_is_read(tmp_path: Path, comment: bytes) -> None:
    files = contents(60)
    path = write(tmp_path / "x.zip", files, comment)
    assert [member.name for member in list_members(path)] == list(files)
    index = ZipIndex(path)
    assert {name: index.read(name) for name in files} == files


def test_archives_too_large_for_the_old_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 50)
    files = contents(40)
    path = write(tmp_path / "x.zip", files)
    assert b"PK\6\6" in path.read_bytes()
    index = ZipIndex(path)
    assert {name: index.read(name) for name in files} == files


def test_threads_share_an_index(tmp_path: Path) -> None:
    files = contents(200)
    index = ZipIndex(write(tmp_path / "x.zip", files))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(index.read, [*files] * 5)) == [*files.values()] * 5


def test_the_last_of_one_name_counts_and_an_empty_archive_is_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"2")
    assert ZipIndex(tmp_path / "x.zip").read("a") == b"2"
    assert list(list_members(write(tmp_path / "y.zip", {}))) == []
    with pytest.raises(KeyError, match="no 'a' in y"):
        ZipIndex(tmp_path / "y.zip").read("a")


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = write(tmp_path / "x.zip", contents(5)).read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        with pytest.raises(zipfile.BadZipFile):
            ZipIndex(tmp_path / "cut.zip")


def test_a_damaged_directory_is_a_broken_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 50)
    whole = write(tmp_path / "x.zip", contents(9)).read_bytes()
    start, rng = whole.index(b"PK\1\2"), random.Random(2)
    refused = 0
    for _ in range(600):
        spoilt = bytearray(whole)
        for _ in range(3):
            spoilt[rng.randrange(start, len(whole))] = rng.randrange(256)
        (tmp_path / "bad.zip").write_bytes(spoilt)
        try:
            list(list_members(tmp_path / "bad.zip"))
        except zipfile.BadZipFile:
            refused += 1
    assert refused > 100


def test_no_damage_gives_wrong_content(tmp_path: Path) -> None:
    files = {name: data for name, data in contents(6).items() if data}
    whole = write(tmp_path / "x.zip", files).read_bytes()
    rng = random.Random(1)
    for _ in range(400):
        spoilt = bytearray(whole)
        spoilt[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        (tmp_path / "bad.zip").write_bytes(spoilt)
        for name, data in files.items():
            try:
                found = ZipIndex(tmp_path / "bad.zip").read(name)
            except (zipfile.BadZipFile, KeyError, ValueError, OSError):
                continue
            assert found == data


def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", b"1" * 100)
    with pytest.raises(ValueError, match="method 12"):
        ZipIndex(tmp_path / "x.zip").read("a")
    monkeypatch.setattr(pixels, "MAX_BYTES", 99)
    with pytest.raises(ValueError, match="100 bytes are declared"):
        ZipIndex(tmp_path / "x.zip").read("a")
