"""Find the checkpoints of a run and put them in the order of training."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dynamics.checkpoints.formats import (
    NO_WEIGHTS,
    SUFFIXES,
    recognise,
    recognise_folder,
    step_from_name,
)
from dynamics.checkpoints.peek import peek

logger = logging.getLogger(__name__)

# Where training loops put their checkpoints below the folder that people name.
LAYOUTS = ("checkpoints", "ckpts", "ckpt", "save", "lightning_logs/version_*/checkpoints")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a run.

    Attributes
    ----------
    step : int
        Number of updates before it was saved.
    uri : str
        Local path or URL of the file or folder.
    bytes : int
        Size of the file, or of all files of the folder.
    modified : float
        Seconds since 1970; 0 where the storage does not say.
    format : str
        ``lightning``, ``s3prl``, ``fairseq``, ``safetensors``, ``torch``, ``huggingface``,
        ``speechbrain``, ``torch-distributed``, ``folder`` or ``unreadable``.
    note : str
        What a reader should know: a name that disagrees, a duplicate, why it cannot be read.
    """

    step: int
    uri: str
    bytes: int
    modified: float
    format: str
    note: str = ""


def find(source: str | Path, *, duplicates: str = "newer") -> list[Checkpoint]:
    """Find the checkpoints of a source, in the order of training.

    Parameters
    ----------
    source : str or Path
        A folder of checkpoints.
    duplicates : {"newer", "older", "error"}
        Which of two checkpoints of one step is used; the other is named in the note.

    Returns
    -------
    list of Checkpoint
        Sorted by step, one a step. A damaged file whose name states a step is listed as
        ``unreadable``, so that it becomes a row and not a gap.

    Raises
    ------
    FileNotFoundError
        Where the source does not exist or holds no checkpoint.
    ValueError
        Where no checkpoint states its step, or `duplicates` is ``"error"`` and there are some.
    """
    folder = Path(source).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {str(source)!r}")
    found = list(_in_folder(folder))
    if not found:
        for layout in LAYOUTS:
            for inner in sorted(folder.glob(layout)):
                found += _in_folder(inner)
    if not found:
        raise FileNotFoundError(
            f"there are no checkpoints in {str(source)!r}: looked for files ending in "
            f"{', '.join(SUFFIXES)} and for checkpoint folders, there and in "
            f"{', '.join(LAYOUTS)}"
        )
    return arrange(found, duplicates)


def arrange(found: list[Checkpoint], duplicates: str = "newer") -> list[Checkpoint]:
    """Sort checkpoints by step and keep one of each step."""
    if duplicates not in ("newer", "older", "error"):
        raise ValueError(f"duplicates must be newer, older or error, not {duplicates!r}")
    by_step: dict[int, list[Checkpoint]] = {}
    for checkpoint in found:
        by_step.setdefault(checkpoint.step, []).append(checkpoint)
    return [_one_of(by_step[step], duplicates) for step in sorted(by_step)]


def _one_of(same: list[Checkpoint], duplicates: str) -> Checkpoint:
    if len(same) == 1:
        return same[0]
    if duplicates == "error":
        names = " and ".join(repr(checkpoint.uri) for checkpoint in same)
        raise ValueError(
            f"step {same[0].step} has {len(same)} checkpoints, {names}: remove one, or set "
            "`duplicates` to newer or older"
        )
    # A readable file before a damaged one; of the same age, the one that has the step in its name.
    ranked = sorted(
        same,
        key=lambda c: (
            c.format != "unreadable",
            c.modified if duplicates == "newer" else -c.modified,
            step_from_name(_last(c.uri)) == c.step,
            c.uri,
        ),
    )
    *others, best = ranked
    text = "step also in " + ", ".join(repr(_last(c.uri)) for c in others) + f" ({duplicates} used)"
    logger.warning("step %d: %r is used, %s", best.step, best.uri, text)
    return replace(best, note="; ".join(filter(None, (best.note, text))))


def _in_folder(folder: Path) -> Iterator[Checkpoint]:
    """Checkpoints directly in a folder, files and subfolders; the folder itself where it is one."""
    if folder.is_file():
        yield from filter(None, [_from_file(folder)])
        return
    itself = _from_folder(folder)
    if itself is not None and itself.format != "folder":
        yield itself
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_file, is_folder = entry.is_file(), entry.is_dir()
            except OSError:  # a symlink that points at itself
                continue
            if is_file and entry.name.lower().endswith(SUFFIXES):
                checkpoint = _from_file(Path(entry.path))
            elif is_folder:
                checkpoint = _from_folder(Path(entry.path))
            else:
                continue
            if checkpoint is not None:
                yield checkpoint


def _from_file(path: Path) -> Checkpoint | None:
    if NO_WEIGHTS.fullmatch(path.name):
        return None
    named = step_from_name(path.name)
    status = path.stat()
    note = ""
    inside = None
    try:
        with path.open("rb") as file:
            kind, inside = recognise(peek(file))
    except (OSError, ValueError) as error:
        kind, note = "unreadable", getattr(error, "strerror", None) or str(error)
    if not kind:
        logger.debug("%s holds no weights", path)
        return None
    return _placed(str(path), inside, named, status.st_size, status.st_mtime, kind, note)


def _from_folder(folder: Path) -> Checkpoint | None:
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
        kind, inside = recognise_folder(names, lambda name: (folder / name).open("rb"))
    except OSError as error:
        logger.warning("cannot look into %s: %s", folder, error.strerror)
        return None
    if not kind:
        return None
    sizes = [(folder / name).stat() for name in names]
    return _placed(
        str(folder),
        inside,
        step_from_name(folder.name),
        sum(status.st_size for status in sizes),
        max(status.st_mtime for status in sizes),
        kind,
        "",
    )


def _placed(uri, inside, named, size, modified, kind, note) -> Checkpoint | None:
    """Make a checkpoint of what is known, or None where nothing states a step."""
    step = inside if inside is not None else named
    if step is None:
        logger.warning("%s is left out: neither it nor its name states a training step", uri)
        return None
    if inside is not None and named is not None and inside != named and not _is_epoch(uri):
        note = f"its name says step {named}, its inside {inside}"
    return Checkpoint(step, uri, size, modified, kind, note)


def _is_epoch(uri: str) -> bool:
    """Whether the number in a name counts epochs, which need not equal the step."""
    name = _last(uri)
    return "epoch" in name.lower() and "step" not in name.lower()


def _last(uri: str) -> str:
    return re.sub(r"/+$", "", uri).rpartition("/")[2]
