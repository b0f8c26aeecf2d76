import warnings
from pathlib import Path

import pytest
from tiny_sets import benchmark_config, data_config, load_samples, reasons, save_jpeg, truncate

from jomed.catalogue import BenchmarkConfig
from jomed.config import load_config
from jomed.data.sources import DataError, MissingData

DISEASES = (
    "diabetic_retinopathy,macular_edema,scar,nevus,amd,vascular_occlusion,hypertensive_retinopathy,"
    "drusens,hemorrhage,retinal_detachment,myopic_fundus,increased_cup_disc,other"
)
HEADER = (
    "image_id,patient_id,camera,patient_age,comorbidities,diabetes_time_y,insuline,patient_sex,"
    "exam_eye,diabetes,nationality,optic_disc,vessels,macula,DR_SDRG,DR_ICDR,focus,Illuminaton,"
    f"image_field,artifacts,{DISEASES},quality"
)
SETTINGS = data_config()


def brset(**changes: object) -> BenchmarkConfig:
    label_names = load_config(benchmark="brset").benchmark.label_names
    values = {
        "name": "brset",
        "title": "BRSET",
        "loader": "brset",
        "task": "multi_label",
        "path": "brset",
        "access": "credentialed",
        "split_by": "patient",
        "answers": tuple(str(place) for place in range(14)),
        "label_names": label_names,
    }
    return benchmark_config(**(values | changes))


def line(image_id: str, patient: str, *labels: int, one: str = "1", age: str = "50") -> str:
    cells = ",".join(one if place in labels else "0" for place in range(13))
    told = f'Invented Camera,{age},"diabetes, hypertension","9,9",yes,1,1,yes,Brazil'
    return f"{image_id},{patient},{told},bv,1,2,2,2,1,1,1,1,{cells},Adequate"


ROWS = [
    line("img1", "1", 0, 11),
    line("img2", "1"),
    line("img3.jpg", "2", 9, one="1.0", age="NA"),
    line("img4", "2", 12),
    line("img5", "3", 0, 1, 7),
    line("img6", "NA", 3),
]
ANSWERS = {
    "brset:img1": "0, 11",
    "brset:img2": "13",
    "brset:img3": "9",
    "brset:img4": "12",
    "brset:img5": "0, 1, 7",
    "brset:img6": "3",
}


def write(
    home: Path, rows: list[str], name: str = "labels_brset.csv", header: str = HEADER
) -> None:
    """A table with a byte order mark, Windows line ends and no end of the last line."""
    home.mkdir(parents=True, exist_ok=True)
    (home / name).write_bytes("\r\n".join([header, *rows]).encode("utf-8-sig"))


def photos(home: Path, count: int, folder: str = "fundus_photos") -> None:
    for number in range(1, count + 1):
        save_jpeg(home / folder / f"img{number}.jpg", number)


def test_answers_are_the_diseases_or_none_of_them(tmp_path: Path) -> None:
    write(tmp_path / "brset", ROWS)
    photos(tmp_path / "brset", 6)
    samples, skipped = load_samples(tmp_path, brset(), SETTINGS)
    assert skipped == []
    assert {sample.sample_id: sample.answer for sample in samples} == ANSWERS
    assert {sample.answer_type for sample in samples} == {"labels"}
    groups = {sample.sample_id: sample.group for sample in samples}
    assert list(groups[f"brset:img{n}"] for n in range(1, 7)) == ["1", "1", "2", "2", "3", "NA"]
    (third,) = (sample for sample in samples if sample.sample_id == "brset:img3")
    assert third.image == "brset/fundus_photos/img3.jpg"


@pytest.mark.parametrize("table", ["labels_brset.csv", "labels.csv", "dataframe_brset.csv"])
@pytest.mark.parametrize(
    ("below", "folder"),
    [
        ("", "fundus_photos"),
        ("a/b/c", "images"),
        ("physionet.org/files/brazilian-ophthalmological/1.0.1", "photos"),
    ],
)
def test_every_name_and_place_of_the_files(
    table: str, below: str, folder: str, tmp_path: Path
) -> None:
    home = tmp_path / "brset" / below
    header = HEADER.replace("image_id", " Image_ID ").replace("amd", "AMD")
    write(home, ROWS, table, header.replace("Illuminaton", "iluminaton"))
    photos(home, 6, folder)
    samples, _ = load_samples(tmp_path, brset(), SETTINGS)
    assert {sample.sample_id: sample.answer for sample in samples} == ANSWERS


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".JPEG"])
def test_other_suffixes_of_images_are_found(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "brset", [*ROWS[:2], line(f"img3{suffix}", "2", 9)])
    photos(tmp_path / "brset", 3)
    for path in (tmp_path / "brset/fundus_photos").iterdir():
        path.rename(path.with_suffix(suffix))
    samples, skipped = load_samples(tmp_path, brset(), SETTINGS)
    assert skipped == []
    found = {sample.sample_id: sample.image for sample in samples}
    assert found["brset:img1"] == f"brset/fundus_photos/img1{suffix}"
    assert found["brset:img3"] == f"brset/fundus_photos/img3{suffix}"


def many(home: Path, patients: int) -> None:
    eyes = [(f"img{2 * n + eye}", str(n)) for n in range(patients) for eye in (1, 2)]
    write(home, [line(image, patient, 0) for image, patient in eyes])
    photos(home, 2 * patients)


def test_patients_stay_in_one_split(tmp_path: Path) -> None:
    many(tmp_path / "brset", 40)
    samples, _ = load_samples(tmp_path, brset(), SETTINGS)
    splits = [sample.split for sample in samples]
    assert {name: splits.count(name) for name in ("train", "val", "test")} == {
        "train": 56,
        "val": 8,
        "test": 16,
    }
    pairs = {(sample.group, sample.split) for sample in samples}
    assert len(pairs) == 40
    assert load_samples(tmp_path, brset(), SETTINGS)[0] == samples


def test_a_split_by_image_warns_that_fellow_eyes_leak(tmp_path: Path) -> None:
    many(tmp_path / "brset", 40)
    with pytest.warns(UserWarning, match="BRSET is divided by image.*other eye in train"):
        samples, _ = load_samples(tmp_path, brset(split_by="image"), SETTINGS)
    splits = [sample.split for sample in samples]
    assert (splits.count("val"), splits.count("test")) == (8, 16)
    assert len({(sample.group, sample.split) for sample in samples}) > 40
    with warnings.catch_warnings(), pytest.raises(DataError, match=r"benchmark\.split_by"):
        load_samples(tmp_path, brset(split_by=None), SETTINGS)


def test_everything_left_out_has_a_reason(tmp_path: Path) -> None:
    home = tmp_path / "brset"
    unreadable = line("img8", "4", 3).replace(",0,Adequate", ",,Adequate")
    extra = [line("img1", "1", 5), line("img7", "4", 3), unreadable, line("img9", " ", 1)]
    write(home, [*ROWS, *extra])
    photos(home, 9)
    (home / "fundus_photos/img7.jpg").unlink()
    truncate(home / "fundus_photos/img2.jpg")
    samples, skipped = load_samples(tmp_path, brset(), SETTINGS)
    assert reasons(skipped) == {
        "img1": "repeated row",
        "img7": "missing image",
        "img8": "unreadable label",
        "img9": "no patient",
        "brset:img2": "unreadable image",
    }
    assert len(samples) + len(skipped) == len(ROWS) + len(extra)


def test_what_is_missing_as_a_whole(tmp_path: Path) -> None:
    home = tmp_path / "brset"
    with pytest.raises(MissingData, match=r"no labels_brset\.csv or labels\.csv.*example\.org"):
        load_samples(tmp_path, brset(), SETTINGS)
    write(home, ROWS)
    with pytest.raises(MissingData, match=r"fundus_photos or images or photos.*example\.org"):
        load_samples(tmp_path, brset(), SETTINGS)
    photos(home, 1)
    write(home, ROWS, header=HEADER.replace("drusens", "drusen"))
    with pytest.raises(DataError, match=r"no column drusens"):
        load_samples(tmp_path, brset(), SETTINGS)
