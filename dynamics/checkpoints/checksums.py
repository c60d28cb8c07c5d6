"""The checksums that a torch.save file states of its own records.

Loading ignores them: a hole of zeros inside a tensor would pass as weights. A file of safetensors
states none, and neither do files from before torch 1.6; of those only the length is known.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import BinaryIO

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
