"""Zip files of millions of images: the standard library takes 700 bytes for each of them, this 40.

Only what such archives hold is read: files, stored or deflated, not encrypted, in one part.
"""

import os
import struct
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile

import numpy as np

from jomed.data.names import NameIndex
from jomed.data.pixels import check_bytes

# Records of the format, named as in its specification (APPNOTE 4.3.7, 4.3.12 to 4.3.16).
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCATOR64 = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LONGEST_COMMENT = 65_535
_IN_EXTRA = 0xFFFFFFFF  # a number that did not fit and stands in the extra field
_ENCRYPTED, _UTF8 = 0x1, 0x800
# What following damaged numbers and names ends in.
_NONSENSE = (OSError, OverflowError, ValueError, struct.error, RuntimeError)


class Member(NamedTuple):
    """A file in an archive: its name, where its local record is, how it is packed, its checksum."""

    name: str
    offset: int
    packed: int
    size: int
    method: int
    flags: int
    crc: int


def list_members(path: Path) -> Iterator[Member]:
    """The members of a zip file in the order of its directory; BadZipFile where it is broken."""
    with path.open("rb") as file:
        try:
            count, start = _directory(file)
            file.seek(start)
            for _ in range(count):
                yield _read_entry(file)
        except _NONSENSE as error:
            raise BadZipFile(f"the directory is broken ({error})") from error


class ZipIndex:
    """Reads members of a zip file by name; threads and processes may share one.

    Names are kept as in `NameIndex`.
    """

    def __init__(self, path: Path) -> None:
        """Read the directory of the archive; BadZipFile where it is broken."""
        hashes, numbers = array("q"), array("Q")
        for name, *values in list_members(path):
            hashes.append(hash(name))
            numbers.extend(values)
        # The last of several members with one name counts, as in the standard library.
        self._names = NameIndex(np.array(hashes, dtype=np.int64)[::-1])
        rows = np.array(numbers, dtype=np.uint64).reshape(-1, len(Member._fields) - 1)
        self._members = rows[::-1][self._names.first]
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises KeyError for a name that is not there, ValueError for a member that is packed in
        another way or declares more than MAX_BYTES, and BadZipFile for a broken one.
        """
        row = self._names.row(name)
        if row is None:
            raise KeyError(f"no {name!r} in {self._path.name}")
        member = Member(name, *map(int, self._members[row]))
        check_bytes(max(member.size, member.packed))
        if member.flags & _ENCRYPTED or member.method not in (ZIP_STORED, ZIP_DEFLATED):
            raise ValueError(f"{name} is encrypted or packed by method {member.method}")
        # pread: there is no file position that readers beside one another could disturb
        head = os.pread(self._descriptor, _LOCAL.size, member.offset)
        if len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
            raise BadZipFile(f"{name} is not where the directory says")
        *_, name_length, extra_length = _LOCAL.unpack(head)
        start = member.offset + _LOCAL.size + name_length + extra_length
        return _unpack(os.pread(self._descriptor, member.packed, start), member)


def _unpack(data: bytes, member: Member) -> bytes:
    if member.method == ZIP_DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        except zlib.error as error:
            raise BadZipFile(f"{member.name}: {error}") from error
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise BadZipFile(f"{member.name} is damaged: its length or its checksum is wrong")
    return data


def _directory(file: IO[bytes]) -> tuple[int, int]:
    """Number of members and start of the central directory."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(start)
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < _END.size:
        raise BadZipFile("no end record: the file is cut short or no zip file")
    _, part, _, _, count, _, offset, _ = _END.unpack_from(tail, place)
    locator = start + place - _LOCATOR64.size
    if locator >= 0:
        file.seek(locator)
        sign, _, end64, _ = _LOCATOR64.unpack(file.read(_LOCATOR64.size))
        if sign == b"PK\6\7":
            file.seek(end64)
            *_, count, _, offset = _END64.unpack(_exactly(file, _END64.size, b"PK\6\6"))
            return count, offset
    if part:
        raise BadZipFile("one part of several")
    return count, offset


def _read_entry(file: IO[bytes]) -> Member:
    values = _CENTRAL.unpack(_exactly(file, _CENTRAL.size, b"PK\1\2"))
    flags, method, crc, packed, size, offset = (values[place] for place in (3, 4, 7, 8, 9, 16))
    name_length, extra_length, comment_length = values[10:13]
    name = file.read(name_length).decode("utf-8" if flags & _UTF8 else "cp437")
    extra = file.read(extra_length)
    file.seek(comment_length, os.SEEK_CUR)
    if _IN_EXTRA in (size, packed, offset):
        size, packed, offset = _large_numbers(extra, size, packed, offset)
    return Member(name, offset, packed, size, method, flags, crc)


def _large_numbers(extra: bytes, *numbers: int) -> Iterator[int]:
    """The numbers with those that did not fit replaced, in their order, from the extra field."""
    while extra:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            large = iter(struct.unpack(f"<{length // 8}Q", extra[4 : 4 + length // 8 * 8]))
            return (next(large) if number == _IN_EXTRA else number for number in numbers)
        extra = extra[4 + length :]
    raise BadZipFile("a large number is missing from the directory")


def _exactly(file: IO[bytes], size: int, sign: bytes) -> bytes:
    data = file.read(size)
    if len(data) < size or data[:4] != sign:
        raise BadZipFile("the directory is broken")
    return data
