from pathlib import Path

import pytest

from jomed.data.corpora.image_files import ImageFiles, list_folders


def test_the_first_folder_with_a_name_counts() -> None:
    images = ImageFiles([("a/", "1.jpg"), ("b/", "1.jpg"), ("b/", "2.jpg"), ("z.zip::", "3.jpg")])
    assert len(images) == 3
    found = {name: images.folder(name) for name in ("1.jpg", "2.jpg", "3.jpg", "4.jpg", "")}
    assert found == {"1.jpg": "a/", "2.jpg": "b/", "3.jpg": "z.zip::", "4.jpg": None, "": None}


def test_every_name_of_many_is_found_again() -> None:
    names = [f"PMC{place}_Fig.jpg" for place in range(3000)]
    images = ImageFiles((f"{place % 7}/", name) for place, name in enumerate(names))
    assert [images.folder(name) for name in names] == [f"{place % 7}/" for place in range(3000)]
    assert {images.folder(name.lower()) for name in names} == {None}


def test_counting_is_by_name() -> None:
    images = ImageFiles([("a/", "1.jpg"), ("a/", "2.jpg")])
    assert [images.count(name) for name in ("1.jpg", "2.jpg", "1.jpg")] == [1, 1, 2]
    with pytest.raises(KeyError):
        images.count("3.jpg")
    nothing = ImageFiles([])
    assert (len(nothing), nothing.folder("1.jpg")) == (0, None)


def test_folders_are_listed_from_the_root_on(tmp_path: Path) -> None:
    for name in ("x/1.JPG", "x/notes.txt", "2.png", "y/3.jpg/inside.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folders = [tmp_path / "x", tmp_path, tmp_path / "y", tmp_path / "absent"]
    assert list(list_folders(folders, tmp_path)) == [("x/", "1.JPG"), ("", "2.png")]
