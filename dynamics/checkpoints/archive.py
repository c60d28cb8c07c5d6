"""The two layouts of a ``torch.save`` file: a zip archive, and the one before torch 1.6.

Both are a pickle with the storages beside it. Loading ignores the checksums that an archive states
of its records: a hole of zeros inside a tensor would pass as weights. They are checked here; a file
of safetensors states none, and neither do files from before torch 1.6.
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import torch

from dynamics.checkpoints import safe_globals
from dynamics.checkpoints.tensors import Described
from dynamics.checkpoints.unpickling import SIZE_LIMIT, Foreign, Name, Unpickler

MAGIC = 0x1950A86A20F9469CFC6C

# What compressed storages of one file may come to; torch itself never compresses any.
UNPACKED_LIMIT = 2**32
_DIRECTORY_LIMIT = 2**26  # bytes of a zip directory: half a million tensors
_ALIGNED = 16
_NO_DIRECTORY = "the file is cut off: its zip directory is missing"


def unpickle(
    file: BinaryIO,
    tensors: Described,
    more: Mapping[tuple[str, str], Name] | None = None,
    states: Mapping[Any, Callable[[Any, Any], Any]] | None = None,
) -> tuple[Any, frozenset[str]]:
    """Read a pickle at the position of a file.

    Parameters
    ----------
    file : binary file
        At the beginning of the pickle.
    tensors : Described
        What makes tensors of their descriptions.
    more, states : mapping, optional
        Names beyond those that every checkpoint may mention, and how their objects take up a state.

    Returns
    -------
    tree : object
        What it holds.
    foreign : frozenset of str
        Dotted names that are in no table; stand-ins are in the tree for them.
    """
    names = _Names({**safe_globals.names(), **tensors.names(), **(more or {})})
    names.states.update(states or {})
    reader = Unpickler(file, names, names.states, tensors.persistent)
    tree = reader.load()
    foreign = Foreign(reader.foreign)
    foreign.called = reader.called
    return tree, foreign


class _Names(dict):
    """Names of a pickle; those of omegaconf are imported where a file mentions one."""

    def __init__(self, table: dict[tuple[str, str], Name]):
        super().__init__(table)
        self.states = dict(safe_globals.states())

    def get(self, key, default=None):
        found = super().get(key, default)
        if found is None and safe_globals.is_omegaconf(key[0]):
            self.update(safe_globals.omegaconf_names())
            self.states.update(safe_globals.state_of_omegaconf())
            found = super().get(key, default)
        return found


class ZipArchive:
    """A file of torch.save since torch 1.6."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._unpacked = 0
        _check_directory(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError):
            raise ValueError(_NO_DIRECTORY) from None
        if is_unchecked(self._zip):
            for record in self._zip.infolist():
                del record.CRC  # zipfile then compares with none
        found = [n for n in self._zip.namelist() if n.rpartition("/")[2] == "data.pkl"]
        if not found:
            raise ValueError("a zip archive, but not one of torch.save")
        self._pickle, self._root = found[0], found[0].removesuffix("data.pkl")

    def unpickle(self, tensors: Described) -> tuple[Any, frozenset[str]]:
        """Read what it holds; see `unpickle`."""
        with self._zip.open(self._pickle) as inside:
            raw = inside.read(SIZE_LIMIT + 1)
        if len(raw) > SIZE_LIMIT:
            raise ValueError(f"its pickle takes more than {SIZE_LIMIT >> 20} MiB")
        return unpickle(io.BytesIO(raw), tensors)

    def size(self, key: str) -> int | None:
        """Return the bytes of a storage, or None where there is no such storage."""
        info = self._info(key)
        return None if info is None else info.file_size

    def head(self, key: str, offset: int, width: int) -> bytes:
        """Return a few bytes of a storage."""
        with self._zip.open(self._root + f"data/{key}") as inside:
            inside.seek(offset)
            return inside.read(width)

    def storage(self, key: str, element: torch.dtype) -> torch.UntypedStorage:
        """Return a storage, mapped from the file where it is not compressed."""
        info = self._info(key)
        if info is None:
            raise ValueError(f"the file is cut off: storage {key} is missing")
        if info.compress_type == zipfile.ZIP_STORED:
            found = _region(self._buffer(), self._start(info), info.file_size)
        else:
            self._unpacked += info.file_size
            if self._unpacked > UNPACKED_LIMIT:
                raise ValueError(f"it unpacks to more than {UNPACKED_LIMIT >> 30} GiB")
            found = _region(bytearray(self._zip.read(info)), 0, info.file_size)
        if self._order() == b"big":
            found.byteswap(element)
        return found

    def _info(self, key: str) -> zipfile.ZipInfo | None:
        return self._zip.NameToInfo.get(self._root + f"data/{key}")

    def _order(self) -> bytes:
        info = self._zip.NameToInfo.get(self._root + "byteorder")
        return b"" if info is None or info.file_size > 10 else self._zip.read(info)

    def _start(self, info: zipfile.ZipInfo) -> int:
        self._file.seek(info.header_offset)
        header = self._file.read(30)
        if len(header) < 30 or header[:4] != b"PK\3\4":
            raise ValueError("its zip directory is damaged")
        name, extra = struct.unpack("<HH", header[26:30])
        return info.header_offset + 30 + name + extra

    def _buffer(self) -> Any:
        if not hasattr(self, "_mapped"):
            self._mapped = _mapped(self._file)
        return self._mapped


class LegacyArchive:
    """A file of torch.save before torch 1.6: the storages follow the pickles."""

    def __init__(self, file: BinaryIO):
        self._file = file
        file.seek(0)
        described = Described()
        magic, _ = unpickle(file, described)
        if magic != MAGIC:
            # A bare pickle: torch reads none, but its contents still tell what the file is.
            raise ValueError("a bare pickle, not a file of torch.save")
        unpickle(file, described)
        unpickle(file, described)
        self._begin = file.tell()
        self._places: dict[str, tuple[int, int]] = {}

    def unpickle(self, tensors: Described) -> tuple[Any, frozenset[str]]:
        """Read what it holds; see `unpickle`."""
        if not self._places:
            self._locate()
        self._file.seek(self._begin)
        return unpickle(self._file, tensors)

    def size(self, key: str) -> int | None:
        """Return the bytes of a storage, or None where there is no such storage."""
        return self._places.get(key, (0, None))[1]

    def head(self, key: str, offset: int, width: int) -> bytes:
        """Return a few bytes of a storage."""
        self._file.seek(self._places[key][0] + offset)
        return self._file.read(width)

    def storage(self, key: str, element: torch.dtype) -> torch.UntypedStorage:
        """Return a copy of a storage: it need not be aligned in the file."""
        start, size = self._places[key]
        here = self._file.tell()  # within the pickle, which goes on there
        self._file.seek(start)
        raw = bytearray(self._file.read(size))
        self._file.seek(here)
        return _region(raw, 0, size)

    def _locate(self) -> None:
        """Find where each storage begins; none is read."""
        described = Described()
        self._file.seek(self._begin)
        unpickle(self._file, described)
        keys, _ = unpickle(self._file, described)
        place = self._file.tell()
        for key in keys:
            size = described.storages[str(key)]
            self._places[str(key)] = place + 8, size
            place += 8 + size
        if self._places and place > self._file.seek(0, 2):
            raise ValueError("the file is cut off within its tensors")


def _check_directory(file: BinaryIO) -> None:
    """Refuse a zip directory that would take much memory before it is read."""
    end = file.seek(0, 2)
    file.seek(max(0, end - 65557))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 16:
        raise ValueError(_NO_DIRECTORY)
    (size,) = struct.unpack("<I", tail[at + 12 : at + 16])
    wide = tail.rfind(b"PK\6\6")
    if size == 0xFFFFFFFF and wide >= 0 and len(tail) >= wide + 48:
        (size,) = struct.unpack("<Q", tail[wide + 40 : wide + 48])
    if size > _DIRECTORY_LIMIT:
        raise ValueError(f"its zip directory takes more than {_DIRECTORY_LIMIT >> 20} MiB")


def _mapped(file: BinaryIO) -> Any:
    """Map a file, or copy one that is only in memory; changes stay here."""
    try:
        number = file.fileno()
    except (OSError, AttributeError):
        file.seek(0)
        return bytearray(file.read())
    return mmap.mmap(number, 0, access=mmap.ACCESS_COPY)


def _region(buffer: Any, start: int, size: int) -> torch.UntypedStorage:
    if not size:
        return torch.UntypedStorage(0)
    if start + size > len(buffer):
        raise ValueError("the file is cut off within its tensors")
    region = torch.frombuffer(buffer, dtype=torch.uint8, count=size, offset=start)
    if start % _ALIGNED:
        region = region.clone()
    return region.untyped_storage()


_PIECE = 2**22


def check_records(file: BinaryIO) -> None:
    """Compare every record of a zip archive with the CRC-32 that its directory states.

    It takes a second or two for each GB, about as long as the hash that names the content.

    Parameters
    ----------
    file : binary file
        A zip archive, seekable; its position is left where it was.

    Raises
    ------
    ValueError
        Where a record is damaged; it is named, and what helps is said. A file that was written
        without checksums (``torch.serialization.set_crc32_options(False)``) passes.
    """
    before = file.tell()
    try:
        with zipfile.ZipFile(file) as archive:
            for record in () if is_unchecked(archive) else archive.infolist():
                if record.compress_type != zipfile.ZIP_STORED:
                    _check_compressed(archive, record)
                elif _crc_of(file, record) != record.CRC:
                    raise _damaged(record)
    except zipfile.BadZipFile:
        raise ValueError("its zip directory is damaged") from None
    finally:
        file.seek(before)


def is_unchecked(archive: zipfile.ZipFile) -> bool:
    """Whether a file was written without checksums, as torch can be told to; all are 0 then."""
    return not any(record.CRC for record in archive.infolist())


def _crc_of(file: BinaryIO, record: zipfile.ZipInfo) -> int:
    file.seek(record.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\3\4":
        raise ValueError("its zip directory is damaged")
    name, extra = struct.unpack("<HH", header[26:30])
    file.seek(record.header_offset + 30 + name + extra)
    left, crc = record.file_size, 0
    while left and (piece := file.read(min(left, _PIECE))):
        crc = zlib.crc32(piece, crc)
        left -= len(piece)
    return crc


def _check_compressed(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    try:
        with archive.open(record) as inside:
            left = record.file_size  # no more than it states, whatever it unpacks to
            while left > 0 and (piece := inside.read(min(left, _PIECE))):
                left -= len(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise _damaged(record) from None


def _damaged(record: zipfile.ZipInfo) -> ValueError:
    return ValueError(
        f"its record {record.filename!r:.100} ({record.file_size} bytes) is damaged: its bytes do "
        "not have the CRC-32 that they were written with; copy the file again from where it came"
    )
