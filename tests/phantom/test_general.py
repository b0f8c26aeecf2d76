"""The general split comes back from disk as it was written."""

from pathlib import Path

import numpy as np
import pytest

from jomed.data.images import open_image
from jomed.phantom.general import GeneralPair, general_address, read_general, write_general


def test_pairs_and_images_come_back(tmp_path: Path) -> None:
    images = [np.full((4, 4, 3), 10 * place, np.uint8) for place in range(3)]
    pairs = [
        GeneralPair(
            general_address(place),
            f"text \u00e9 {place}",
            (("which?", str(place)), ("whether?", "No")),
            (("how?", "upright"),) if place else (),
        )
        for place in range(3)
    ]
    write_general(tmp_path, images, pairs)
    assert read_general(tmp_path) == pairs
    for pair, image in zip(pairs, images, strict=True):
        np.testing.assert_array_equal(np.asarray(open_image(pair.image, tmp_path)), image)


def test_an_existing_split_is_not_written_over(tmp_path: Path) -> None:
    pair = GeneralPair(general_address(0), "text", (), ())
    write_general(tmp_path, [np.zeros((4, 4, 3), np.uint8)], [pair])
    with pytest.raises(FileExistsError):
        write_general(tmp_path, [np.ones((4, 4, 3), np.uint8)], [pair])
    assert read_general(tmp_path) == [pair]


def test_an_address_names_one_image_of_the_file() -> None:
    assert general_address(12) == "general/images.npz::images/12"
