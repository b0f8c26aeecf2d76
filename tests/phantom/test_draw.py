"""Phantom images: marks that differ by shape alone, styles that can be told apart."""

import numpy as np
import pytest

from jomed.phantom.draw import background, draw_image, mark
from jomed.phantom.lexicon import ANATOMIES, CHEST, FUNDUS, SKIN, Anatomy, Finding

SIZE = 56


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def finding(shape: str) -> Finding:
    return Finding(1, shape, 1.0, ("x",))


def test_a_healthy_image_has_no_mark() -> None:
    assert not mark(finding("none"), SIZE, stream()).any()


@pytest.mark.parametrize("shape", ["ring", "disc", "cross", "bars", "dots", "wedge"])
def test_a_mark_is_seen_near_the_middle_and_nowhere_else(shape: str) -> None:
    drawn = mark(finding(shape), SIZE, stream())
    assert set(np.unique(drawn)) == {0.0, 1.0}
    rows, columns = (axis / SIZE for axis in np.nonzero(drawn))
    # Wander 0.07 and 1.25 times the largest extent of 0.25: no pixel is farther than 0.4 away.
    assert np.hypot(rows - 0.5, columns - 0.5).max() < 0.07 * 2**0.5 + 1.25 * 0.25 + 1 / SIZE
    assert 0.005 < drawn.mean() < 0.2


def test_a_disc_has_the_area_of_a_disc() -> None:
    # Radius 0.8 x extent with extent in [0.19, 0.25]: area pi r^2 between 0.073 and 0.126.
    areas = [mark(finding("disc"), 200, stream(seed)).mean() for seed in range(20)]
    assert 0.072 < min(areas) < max(areas) < 0.127


def test_marks_of_an_anatomy_differ_pairwise() -> None:
    for anatomy in ANATOMIES:
        shown = [mark(one, SIZE, stream()).tobytes() for one in anatomy.findings]
        assert len(set(shown)) == len(anatomy.findings)


@pytest.mark.parametrize("anatomy", ANATOMIES, ids=lambda anatomy: anatomy.name)
def test_images_of_one_style_resemble_each_other_most(anatomy: Anatomy) -> None:
    styles = range(len(anatomy.styles))
    looks = np.array(
        [[background(anatomy, style, 28, stream(seed)).ravel() for seed in range(20)]
         for style in styles]
    )  # fmt: skip
    looks = (looks - looks.mean(-1, keepdims=True)) / looks.std(-1, keepdims=True)
    likeness = np.einsum("aid,bjd->ab", looks, looks) / (20 * 20 * looks.shape[-1])
    assert (likeness.argmax(axis=1) == list(styles)).all()


def test_without_contrast_and_noise_an_image_is_its_anatomys_grey() -> None:
    image = draw_image(FUNDUS, (FUNDUS.findings[1],), 0, 8, (0.0, 0.0), 0.0, stream())
    # round(255 x 0.45 x colour) for the colour (1, 0.6, 0.35)
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.uint8
    assert (image == [115, 69, 40]).all()


def test_the_finding_raises_the_pixels_of_its_mark_alone() -> None:
    lesion = next(f for f in SKIN.findings if f.shape == "disc")
    image = draw_image(SKIN, (lesion,), 0, SIZE, (0.0, 0.4), 0.0, stream())
    # round(255 x (0.45 + 0.4)) on the mark, round(255 x 0.45) elsewhere; red has weight 1.
    assert set(np.unique(image[..., 0])) == {115, 217}


def test_two_findings_leave_two_marks_one_over_the_other() -> None:
    ring, cross = CHEST.findings[1], CHEST.findings[3]
    both, alone = (
        draw_image(CHEST, shown, 0, SIZE, (0.0, 0.2), 0.0, stream())[..., 0]
        for shown in ((ring, cross), (ring,))
    )
    # round(255 x (0.45 + 0.2 n)) under n marks; inside the ring there is the cross alone
    assert set(np.unique(both)) == {115, 166, 217}
    assert set(np.unique(alone)) == {115, 166}
    assert (both > alone).any()
