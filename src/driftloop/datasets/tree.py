"""A data set on disk as one tree of names, whether it is a folder or a zip, with zips inside looked into.

Only what the listing found can be read: a name that comes from a label file or a zip is looked up, never joined to a
path, so nothing in the data leads outside its root. A `Member` says where the bytes of one file lie and holds nothing
open: it can be read by many threads at once, after a fork, and in a process that it was sent to.
"""

from __future__ import annotations

import os
import posixpath
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from io import SEEK_CUR, SEEK_END, BufferedReader, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from driftloop.core.errors import DriftloopError, nearest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

JUNK = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints"})
LARGEST_FILE = 2**29
"""Bytes that one picture or label file may have: far more than any has, far less than memory."""
DEEPEST_ZIP = 4
"""Levels of zips inside zips that are looked into."""
BLOCK = 2**20
LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a zip member: signature, length of the name, length of the extra field (APPNOTE 4.3.7)."""


class DataError(DriftloopError, ValueError):
    """A data set is not what its loader can read; says what was found and what is allowed."""


@dataclass(frozen=True, slots=True)
class Span:
    """`size` bytes of a file from `start`: a whole file, or a zip stored uncompressed inside another."""

    file: Path
    start: int
    size: int

    def open(self) -> BinaryIO:
        return BufferedReader(_Window(self))


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A file of a folder."""

    name: str
    size: int
    file: Path

    def read(self) -> bytes:
        _check_readable(self)
        with _named(self.name):
            return self.file.read_bytes()

    def head(self, count: int) -> bytes:
        """At most the first `count` bytes."""
        with _named(self.name), self.file.open("rb") as stream:
            return stream.read(count)

    def span(self) -> Span:
        return Span(self.file, 0, self.size)


@dataclass(frozen=True, slots=True)
class Zipped:
    """A file of a zip, with what the zip's directory says of it. An `archive` that is `Zipped` is compressed itself."""

    name: str
    size: int
    archive: Span | Zipped
    header: int
    packed_size: int
    method: int
    crc: int
    encrypted: bool

    def read(self) -> bytes:
        _check_readable(self)
        with _named(self.name):
            return b"".join(self.blocks())

    def head(self, count: int) -> bytes:
        """At most the first `count` bytes, unchecked: fewer when they are damaged."""
        _check_unpackable(self)
        with _named(self.name), self._outer().open() as stream:
            self._seek_data(stream)
            packed = stream.read(min(self.packed_size, count + 1024))
        return b"".join(_inflated(iter([packed]), self.method, count - 1))[:count]

    def blocks(self) -> Iterator[bytes]:
        """The unpacked bytes, checked against the size and the checksum of the zip's directory."""
        _check_unpackable(self)
        crc = done = 0
        for block in _inflated(self._packed_blocks(), self.method, self.size):
            crc, done = zlib.crc32(block, crc), done + len(block)
            yield block
        if (done, crc) != (self.size, self.crc):
            raise DataError(f"{self.name}: damaged in its zip (size or checksum differ); unpack or download it again")

    def span(self) -> Span:
        """Where the bytes lie: in place when stored, else unpacked to a temporary file, once for each process."""
        if self.method != zipfile.ZIP_STORED:
            return _unpacked(self)
        outer = self._outer()
        with outer.open() as stream:
            return Span(outer.file, outer.start + self._seek_data(stream), self.size)

    def _outer(self) -> Span:
        return self.archive if isinstance(self.archive, Span) else self.archive.span()

    def _packed_blocks(self) -> Iterator[bytes]:
        with self._outer().open() as stream:
            self._seek_data(stream)
            left = self.packed_size
            while left and (block := stream.read(min(left, BLOCK))):
                left -= len(block)
                yield block

    def _seek_data(self, stream: BinaryIO) -> int:
        stream.seek(self.header)
        head = stream.read(LOCAL_HEADER.size)
        if len(head) < LOCAL_HEADER.size or head[:4] != b"PK\x03\x04":
            raise DataError(f"{self.name}: damaged in its zip (no header where the directory says)")
        _, name_length, extra_length = LOCAL_HEADER.unpack(head)
        return stream.seek(name_length + extra_length, SEEK_CUR)


Member = PlainFile | Zipped


class Tree:
    """The files of a folder or zip, by posix name relative to it. A zip inside appears as a folder without `.zip`."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        if not self.root.exists():
            raise DataError(f"no data set at {self.root}: the root must be an existing folder or .zip file")

    @cached_property
    def members(self) -> Mapping[str, Member]:
        """Every file by name, in the order of names."""
        found: dict[str, Member] = {}
        listing = _folder(self.root.resolve()) if self.root.is_dir() else _root_zip(self.root.resolve())
        with _named(str(self.root)):
            for member in listing:
                same = found.setdefault(member.name, member)
                if same.size != member.size:
                    sizes = f"{same.size} and {member.size} bytes"
                    raise DataError(f"{member.name} is there twice, with {sizes}; remove one")
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        return list(self.members)

    def member(self, name: str) -> Member:
        try:
            return self.members[name]
        except KeyError:
            raise DataError(f"no file {name!r} in {self.root}.{nearest(name, self.members)}") from None

    def size(self, name: str) -> int:
        return self.member(name).size

    def read(self, name: str) -> bytes:
        return self.member(name).read()


def inside(name: str, folder: str = "") -> str:
    """The name in a tree that `name`, written in a file of `folder`, points to; refused when that leaves the tree."""
    posix = name.strip().replace("\\", "/")
    joined = posixpath.normpath(posixpath.join(folder, posix))
    if not posix or "\0" in name or _absolute(posix) or joined.split("/")[0] in {"..", "."}:
        raise DataError(f"{name!r} leads outside the data set; only names inside it are allowed")
    return joined


def some(names: Iterable[str], shown: int = 5) -> str:
    """ "12: a.jpg, b.jpg, …": how many, with examples."""
    listed = sorted(names)
    return f"{len(listed)}: {', '.join(listed[:shown])}{', …' if len(listed) > shown else ''}"


class _Window(RawIOBase):
    """The bytes of a span as a file of their own."""

    def __init__(self, span: Span) -> None:
        self._span, self._position, self._file = span, 0, span.file.open("rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._span.size}[whence]
        if base + offset < 0:
            raise OSError("seek before the start of a file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)[: max(0, self._span.size - self._position)]
        self._file.seek(self._span.start + self._position)
        count = self._file.readinto(view) or 0
        self._position += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _folder(root: Path, folder: Path | None = None, above: tuple[Path, ...] = ()) -> Iterator[Member]:
    folder = folder or root
    if folder.resolve() in above:
        raise DataError(f"{folder} links to a folder that holds it")
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if _is_junk(entry.name):
                continue
            if entry.is_symlink():
                _check_link(root, Path(entry.path))
            if entry.is_dir():
                yield from _folder(root, Path(entry.path), (*above, folder.resolve()))
            elif entry.is_file():
                name = Path(entry.path).relative_to(root).as_posix()
                yield from _or_inside(PlainFile(name, entry.stat().st_size, Path(entry.path)), depth=0)


def _root_zip(root: Path) -> Iterator[Member]:
    if root.suffix.lower() != ".zip" or not root.is_file():
        raise DataError(f"{root} is neither a folder nor a .zip file")
    return _zip(Span(root, 0, root.stat().st_size), archive=None, folder="", depth=1, called=root.name)


def _zip(span: Span, archive: Zipped | None, folder: str, depth: int, called: str) -> Iterator[Member]:
    """`archive` is set when the zip is compressed inside another one, so that another process can unpack it again."""
    if depth > DEEPEST_ZIP:
        raise DataError(f"{called}: zips inside zips deeper than {DEEPEST_ZIP} levels are not looked into; unpack it")
    for info in _directory(span, called):
        name = info.filename.replace("\\", "/")
        if _absolute(name) or ".." in name.split("/"):
            raise DataError(f"{called} holds {info.filename!r}, which leads outside it; the zip is refused")
        if name.endswith("/") or any(map(_is_junk, name.split("/"))):
            continue
        packed = (info.header_offset, info.compress_size, info.compress_type, info.CRC, bool(info.flag_bits & 1))
        joined = posixpath.normpath(posixpath.join(folder, name))
        yield from _or_inside(Zipped(joined, info.file_size, archive or span, *packed), depth)


def _or_inside(member: Member, depth: int) -> Iterator[Member]:
    """The file itself, or what is in it when it is a zip that can be looked into."""
    locked = isinstance(member, Zipped) and member.encrypted
    if not member.name.lower().endswith(".zip") or locked:
        yield member
        return
    deflated = member if isinstance(member, Zipped) and member.method != zipfile.ZIP_STORED else None
    yield from _zip(member.span(), deflated, member.name[: -len(".zip")], depth + 1, member.name)


def _directory(span: Span, called: str) -> list[zipfile.ZipInfo]:
    try:
        with span.open() as stream, zipfile.ZipFile(stream) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        raise DataError(f"{called} is not a readable zip ({error}); remove it or download it again") from error


def _inflated(blocks: Iterator[bytes], method: int, size: int) -> Iterator[bytes]:
    """The blocks unpacked, never more than one byte beyond the announced size."""
    if method == zipfile.ZIP_STORED:
        yield from blocks
        return
    inflate, left = zlib.decompressobj(-zlib.MAX_WBITS), size + 1
    for packed in blocks:
        waiting = packed
        while waiting and left:
            try:
                block = inflate.decompress(waiting, min(left, BLOCK))
            except zlib.error:
                return  # the caller compares size and checksum
            waiting, left = inflate.unconsumed_tail, left - len(block)
            yield block


@cache
def _unpacked(member: Zipped) -> Span:
    handle, path = tempfile.mkstemp(dir=_temporary().name)
    with os.fdopen(handle, "wb") as file:
        file.writelines(member.blocks())
    return Span(Path(path), 0, member.size)


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="driftloop-")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turns what the system says of a file (gone, not permitted, a failing disk) into an error that names it."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error}") from error


def _check_readable(member: Member) -> None:
    if member.size > LARGEST_FILE:
        raise DataError(f"{member.name} has {member.size} bytes; at most {LARGEST_FILE} are read into memory")


def _check_unpackable(member: Zipped) -> None:
    if member.encrypted:
        raise DataError(f"{member.name} is encrypted: unpack its zip with your password, then remove the zip")
    if member.method not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise DataError(f"{member.name} is packed by method {member.method}, not stored or deflated: unpack its zip")


def _check_link(root: Path, link: Path) -> None:
    if not link.resolve().is_relative_to(root):
        raise DataError(f"{link} is a link out of the data set; put the files themselves there")


def _absolute(name: str) -> bool:
    return name.startswith("/") or name[1:3] == ":/"


def _is_junk(part: str) -> bool:
    return part in JUNK or part.startswith("._")
