"""Draw one phantom image: an acquisition style that dominates, and a finding that matters."""

import numpy as np

from jomed.phantom.lexicon import Anatomy, Finding


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(size) + 0.5) / size
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    return rows, columns


def background(anatomy: Anatomy, style: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth pattern in [-1, 1], shape (size, size): what a general encoder sees first.

    Orientation and frequency belong to the style, the phase wanders from image to image.
    """
    rows, columns = _grid(size)
    angle = np.pi * style / len(anatomy.styles) + rng.normal(0, 0.06)
    frequency = 1.0 + 0.5 * (style % 3) + rng.normal(0, 0.03)
    along = rows * np.cos(angle) + columns * np.sin(angle)
    wave = np.cos(2 * np.pi * (frequency * along + rng.normal(0, 0.08)))
    radius = np.hypot(rows - 0.5, columns - 0.5)
    field = {"chest": rows - 0.5, "fundus": 0.5 - 2 * radius, "skin": 0.5 - radius}.get(
        anatomy.name, columns - 0.5
    )
    return 0.7 * wave + 0.6 * field


def mark(finding: Finding, size: int, rng: np.random.Generator) -> np.ndarray:
    """The finding's mark in [0, 1], shape (size, size), near the middle of the image.

    No finding has a place of its own: where a mark lies would be seen too easily.
    """
    rows, columns = _grid(size)
    row, column = 0.5 + rng.uniform(-0.07, 0.07, size=2)
    extent = rng.uniform(0.19, 0.25)
    y, x = (rows - row) / extent, (columns - column) / extent
    radius = np.hypot(y, x)
    inside = radius < 1.25
    masks = {
        "none": np.zeros_like(rows),
        "ring": np.abs(radius - 0.9) < 0.3,
        "disc": radius < 0.8,
        "cross": inside & ((np.abs(y) < 0.28) | (np.abs(x) < 0.28)),
        "bars": inside & (np.mod(y + 8, 0.9) < 0.4),
        "dots": inside & (np.mod(y + 8, 0.9) < 0.45) & (np.mod(x + 8, 0.9) < 0.45),
        "wedge": inside & (y > 0) & (np.abs(x) < y),
    }
    return masks[finding.shape].astype(np.float64)


def draw_image(
    anatomy: Anatomy,
    findings: tuple[Finding, ...],
    style: int,
    size: int,
    contrast: tuple[float, float],
    noise: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """uint8 RGB image (size, size, 3) of an anatomy in a style with zero or more findings.

    `contrast` is (style, finding): the amplitude of each on the 0-1 grey scale, as is `noise`.
    """
    field = contrast[0] * background(anatomy, style, size, rng)
    for finding in findings:
        field = field + contrast[1] * mark(finding, size, rng)
    field = field + rng.normal(0, noise, field.shape)
    grey = np.clip(0.45 + field, 0, 1)
    return np.round(255 * grey[..., None] * np.asarray(anatomy.colour)).astype(np.uint8)
