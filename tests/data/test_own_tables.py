"""Reading tables of one's own: both formats, the line of every row, and every way to be wrong."""

import csv
import gzip
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import data_config, reasons, save_jpeg

from jomed.catalogue import CorpusConfig, TableColumns
from jomed.data.corpora import table
from jomed.data.images import open_image
from jomed.data.sources import DataError, MissingData, divide
from jomed.records import Record, Skipped

HEADER = "id,image,text\n"


def corpus_config(path: str, columns: dict[str, str] | None = None, **changes: Any) -> CorpusConfig:
    values: dict[str, Any] = {
        "name": "own",
        "title": "Our archive",
        "loader": "table",
        "path": path,
        "url": "our own",
        "licence": "internal",
        "access": "credentialed",
        "expected": None,
        "columns": TableColumns(**(columns or {"id": "id", "image": "image", "text": "text"})),
    }
    return CorpusConfig(**(values | changes))


def load(root: Path, corpus: CorpusConfig) -> tuple[list[Record], list[Skipped]]:
    return divide(table.load(root, corpus, data_config()))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(3):
        save_jpeg(tmp_path / f"own/images/{seed}.jpg", seed)
    return tmp_path


def written(root: Path, content: str | bytes, name: str = "t.csv") -> CorpusConfig:
    data = content.encode() if isinstance(content, str) else content
    (root / "own" / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return corpus_config(f"own/{name}")


ROWS = [
    {"id": "a", "image": "images/0.jpg", "text": 'A "quoted", text\nof two lines.', "n": 1},
    {"id": "b", "image": "images/1.jpg", "text": "µ and \u2028 stay.", "n": 2},
]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.ndjson", "t.jsonl.gz"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_format_gives_the_same(root: Path, name: str, mark: str, end: str) -> None:
    if ".csv" in name:
        cells = [[str(value).replace('"', '""') for value in row.values()] for row in ROWS]
        lines = [" id ,image, text,n", *(",".join(f'"{cell}"' for cell in row) for row in cells)]
    else:
        lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    corpus = written(root, mark + end.join(lines), name)
    records, skipped = load(root, corpus)
    assert skipped == []
    assert [record.record_id for record in records] == ["own:a", "own:b"]
    assert [record.text for record in records] == ['A "quoted", text of two lines.', "µ and stay."]
    assert records[0].image == "own/images/0.jpg"
    assert open_image(records[0].image, root).size == (8, 8)


def test_what_is_not_said_has_a_default(root: Path) -> None:
    content = (
        "image,words,who,terms\nimages/0.jpg,Some text.,P1,CC0\nimages/1.jpg,Other text.,P1,x\n"
    )
    written(root, content)
    columns = {"image": "image", "text": "words"}
    (first, second), _ = load(root, corpus_config("own/t.csv", columns))
    assert (first.record_id, first.group, first.licence) == ("own:2", "own:2", "internal")
    assert (second.record_id, second.access, second.image_sha) == ("own:3", "credentialed", "")
    named = corpus_config("own/t.csv", {**columns, "group": "who", "licence": "terms"})
    assert [(r.group, r.licence) for r in load(root, named)[0]] == [("P1", "CC0"), ("P1", "x")]


def test_a_table_in_the_data_root_itself(root: Path) -> None:
    (root / "t.csv").write_text(HEADER + "a,own/images/0.jpg,Some text.\n")
    assert load(root, corpus_config("t.csv"))[0][0].image == "own/images/0.jpg"


def test_addresses_into_archives_and_over_folders(root: Path) -> None:
    with zipfile.ZipFile(root / "own/images.zip", "w") as archive:
        archive.write(root / "own/images/2.jpg", "d/2.jpg")
    save_jpeg(root / "other/3.jpg", 3)
    content = "a,images.zip::d/2.jpg,Some text.\nb,images/../../other/3.jpg,Some text.\n"
    records, skipped = load(root, written(root, HEADER + content))
    assert [record.image for record in records] == ["own/images.zip::d/2.jpg", "other/3.jpg"]
    assert all(open_image(record.image, root) for record in records)
    assert skipped == []


def test_every_row_that_is_left_out_says_why_and_where(root: Path) -> None:
    save_jpeg(root.parent / "secret.jpg")
    rows = [
        "a,images/0.jpg,Some text.",
        "",
        '"b","images/1.jpg","Two',
        'lines."',
        ",,",
        "c,images/1.jpg",
        "d,images/1.jpg,too,many",
        "e,,Some text.",
        ",images/1.jpg,Some text.",
        "f,images/9.jpg,Some text.",
        f"g,{root}/own/images/0.jpg,Some text.",
        "h,../../secret.jpg,Some text.",
        "i,images/1.jpg,  ",
        "j,images/1.jpg,CT.",
        f"k,{'x' * 400}.jpg,Some text.",
        "l,images,Some text.",
    ]
    records, skipped = load(root, written(root, HEADER + "\n".join(rows)))
    assert [record.record_id for record in records] == ["own:a", "own:b"]
    assert reasons(skipped) == {
        **dict.fromkeys(("7", "8"), "unreadable row"),
        **dict.fromkeys(("e", "10"), "empty cell"),
        **dict.fromkeys(("f", "k", "l"), "missing image"),
        **dict.fromkeys(("g", "h"), "image outside the data root"),
        **{"i": "empty text", "j": "short text"},
    }
    details = {item.item: item.detail for item in skipped}
    assert details["7"] == "t.csv, line 7: 2 cells below a header of 3"
    assert details["10"] == "t.csv, line 10: no id"
    assert details["f"] == "t.csv, line 11: own/images/9.jpg"
    assert details["h"] == "t.csv, line 13: ../../secret.jpg"
    assert details["j"] == "t.csv, line 15: 3 characters"


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ('{"id": [1], "image": "images/0.jpg", "text": "x"}', "no text or number in 'id'"),
        ('{"id": {}, "image": "images/0.jpg", "text": "x"}', "no text or number in 'id'"),
        ('{"id": 1, "image": null, "text": "x"}', "no text or number in 'image'"),
        ('{"id": 1, "image": "images/0.jpg"}', "no text or number in 'text'"),
        ('{"id": NaN, "image": "images/0.jpg", "text": "x"}', "no text or number in 'id'"),
        ('{"id": 1, "image": "images/0.jpg", "text": "\\ud800"}', "no text or number in 'text'"),
        (
            '{"id": 1, "id": 2, "image": "images/0.jpg", "text": "x"}',
            "not JSON: a key occurs twice",
        ),
        ('{"id": 1, "image"', "not JSON: Expecting ':' delimiter at character 18"),
        ("[" * 100_000, "not JSON: "),
        ('["a"]', "a list, not a JSON object"),
    ],
)
def test_json_rows_that_cannot_be_read(root: Path, line: str, detail: str) -> None:
    first = '{"id": "a", "image": "images/0.jpg", "text": "Some text."}'
    records, (skipped,) = load(root, written(root, f"{first}\n\n{line}\n", "t.jsonl"))
    assert len(records) == 1
    assert (skipped.item, skipped.reason) == ("3", "unreadable row")
    assert skipped.detail.startswith(f"t.jsonl, line 3: {detail}")


@pytest.mark.parametrize(
    ("value", "text"), [("7", "7"), ("2.5", "2.5"), ("true", "true"), ('" x "', "x")]
)
def test_json_values_are_spelt_as_in_json(root: Path, value: str, text: str) -> None:
    line = f'{{"id": {value}, "image": "images/0.jpg", "text": "Some text.", "more": [1]}}'
    (record,), _ = load(root, written(root, line, "t.jsonl"))
    assert record.record_id == f"own:{text}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "\ufeff\n", r"t\.csv is empty"),
        ("t.csv", HEADER, r"t\.csv has no rows"),
        ("t.jsonl", "\n \n", r"t\.jsonl, line 1: the file is empty"),
        (
            "t.csv",
            "id,image,txt\na,b,c\n",
            r"columns\.text of own is 'text'.*line 1 are id, image, "
            r"txt; did you mean 'txt'\?",
        ),
        ("t.csv", "\nid,image,Q\na,b,c\n", r"line 2 are id, image, Q; valid: Q, id, image"),
        ("t.jsonl", '{"id": 1, "image": "x", "txt": "y"}', r"line 1 are id, image, txt; did you"),
        ("t.csv", "A-1,a.png,A secret.\nA-2,b.png,x\n", r"line 1: none of its 3 cells is a column"),
        ("t.csv", HEADER.replace(",", ";") + "a;b;c\n", r"line 1: none of its 1 .*do commas sep"),
        ("t.csv", "id,image,text,id \n", r"t\.csv, line 1: column 'id' occurs twice"),
        ("t.csv", HEADER + 'a,b,c\nd,"e,f\ng,h,i\n', r"t\.csv, line 3: unexpected end of data"),
        ("t.csv", HEADER + 'a,"5" x,c\n', r"t\.csv, line 2: ',' expected after '\"'"),
        ("t.csv", HEADER + 'a,"' + "x" * 200_000 + '",c\n', r"line 2: field larger than"),
        ("t.csv", HEADER.replace("\n", "\r") + "a,b,c\r", r"line 1: new-line character"),
        ("t.csv", HEADER.encode() + b"a,b,caf\xe9\n", r"t\.csv, line 2: .*Save the table as UTF-8"),
        ("t.csv", HEADER.encode("utf-16"), r"t\.csv, line 1: .*Save the table as UTF-8"),
        ("t.jsonl", '[\n{"id": 1}\n]', r"t\.jsonl, line 1: not JSON: .*one JSON object per line"),
        ("t.jsonl", "[{}]", r"t\.jsonl, line 1: a list, not a JSON object"),
        ("t.tsv", "id\timage\n", r"t\.tsv: a table is called by one of \.csv, \.csv\.gz, \.jsonl"),
    ],
)
def test_tables_that_are_wrong_as_a_whole(
    root: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(root, written(root, content, name))


def test_tables_that_are_not_there_or_cut_short(root: Path) -> None:
    with pytest.raises(MissingData, match=r"absent\.csv is missing.*'path' of own"):
        load(root, corpus_config("own/absent.csv"))
    for path in ("../own/t.csv", "/etc/passwd.csv"):
        with pytest.raises(DataError, match="leaves the data root"):
            load(root, corpus_config(path))
    rows = "".join(f"{i},images/0.jpg,{os.urandom(40).hex()}\n" for i in range(2000))
    corpus = written(root, HEADER + rows, "t.csv.gz")
    path = root / "own/t.csv.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"cannot be read after line \d{3,}.*copy it again"):
        load(root, corpus)
    (root / "own/plain.csv.gz").write_text(HEADER)
    with pytest.raises(DataError, match="cannot be read after line 0"):
        load(root, corpus_config("own/plain.csv.gz"))


def test_rows_are_read_as_they_are_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = written(root, HEADER + "a,images/0.jpg,Some text.\n" * 5)
    taken = 0
    plain = csv.reader

    def counting(lines: Iterator[str], **options: Any) -> Any:
        def watched() -> Iterator[str]:
            nonlocal taken
            for line in lines:
                taken += 1
                yield line

        return plain(watched(), **options)

    monkeypatch.setattr(csv, "reader", counting)
    rows = table.load(root, corpus, data_config())
    next(rows)
    assert taken == 2
    assert len(list(rows)) == 4
