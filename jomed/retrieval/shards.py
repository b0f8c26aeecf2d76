"""Vector files of an index: fp16 `.npy` shards, their manifest, and checked reading.

`index.json` is written last and lists every shard with its rows and SHA-256; without it, or with
a shard that is missing, short or altered, nothing is read.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from jomed.artifacts import atomic_write
from jomed.retrieval.encoders import FloatArray

MANIFEST_FILE = "index.json"
IDS_FILE = "record_ids.json"
FORMAT_VERSION = 1
_CHUNK_ROWS = 8192

IntArray = NDArray[np.int64]
HalfArray = NDArray[np.float16]


class IndexError_(RuntimeError):  # noqa: N801, N818 - must not hide the builtin IndexError
    """An index is absent, incomplete or damaged, or is asked for more than it holds."""


def vector_file(shard: int, head: str) -> str:
    """Name of the file with one shard's vectors for one head."""
    return f"shard-{shard:05d}.{head}.npy"


def file_sha(path: Path) -> str:
    """SHA-256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def write_vectors(path: Path, vectors: FloatArray) -> None:
    """Write (n, d) vectors as fp16 `.npy`, atomically."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, vectors.astype(np.float16), allow_pickle=False)


class Shards:
    """Memory-mapped vectors of both heads, row r of a head = record r of the ids file."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self.count, self.dim = int(manifest["count"]), int(manifest["dim"])
        self._starts = np.cumsum([0, *(shard["rows"] for shard in manifest["shards"])])
        self._arrays: dict[str, list[HalfArray]] = {
            head: [self._map(shard, head) for shard in manifest["shards"]]
            for head in ("text", "image")
        }
        if self._starts[-1] != self.count:
            raise self.damaged(f"its shards hold {self._starts[-1]} of {self.count} vectors")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read and check every file the manifest lists. Raises IndexError_."""
        path = folder / MANIFEST_FILE
        if not path.is_file():
            raise IndexError_(
                f"no complete index in {folder} ({MANIFEST_FILE} is absent): build it with "
                "build_index (notebook 03); an interrupted build continues where it stopped"
            )
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest.get("version") != FORMAT_VERSION:
            raise IndexError_(
                f"{path} has format version {manifest.get('version')}, this code reads "
                f"{FORMAT_VERSION}: delete the folder and build the index again"
            )
        return cls(folder, manifest)

    def record_ids(self) -> list[str]:
        """Record ids in row order."""
        path = self.checked(IDS_FILE, self.manifest["ids_sha256"])
        ids: list[str] = json.loads(path.read_text(encoding="utf-8"))
        if len(ids) != self.count:
            raise self.damaged(f"{IDS_FILE} lists {len(ids)} of {self.count} records")
        return ids

    def vectors(self, head: str, rows: IntArray) -> FloatArray:
        """Vectors of the given rows: int (...) -> float32 (..., d)."""
        flat = np.asarray(rows, dtype=np.int64).reshape(-1)
        if flat.size and (flat.min() < 0 or flat.max() >= self.count):
            raise IndexError_(f"row outside 0..{self.count - 1} asked of the index {self.folder}")
        found = np.empty((flat.size, self.dim), np.float32)
        shard_of = np.searchsorted(self._starts, flat, side="right") - 1
        for shard in np.unique(shard_of):
            here = shard_of == shard
            found[here] = self._arrays[head][shard][flat[here] - self._starts[shard]]
        return found.reshape(*np.shape(rows), self.dim)

    def chunks(self, head: str) -> Iterator[tuple[int, HalfArray]]:
        """Yield (first row, fp16 vectors) over the whole head, a few thousand rows at a time."""
        for start, array in zip(self._starts, self._arrays[head], strict=False):
            for offset in range(0, len(array), _CHUNK_ROWS):
                yield int(start) + offset, array[offset : offset + _CHUNK_ROWS]

    def checked(self, name: str, sha256: str) -> Path:
        """Path of a file of this index whose bytes are those that were written."""
        path = self.folder / name
        if not path.is_file():
            raise self.damaged(f"{name} is missing")
        if file_sha(path) != sha256:
            raise self.damaged(f"{name} is short or altered (its SHA-256 differs)")
        return path

    def damaged(self, what: str) -> IndexError_:
        """The error for a file that is not as the manifest says."""
        return IndexError_(
            f"index {self.folder}: {what}; run build_index (notebook 03) again, "
            "it makes anew only what is missing or damaged"
        )

    def _map(self, shard: Mapping[str, Any], head: str) -> HalfArray:
        name = vector_file(shard["number"], head)
        path = self.checked(name, shard[head])
        array: HalfArray = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.shape != (shard["rows"], self.dim) or array.dtype != np.float16:
            raise self.damaged(f"{name} holds {array.dtype} {array.shape}")
        return array
