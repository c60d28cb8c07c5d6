"""Whether two files hold the same weights, by what their directories say: nothing is loaded."""

from __future__ import annotations

import filecmp
import os
import zipfile
from collections import Counter
from pathlib import Path

# Names that training loops give to a further copy of one of their checkpoints.
COPIES = ("best", "last", "final", "latest")


def same_weights(one: str | Path, other: str | Path) -> bool:
    """Tell whether two local files hold the same weights.

    Parameters
    ----------
    one, other : str or Path
        Files.

    Returns
    -------
    bool
        Of two archives of torch.save, whether all storages of one, by checksum and size, are in
        the other as well, which may have those of an optimiser beside them; of other files,
        whether they are equal byte for byte. False where that cannot be told.
    """
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        if not (os.path.isfile(one) and os.path.isfile(other)):
            return False
        first, second = _storages(one), _storages(other)
        if first is None or second is None:
            return first is second and filecmp.cmp(one, other, shallow=False)
        return bool(first and second) and (not first - second or not second - first)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _storages(path: str | Path) -> Counter[tuple[int, int]] | None:
    """Count checksums and sizes of an archive's storages; None where it is no archive."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return Counter(
            (each.CRC, each.file_size)
            for each in archive.infolist()
            if "data" in Path(each.filename).parts[:-1]
        )
