"""A folder that is a checkpoint and has others beside its weights, as training loops leave it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from dynamics.checkpoints.checkpoint import Checkpoint
from dynamics.checkpoints.formats import OWN_WEIGHTS
from dynamics.checkpoints.names import read_name
from dynamics.checkpoints.sidecars import read_json

logger = logging.getLogger(__name__)


def belongs(name: str, is_file: bool) -> bool:
    """Tell whether an entry of such a folder is a part of its own network.

    Parameters
    ----------
    name : str
        Of a file or folder inside it.
    is_file : bool
        Whether it is a file.

    Returns
    -------
    bool
        True for its weights and for files whose name does not say that it is of a step.
    """
    return is_file and (bool(OWN_WEIGHTS.fullmatch(name)) or not read_name(name).told)


def beside(
    itself: Checkpoint | None, inner: list[Checkpoint], kind: str, *, best: Callable[[], str]
) -> list[Checkpoint]:
    """Decide what a folder and the checkpoints in it come to.

    The weights at the root are the last ones, or the best ones where the training loop went back
    to them: they stand for a step only where nothing in the folder does.

    Parameters
    ----------
    itself : Checkpoint or None
        The folder as a checkpoint; None where it is none or states no step.
    inner : list of Checkpoint
        What is in it.
    kind : str
        Format of the folder itself; empty where it is no checkpoint.
    best : callable
        Gives the checkpoint that the training loop says is the best, or an empty string.

    Returns
    -------
    list of Checkpoint
        Those to use.
    """
    if kind:  # a subfolder such as ``2_Dense`` is a part of the network
        inner = [c for c in inner if c.known_by == "inside" or read_name(_last(c.uri)).told]
    if itself is None or not inner:
        return [*inner, *([itself] if itself else [])]
    own = read_name(_last(itself.uri))
    if own.told and own.step == itself.step:  # checkpoint-500 with what its optimiser needs
        return [itself]
    if any(c.step == itself.step for c in inner):
        logger.info("%s: the weights at its root are left out", itself.uri)
        return inner
    chosen = best()
    if chosen and _last(chosen) != f"checkpoint-{itself.step}":
        logger.warning(
            "%s is left out: the weights at its root may be those of %r, the best of the run",
            itself.uri,
            chosen,
        )
        return inner
    return [*inner, itself]


def own(path: Path, inside: int | None, given: int | None) -> tuple[str, str]:
    """Say which place and name a local checkpoint goes by.

    Parameters
    ----------
    path : Path
        As it was found.
    inside, given : int or None
        The step that it states, and the one that the user does.

    Returns
    -------
    uri : str
        Where it is; the target of a link such as ``latest``, where that alone has a step in its
        name, so that the link may point elsewhere later.
    name : str
        Where its name is read.
    """
    if given is None and inside is None and path.is_symlink() and not read_name(path.name).steps:
        target = path.resolve()
        if read_name(target.name).steps:
            return str(target), target.name
    return str(path), path.name


def best_named(file: BinaryIO) -> str:
    """Return the folder that a ``trainer_state.json`` names as the best, or an empty string."""
    try:
        state = read_json(file)
    except ValueError:
        return ""
    best = state.get("best_model_checkpoint") if isinstance(state, dict) else None
    return best if isinstance(best, str) else ""


def _last(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]
