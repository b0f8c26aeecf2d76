"""How fast and in how much memory the data room works, on synthetic trees of real size.

    python perf/data.py               # all measurements; about ten minutes, 4 GB of disk
    python perf/data.py --scale 0.01  # the same code on a hundredth of the rows

Rates come from one process with one thread. A ratio compares two ways of doing the same work in the
same run, alternating, best of several rounds. Peak memory is that of a process of its own.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from synthetic_trees import mimic_tree, pictures, pmc_tree, radiographs, reports

ROWS = {"pmc_oa": 1_650_000, "mimic_cxr": 377_110}
ROUNDS = 15
_MEGABYTE = 2**20


def main(
    scale: Annotated[float, typer.Option(min=0.0001, help="Share of the real sizes.")] = 1.0,
    folder: Annotated[Path | None, typer.Option(help="Where the trees are written.")] = None,
    child: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure everything and print one table."""
    if child is not None:
        assert folder is not None
        print(json.dumps(_stream(child, folder)))
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix="jomed-perf-") as place:
        rows = [
            *_corpora(Path(place), scale),
            _parsing(scale),
            *_opening(Path(place)),
            *_hashing(Path(place)),
        ]
    table = pd.DataFrame(rows, columns=["what", "measured", "target", "met"])
    print(table.to_string(index=False))


def _corpora(place: Path, scale: float) -> list[tuple[str, str, str, bool]]:
    """Caption file and zip or folder to Parquet; metadata, reports and images to Parquet."""
    rows = []
    for name, packed, make in (
        ("pmc_oa", False, pmc_tree),
        ("pmc_oa", True, pmc_tree),
        ("mimic_cxr", True, mimic_tree),
    ):
        count = int(ROWS[name] * scale)
        with tempfile.TemporaryDirectory(dir=place) as root:
            make(Path(root), count, packed)
            found = _measured_apart(name, Path(root))
        title = f"{name} ({'zip' if packed else 'folder'}), {count:,} rows"
        rate, peak = count / found["seconds"], found["peak"] / _MEGABYTE
        limit = 1024 if name == "pmc_oa" else 2048
        if name == "pmc_oa":
            rows.append((f"{title}: lines/s", f"{rate:,.0f}", ">= 25,000", rate >= 25_000))
        else:
            rows.append((f"{title}: rows/s", f"{rate:,.0f}", "", True))
        rows.append((f"{title}: peak MiB", f"{peak:,.0f}", f"< {limit:,}", peak < limit))
    return rows


def _measured_apart(name: str, root: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", name, "--folder", str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _stream(name: str, root: Path) -> dict[str, float]:
    """One corpus from its files to Parquet, without opening images."""
    from jomed.config import load_config, read_corpus
    from jomed.data.corpora import load_corpus
    from jomed.records import RECORD_SCHEMA, Record, row_writer

    config = load_config("paper", encoder="biomedclip", backbone="qwen2_vl_7b")
    start, count = time.perf_counter(), 0
    with row_writer(root / "records.parquet", RECORD_SCHEMA) as add:
        for item in load_corpus(read_corpus(name), root, config.data, config.benchmark):
            if isinstance(item, Record):
                add(item)
                count += 1
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": _peak_bytes(), "records": count}


def _peak_bytes() -> int:
    """Peak memory of this process. The one that getrusage gives begins with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def _parsing(scale: float) -> tuple[str, str, str, bool]:
    from jomed.data.corpora.reports import report_text

    texts = reports(int(20_000 * min(1.0, 10 * scale)))
    seconds = _best(lambda: [report_text(text) for text in texts])
    rate = len(texts) / seconds
    return ("report sections: reports/s", f"{rate:,.0f}", ">= 5,000", rate >= 5_000)


def _opening(place: Path) -> list[tuple[str, str, str, bool]]:
    """Opening and resizing to 224 px: ours against the libraries alone."""
    import numpy as np
    import pydicom
    from PIL import Image
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    from jomed.data.images import open_image

    def ours(names: list[str]) -> None:
        for name in names:
            open_image(name, place).resize((224, 224))

    def pillow(names: list[str]) -> None:
        for name in names:
            with Image.open(place / name) as image:
                image.convert("RGB").resize((224, 224))

    def plain_dicom(names: list[str]) -> None:
        for name in names:
            dataset = pydicom.dcmread(place / name)
            values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
            low, high = values.min(), values.max()
            shown = np.uint8((values - low) / (high - low) * 255)
            Image.fromarray(shown).convert("RGB").resize((224, 224))

    rows = []
    for title, names, bare in (
        ("JPEG", pictures(place, 40), pillow),
        ("DICOM", radiographs(place, 10), plain_dicom),
    ):
        ratio = _ratio(lambda names=names: ours(names), lambda names=names, bare=bare: bare(names))
        label = f"open and resize {title}: time over the bare library"
        rows.append((label, f"{ratio:.2f}", "<= 1.30", ratio <= 1.3))
    return rows


def _hashing(place: Path) -> list[tuple[str, str, str, bool]]:
    """Perceptual hash of decoded images against decoding alone."""
    from jomed.data.hashes import image_phash
    from jomed.data.images import open_image

    names = pictures(place, 40)

    def decode() -> None:
        for name in names:
            open_image(name, place)

    def decode_and_hash() -> None:
        for name in names:
            image_phash(open_image(name, place))

    ratio = _ratio(decode, decode_and_hash)
    label = "perceptual hash: rate over decoding alone"
    return [(label, f"{ratio:.2f}", ">= 0.60", ratio >= 0.6)]


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of several rounds, after one to warm up."""
    work()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _ratio(one: Callable[[], object], other: Callable[[], object]) -> float:
    """Time of `one` over that of `other`, measured in turns."""
    one(), other()
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for place, work in enumerate((one, other)):
            start = time.perf_counter()
            work()
            best[place] = min(best[place], time.perf_counter() - start)
    return best[0] / best[1]


if __name__ == "__main__":
    typer.run(main)
