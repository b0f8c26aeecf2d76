"""Image hashes of records and samples: every image opened once, the broken ones listed."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from jomed.data.images import ImageError, hash_images
from jomed.records import Record, Sample, Skipped

Row = TypeVar("Row", Record, Sample)


def with_hashes(
    rows: Sequence[Row], root: Path, threads: int = -1
) -> tuple[list[Row], list[Skipped]]:
    """Fill in each `image_sha` that the loader could not know; unreadable images are skipped.

    Runs in `threads` threads (-1: one per core).
    """
    addresses = list(dict.fromkeys(row.image for row in rows if not row.image_sha))
    found = dict(zip(addresses, hash_images(addresses, root, threads), strict=True))
    kept: list[Row] = []
    skipped: list[Skipped] = []
    for row in rows:
        sha = row.image_sha or found[row.image]
        if isinstance(sha, ImageError):
            skipped.append(Skipped(*_name(row), "unreadable image", str(sha)))
        else:
            kept.append(dataclasses.replace(row, image_sha=sha))
    return kept, skipped


def _name(row: Record | Sample) -> tuple[str, str]:
    """Data set and id."""
    if isinstance(row, Record):
        return row.source, row.record_id
    return row.benchmark, row.sample_id
