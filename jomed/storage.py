"""Files and folders that appear whole or not at all, and are read only when complete."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

COMPLETE = "COMPLETE"
MANIFEST = "manifest.json"
EVENTS = "tensorboard"
"""A folder of an artefact that only shows its log: no part of its content, free to be removed."""
_TEMPORARY = ".tmp-"


class MissingArtifact(FileNotFoundError):  # noqa: N818 - says what happened
    """A needed artefact is absent or half-written; the message says how to make it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Artifact:
    """One folder of results; ``remedy`` is the text that tells a user how to make it."""

    path: Path
    name: str
    remedy: str

    def is_complete(self) -> bool:
        """Whether the folder was written to its end."""
        return (self.path / COMPLETE).is_file()

    def require(self) -> Path:
        """The folder's path; MissingArtifact if it is absent or was not written to its end."""
        if self.is_complete():
            return self.path
        state = "is half-written and will not be read" if self.path.exists() else "does not exist"
        raise MissingArtifact(f"{self.name}: {self.path} {state}. {self.remedy}")

    def manifest(self) -> dict[str, Any]:
        """Provenance, time and {file: {bytes, sha256}} of a complete artefact."""
        text = (self.require() / MANIFEST).read_text(encoding="utf-8")
        manifest: dict[str, Any] = json.loads(text)
        return manifest

    @contextlib.contextmanager
    def writing(self, **provenance: object) -> Iterator[Path]:
        """Yield an empty folder that takes the artefact's place when the block ends without error.

        After an error or a kill, nothing at ``path`` can be read and an earlier complete version
        stays as it was. ``provenance`` (JSON values) goes into the manifest.
        """
        folder = self._beside("writing")
        folder.mkdir(parents=True)
        try:
            yield folder
            self._publish(folder, provenance)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def resuming(self, **provenance: object) -> Iterator[Path]:
        """Like ``writing``, but what an interrupted block left is kept and yielded again.

        For work that can continue from its own files, one process at a time: a second one gets a
        RuntimeError.
        """
        folder = self.path.parent / f".{self.path.name}.unfinished"
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(folder.with_suffix(".lock"), wait=False))
            except BlockingIOError:
                raise RuntimeError(f"{self.name}: another process is writing {folder}") from None
            # A process that ended between our two steps may have published the folder.
            folder.mkdir(exist_ok=True)
            yield folder
            self._publish(folder, provenance)

    def _beside(self, purpose: str) -> Path:
        return self.path.parent / f".{self.path.name}.{purpose}-{uuid.uuid4().hex[:8]}"

    def _publish(self, folder: Path, provenance: dict[str, object]) -> None:
        for leftover in folder.rglob(f"{_TEMPORARY}*"):
            leftover.unlink()
        files = {
            str(file.relative_to(folder)): {"bytes": file.stat().st_size, "sha256": _sync(file)}
            for file in sorted(folder.rglob("*"))
            if file.is_file() and file != folder / MANIFEST and folder / EVENTS not in file.parents
        }
        content = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        manifest = {
            "name": self.name,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "provenance": provenance,
            "content": content,
            "files": files,
        }
        with atomic_write(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if self.path.exists():
            old = self._beside("replaced")
            os.replace(self.path, old)
            shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, self.path)
        with atomic_write(self.path / COMPLETE) as temporary:
            temporary.write_text(f"{content}\n", encoding="utf-8")


@contextlib.contextmanager
def locked(path: Path, wait: bool) -> Iterator[None]:
    """Hold the lock file ``path``, which is free again when its process ends, even by a kill.

    Where another process holds it: wait for it, or raise BlockingIOError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sync(file: Path) -> str:
    """Flush a file to disk and return its SHA-256."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()
