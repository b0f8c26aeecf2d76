"""Trees of the size of the real data sets, with invented content, for measuring."""

import gzip
import json
import zipfile
from io import StringIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

CAPTION = (
    "axial computed tomography of the chest shows an invented opacity in the left lower lobe with "
    "adjacent effusion and no sign of an invented fracture after contrast administration arrow"
)
WORDS = CAPTION.split()
IMAGE_FOLDER = "caption_T060_filtered_top4_sep_v0_subfigures"
IMAGES_PER_STUDY = 377_110 / 227_835
STUDIES_PER_PATIENT = 227_835 / 65_379


def pmc_tree(root: Path, rows: int, packed: bool) -> None:
    """pmc_oa.jsonl and empty image files, in a folder or in images.zip.

    A line of the real file has 275 bytes on average.
    """
    home = root / "pmc_oa"
    home.mkdir()
    names = [f"PMC9{place // 5:07d}_Fig{place % 5}_{place}.jpg" for place in range(rows)]
    rng = np.random.default_rng(0)
    with (home / "pmc_oa.jsonl").open("w") as file:
        for name in names:
            row = {"image": name, "caption": _caption(rng, 24)}
            file.write(json.dumps(row | {"alignment_type": "INV", "alignment_score": 0.5}) + "\n")
    if packed:
        with zipfile.ZipFile(home / "images.zip", "w") as archive:
            for name in names:
                archive.writestr(f"{IMAGE_FOLDER}/{name}", b"")
        return
    (home / IMAGE_FOLDER).mkdir()
    for name in names:
        (home / IMAGE_FOLDER / name).touch()


def mimic_tree(root: Path, rows: int, _packed: bool) -> None:
    """Metadata and split tables, empty image files, and the archive of reports."""
    home = root / "mimic-cxr-jpg-2.1.0.physionet.org"
    home.mkdir()
    rng = np.random.default_rng(0)
    texts = reports(64)
    tables = {"metadata": StringIO(), "split": StringIO()}
    tables["metadata"].write("dicom_id,subject_id,study_id,ViewPosition\n")
    tables["split"].write("dicom_id,study_id,subject_id,split\n")
    with zipfile.ZipFile(root / "mimic-cxr-reports.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        last = -1
        for place in range(rows):
            number = int(place / IMAGES_PER_STUDY)
            study = str(50_000_000 + number)
            subject = str(10_000_000 + int(number / STUDIES_PER_PATIENT))
            dicom = f"{place:08x}-00000000-11111111-22222222-33333333"
            view = ("PA", "AP", "LATERAL")[int(rng.integers(3))]
            tables["metadata"].write(f"{dicom},{subject},{study},{view}\n")
            tables["split"].write(f"{dicom},{study},{subject},train\n")
            folder = f"files/p{subject[:2]}/p{subject}"
            path = home / folder / f"s{study}"
            if number != last:
                path.mkdir(parents=True)
                archive.writestr(f"{folder}/s{study}.txt", texts[number % len(texts)])
                last = number
            (path / f"{dicom}.jpg").touch()
    for name, table in tables.items():
        with gzip.open(home / f"mimic-cxr-2.0.0-{name}.csv.gz", "wt", compresslevel=1) as file:
            file.write(table.getvalue())


def reports(count: int) -> list[str]:
    """Radiology reports of the usual form and length, about 800 characters."""
    rng = np.random.default_rng(1)
    head = f"{'FINAL REPORT':^77}".rstrip() + "\n"
    return [
        f"{head} EXAMINATION:  CHEST (PA AND LAT)\n \n INDICATION:  ___ year old\n \n "
        f"TECHNIQUE:  Chest PA and lateral\n \n COMPARISON:  None.\n \n FINDINGS: \n \n "
        f"{_caption(rng, 70)}\n \n IMPRESSION: \n \n {_caption(rng, 15)}\n"
        for _ in range(count)
    ]


def pictures(root: Path, count: int) -> list[str]:
    """JPEG files of 1024 x 1024 pixels, half of them grey."""
    names = [f"picture{place}.jpg" for place in range(count)]
    for place, name in enumerate(names):
        image = Image.fromarray(_texture(place, 1024))
        image.convert("RGB" if place % 2 else "L").save(root / name, quality=90)
    return names


def radiographs(root: Path, count: int) -> list[str]:
    """DICOM files of 2000 x 2000 pixels, 12 bits, with a window."""
    names = [f"radiograph{place}.dicom" for place in range(count)]
    for place, name in enumerate(names):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
        meta.MediaStorageSOPInstanceUID = UID(f"2.25.{place + 1}")
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID = meta.MediaStorageSOPClassUID
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        dataset.PhotometricInterpretation = ("MONOCHROME2", "MONOCHROME1")[place % 2]
        dataset.SamplesPerPixel = 1
        dataset.Rows = dataset.Columns = 2000
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation = 0
        dataset.WindowCenter, dataset.WindowWidth = 2048, 3000
        dataset.PixelData = (_texture(place, 2000).astype("<u2") * 16).tobytes()
        dataset.save_as(root / name, enforce_file_format=True)
    return names


def _texture(seed: int, side: int) -> np.ndarray:
    """uint8 (side, side) with detail at several scales, as a photograph has."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side), np.float32)
    for grid in (8, 32, 128, 512):
        layer = Image.fromarray(rng.random((grid, grid), np.float32) / np.sqrt(grid))
        total += np.asarray(layer.resize((side, side), Image.Resampling.BICUBIC))
    return np.uint8(255 * (total - total.min()) / np.ptp(total))


def _caption(rng: np.random.Generator, words: int) -> str:
    return " ".join(WORDS[place] for place in rng.integers(len(WORDS), size=words))
