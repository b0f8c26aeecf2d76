"""Files and folders appear whole or not at all, whatever ends the writer."""

import hashlib
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from jomed.storage import EVENTS, Artifact, MissingArtifact, atomic_write


@pytest.fixture
def made(tmp_path: Path) -> Artifact:
    return Artifact(tmp_path / "stage" / "thing-0123", "thing", "Run the notebook.")


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_finished_block_makes_a_readable_artefact(made: Artifact) -> None:
    assert not made.is_complete()
    with made.writing(skipped=2, source="roco") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a.txt").write_text("abc")
        assert not made.path.exists()
    assert made.is_complete()
    assert made.require() == made.path
    manifest = made.manifest()
    assert manifest["provenance"] == {"skipped": 2, "source": "roco"}
    sha = hashlib.sha256(b"abc").hexdigest()
    assert manifest["files"] == {"deep/a.txt": {"bytes": 3, "sha256": sha}}
    assert contents(made.path.parent) == {made.path.name}


def test_event_files_are_no_part_of_the_content(made: Artifact) -> None:
    hashes = []
    for text in ("10:00", "10:05"):
        with made.writing() as folder:
            (folder / "a.txt").write_text("abc")
            (folder / EVENTS / "run").mkdir(parents=True)
            (folder / EVENTS / "run" / "events").write_text(text)
        assert (made.path / EVENTS / "run" / "events").read_text() == text
        hashes.append(made.manifest()["content"])
        assert list(made.manifest()["files"]) == ["a.txt"]
    assert hashes[0] == hashes[1]


def fail_after_writing(block: AbstractContextManager[Path], name: str = "") -> None:
    with block as target:
        (target / name).write_text("second")
        raise ZeroDivisionError


@pytest.mark.parametrize("before", [None, "first"])
def test_an_error_leaves_what_was_there(made: Artifact, before: str | None) -> None:
    if before is not None:
        with made.writing() as folder:
            (folder / "a.txt").write_text(before)
    with pytest.raises(ZeroDivisionError):
        fail_after_writing(made.writing(), "a.txt")
    assert made.is_complete() == (before is not None)
    assert contents(made.path.parent) == ({made.path.name} if before else set())
    if before is not None:
        assert (made.require() / "a.txt").read_text() == before


def test_a_second_writing_replaces_the_first(made: Artifact) -> None:
    for text in ("first", "second"):
        with made.writing() as folder:
            (folder / f"{text}.txt").write_text(text)
    assert contents(made.require()) == {"second.txt", "manifest.json", "COMPLETE"}
    assert contents(made.path.parent) == {made.path.name}


_WRITER = """
import sys, time
from pathlib import Path
from jomed.artifacts import Artifact
made = Artifact(Path(sys.argv[1]), "thing", "Run the notebook.")
with getattr(made, sys.argv[2])() as folder:
    (folder / "a.txt").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def killed_in(method: str, made: Artifact) -> None:
    """Kill -9 a process in the middle of its block."""
    command = [sys.executable, "-c", _WRITER, str(made.path), method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_a_killed_writer_leaves_nothing_readable(made: Artifact) -> None:
    killed_in("writing", made)
    assert not made.path.exists()
    with pytest.raises(MissingArtifact, match="does not exist"):
        made.require()
    with made.writing() as folder:
        assert contents(folder) == set()
    assert made.is_complete()


def test_a_killed_resumable_writer_is_continued(made: Artifact) -> None:
    killed_in("resuming", made)
    with pytest.raises(MissingArtifact, match="does not exist"):
        made.require()
    with made.resuming() as folder:
        assert (folder / "a.txt").read_text() == "half"
        (folder / "a.txt").write_text("whole")
    assert (made.require() / "a.txt").read_text() == "whole"
    with made.resuming() as folder:
        assert contents(folder) == set()


def test_a_second_resumable_writer_is_refused(made: Artifact) -> None:
    with made.resuming():
        with pytest.raises(RuntimeError, match="another process is writing"), made.resuming():
            pass
        assert not made.path.exists()
    assert made.is_complete()


def test_a_half_written_folder_is_absent(made: Artifact) -> None:
    with made.writing() as folder:
        (folder / "a.txt").write_text("x")
    (made.path / "COMPLETE").unlink()
    assert not made.is_complete()
    for read in (made.require, made.manifest):
        with pytest.raises(MissingArtifact, match=r"thing: .* is half-written .*Run the notebook"):
            read()
    with made.writing():
        pass
    assert contents(made.require()) == {"manifest.json", "COMPLETE"}


def test_content_hash_depends_on_the_files_alone(tmp_path: Path) -> None:
    hashes = []
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        made = Artifact(tmp_path / name, name, "")
        with made.writing(who=name) as folder:
            (folder / "f").write_text(text)
        hashes.append(made.manifest()["content"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_atomic_write_replaces_or_leaves(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with atomic_write(path) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("old")
    with pytest.raises(ZeroDivisionError):
        fail_after_writing(atomic_write(path))
    assert path.read_text() == "old"
    assert contents(path.parent) == {"table.csv"}


def test_leftovers_of_atomic_writes_are_not_published(made: Artifact) -> None:
    with made.resuming() as folder:
        writer = atomic_write(folder / "shard.npy")
        writer.__enter__().write_text("half")
        assert len(contents(folder)) == 1
    assert made.manifest()["files"] == {}
    assert contents(made.path) == {"manifest.json", "COMPLETE"}
    del writer
