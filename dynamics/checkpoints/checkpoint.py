"""One checkpoint of a run: what is known of it, and which of several of one step counts."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from dynamics.checkpoints.formats import step_from_name

logger = logging.getLogger(__name__)


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


def arrange(found: list[Checkpoint], duplicates: str = "newer") -> list[Checkpoint]:
    """Sort checkpoints by step and keep one of each step."""
    if duplicates not in ("newer", "older", "error"):
        raise ValueError(f"duplicates must be newer, older or error, not {duplicates!r}")
    by_step: dict[int, list[Checkpoint]] = {}
    for checkpoint in found:
        by_step.setdefault(checkpoint.step, []).append(checkpoint)
    return [_one_of(by_step[step], duplicates) for step in sorted(by_step)]


def is_remote(uri: str) -> bool:
    """Tell whether a path is a URL that has to be fetched."""
    return "://" in str(uri) and not str(uri).startswith(("file://", "local://"))


def local_path(uri: str) -> Path:
    """Return the path of a checkpoint on this machine, also where it is written as a URL."""
    return Path(re.sub(r"^(file|local)://", "", str(uri)))


def placed(uri, inside, named, size, modified, kind, note, given=None) -> Checkpoint | None:
    """Make a checkpoint of what is known, or None where nothing states a step."""
    if given is not None:
        if inside is not None and inside != given:
            note = f"its inside says step {inside}, the list {given}"
        return Checkpoint(given, uri, size, modified, kind, note)
    step = inside if inside is not None else named
    if step is None:
        logger.warning("%s is left out: neither it nor its name states a training step", uri)
        return None
    if inside is not None and named is not None and inside != named and not _is_epoch(uri):
        text = f"its name says step {named}, its inside {inside}"
        note = f"{note}; {text}" if note else text
    return Checkpoint(step, uri, size, modified, kind, note)


def _one_of(same: list[Checkpoint], duplicates: str) -> Checkpoint:
    # Several names of one file, such as Lightning's link last.ckpt, are no duplicates.
    same = list({os.path.realpath(c.uri): c for c in sorted(same, key=_has_step)}.values())
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
            _has_step(c),
            c.uri,
        ),
    )
    *others, best = ranked
    text = "step also in " + ", ".join(repr(_last(c.uri)) for c in others) + f" ({duplicates} used)"
    logger.warning("step %d: %r is used, %s", best.step, best.uri, text)
    return replace(best, note="; ".join(filter(None, (best.note, text))))


def _has_step(checkpoint: Checkpoint) -> bool:
    return step_from_name(_last(checkpoint.uri)) == checkpoint.step


def _is_epoch(uri: str) -> bool:
    """Whether the number in a name counts epochs, which need not equal the step."""
    name = _last(uri)
    return "epoch" in name.lower() and "step" not in name.lower()


def _last(uri: str) -> str:
    return re.sub(r"/+$", "", uri).rpartition("/")[2]
