"""Files and folders that are whole wherever they bear their name."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".part"
"""How the names of what is not whole yet end."""


@contextlib.contextmanager
def replacing(path: str | Path, *, sync: bool = False) -> Iterator[Path]:
    """Write a file or folder beside its place, and put it there once it is whole.

    Parameters
    ----------
    path : str or Path
        Its place; folders above are made, and what is there is replaced.
    sync : bool
        Whether a file is on the disk before it bears its name, also where the power fails.

    Yields
    ------
    Path
        In the same folder, hidden, and nothing is there yet; it is gone after the block, also
        where that raises.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    beside = final.with_name(f".{final.name}{PARTIAL}")
    remove(beside)
    try:
        yield beside
        if sync:
            with open(beside, "rb+") as file:
                os.fsync(file.fileno())
        if beside.is_dir():
            remove(final)  # a folder replaces none that holds something
        os.replace(beside, final)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong before matters more
            remove(beside)
        raise


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
