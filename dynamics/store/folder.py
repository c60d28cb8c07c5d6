"""A store in a folder of this machine, where anything may lie: pipes, devices, rings of links."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore


class Folder(LocalStore):
    """zarr's own store, but for what is no file: nothing waits for a pipe or reads a device."""

    async def get(self, key: str, *given: Any, **named: Any) -> Buffer | None:
        """Return what is under a key; a ValueError where it is no file."""
        check_regular(self.root / key)
        return await super().get(key, *given, **named)

    def get_sync(self, key: str, *given: Any, **named: Any) -> Buffer | None:
        """Return what is under a key, for versions of zarr that ask in this way."""
        check_regular(self.root / key)
        found: Buffer | None = super().get_sync(key, *given, **named)
        return found

    async def delete(self, key: str) -> None:
        """Remove what is under a key; of a link only the link."""
        if os.path.islink(self.root / key):
            os.unlink(self.root / key)
        else:
            await super().delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Remove what is below a prefix, of links only the links."""
        if os.path.islink(self.root / prefix):
            os.unlink(self.root / prefix)
        else:
            await super().delete_dir(prefix)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield names below a prefix, without links to what they are in."""
        async for name in super().list_dir(prefix):
            if not is_ring(self.root / prefix, name):
                yield name


def check_regular(path: Path) -> None:
    """Raise a ValueError if a path is neither a file, a folder nor nothing.

    Parameters
    ----------
    path : Path
        Any path.

    Raises
    ------
    ValueError
        If it is a pipe, a socket, a device, or a link in a ring.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{path} is a link to itself") from None
        return  # whoever reads it says what is amiss
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{path} is a pipe, a socket or a device")


def is_ring(folder: Path, name: str) -> bool:
    """Whether a name in a folder is a link to nothing, to that folder or to one above it."""
    path = folder / name
    if not os.path.islink(path):
        return False
    if not os.path.exists(path):
        return True
    real = os.path.realpath(path)
    return f"{os.path.realpath(folder)}{os.sep}".startswith(f"{real.rstrip(os.sep)}{os.sep}")
