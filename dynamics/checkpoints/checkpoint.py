"""One checkpoint of a run: what is known of it, and which of several of one step counts."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from dynamics.checkpoints.choice import listed, matching
from dynamics.checkpoints.names import plain_among, read_name, roles, step_from_name
from dynamics.checkpoints.twins import same_weights
from dynamics.checkpoints.wanted import TRAINED

logger = logging.getLogger(__name__)


STEPLESS = "%s is left out: neither it nor its name states a training step"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a run.

    Attributes
    ----------
    step : int
        Number of updates (or of what `unit` says) before it was saved.
    uri : str
        Local path or URL of the file or folder.
    bytes : int
        Size of the file, or of all files of the folder.
    modified : float
        Seconds since 1970; 0 where the storage does not say.
    format : str
        ``lightning``, ``s3prl``, ``fairseq``, ``safetensors``, ``torch``, ``huggingface``,
        ``speechbrain``, ``torch-distributed``, ``deepspeed``, ``folder``, ``remote`` (not looked
        into), ``parts`` (no whole network; `note` says why), ``several`` (networks of which none is
        plainly the one that is wanted; `note` names them) or ``unreadable``.
    note : str
        What a reader should know: a name that disagrees, a duplicate, why it cannot be read.
    inside : int or None
        Step that its inside stated when it was listed.
    known_by : str
        What `step` is from: ``inside``, ``name`` or ``list`` (stated by the user).
    version : str
        What a remote store calls the content that was listed: a tag, a generation, a commit.
    weights : str
        Which of its weights are wanted (see `dynamics.checkpoints.choice`).
    choice : str
        Which file was taken for that, where the step has others.
    unit : str
        What `step` counts: steps, epochs, saves ...; empty while nothing has said it.
    offset : int
        What `step` is above the number that was read: 1 for epochs that are counted from 0.
    """

    step: int
    uri: str
    bytes: int
    modified: float
    format: str
    note: str = ""
    inside: int | None = None
    known_by: str = "name"
    version: str = ""
    weights: str = TRAINED
    choice: str = ""
    unit: str = "steps"
    offset: int = 0


def arrange(
    found: list[Checkpoint], duplicates: str = "newer", weights: str = TRAINED
) -> list[Checkpoint]:
    """Sort checkpoints by step and keep one of each step, with the weights that are wanted."""
    if duplicates not in ("newer", "older", "error"):
        raise ValueError(f"duplicates must be newer, older or error, not {duplicates!r}")
    by_step: dict[int, list[Checkpoint]] = {}
    for checkpoint in _without_ranks(found):
        by_step.setdefault(checkpoint.step, []).append(replace(checkpoint, weights=weights))
    return [_one_of(_wanted(by_step[step], weights), duplicates) for step in sorted(by_step)]


def is_remote(uri: str) -> bool:
    """Tell whether a path is a URL that has to be fetched."""
    return "://" in str(uri) and not str(uri).startswith(("file://", "local://"))


def local_path(uri: str) -> Path:
    """Return the path of a checkpoint on this machine, also where it is written as a URL."""
    return Path(re.sub(r"^(file|local)://", "", str(uri)))


def placed(
    uri: str,
    inside: int | None,
    name: str,
    extent: tuple[int, float],
    kind: str,
    note: str = "",
    *,
    given: int | None = None,
    told: bool = False,
    version: str = "",
    quiet: bool = False,
    epoch: int | None = None,
) -> Checkpoint | None:
    """Make a checkpoint of what is known of one.

    Parameters
    ----------
    uri : str
        Local path or URL.
    inside : int or None
        Step that the file or folder itself states.
    name : str
        Where its name is read.
    extent : tuple of int and float
        Size and time of the last change.
    kind, note, version : str
        As of `Checkpoint`.
    given : int, optional
        Step that the user states.
    told : bool
        Whether a number in the name counts only where a word beside it says that it is a step.
    quiet : bool
        Whether the caller says what is left out.
    epoch : int, optional
        Epoch that the file itself states, where it states no step.

    Returns
    -------
    Checkpoint or None
        None where nothing states a step.

    Raises
    ------
    ValueError
        Where only the name could state a step and can be read in two ways.
    """
    if given is not None:
        if inside is not None and inside != given:
            note = _joined(note, f"its inside says step {inside}, the list {given}")
        return Checkpoint(given, uri, *extent, kind, note, inside, "list", version)
    read = read_name(name)
    steps = {} if told and not read.told else read.steps
    if inside is not None:
        if steps and inside not in steps and not read.epoch:
            named = " or ".join(map(str, (step for step in steps if step is not None)))
            note = _joined(note, f"its name says step {named}, its inside {inside}")
        return Checkpoint(inside, uri, *extent, kind, note, inside, "inside", version)
    if len(steps) > 1 and kind != "unreadable":
        ways = " or ".join(
            f"{'no step' if step is None else f'step {step}'} ({words})"
            for step, words in steps.items()
        )
        raise ValueError(
            f"the name of {uri!r} can be read as {ways}, and its inside states no step: give "
            "`checkpoints` as a mapping of step to place"
        )
    step = next(iter(steps)) if len(steps) == 1 else None
    if step is None and epoch is not None:
        return Checkpoint(epoch, uri, *extent, kind, note, None, "inside", version, unit="epochs")
    if step is None:
        if not quiet:
            logger.warning(STEPLESS, uri)
        return None
    # A number that no word explains is the epoch's where the file says so, from 0 or from 1.
    unit = "epochs" if not read.unit and epoch in (step, step - 1) else read.unit
    return Checkpoint(step, uri, *extent, kind, note, None, "name", version, unit=unit)


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _without_ranks(found: list[Checkpoint]) -> list[Checkpoint]:
    """Make one of files that differ in nothing but the number of the process that wrote them."""
    groups: dict[str, list[Checkpoint]] = {}
    for checkpoint in found:
        listed = checkpoint.known_by == "list"
        key = checkpoint.uri if listed else _RANK.sub(r"\1", checkpoint.uri)
        groups.setdefault(key, []).append(checkpoint)
    return [
        group[0]
        if len({os.path.realpath(c.uri) for c in group}) == 1
        else replace(
            group[0],
            format="parts",
            bytes=sum(c.bytes for c in group),
            note=f"{len(group)} processes wrote a file each, such as {last_part(group[0].uri)!r}, "
            "that may hold a part of the weights: join them, or name one of them if it holds all",
        )
        for group in (sorted(each, key=lambda c: c.uri) for each in groups.values())
    ]


_RANK = re.compile(r"([-_.](?:rank|shard)[-_]?)\d+(?=[^/]*$)")


def _wanted(same: list[Checkpoint], weights: str) -> list[Checkpoint]:
    """Choose among a network and its averages that are in files of their own, told by the names."""
    by_role: dict[frozenset[str], list[Checkpoint]] = {}
    for checkpoint in same:
        by_role.setdefault(roles(last_part(checkpoint.uri)), []).append(checkpoint)
    if len(by_role) == 1:
        return same
    names = {last_part(each[0].uri): each for each in by_role.values()}
    plain = by_role.get(frozenset())
    if weights == TRAINED:
        main = last_part(plain[0].uri) if plain else plain_among(names)
        meant = [main] if main else []
    else:
        meant = matching((n for n in names if roles(n)), weights)
        if not meant and plain:
            return plain
    if len(meant) == 1:
        left = listed(name for name in names if name != meant[0])
        text = f"{listed(meant)} taken, not {left}"
        return [replace(c, note=_joined(c.note, text), choice=text) for c in names[meant[0]]]
    text = (
        f"step {same[0].step} is in {listed(names)}, and it is not plain which is wanted: set "
        "`weights` to a word of one of these names"
    )
    return [replace(same[0], format="several", note=text)]


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
            c.format not in ("unreadable", "parts", "several"),
            c.modified if duplicates == "newer" else -c.modified,
            _has_step(c),
            c.uri,
        ),
    )
    *others, best = ranked
    text = (
        "step also in "
        + ", ".join(repr(last_part(c.uri)) for c in others)
        + f" ({duplicates} used)"
    )
    copies = all(same_weights(each.uri, best.uri) for each in others)
    level = logging.INFO if copies else logging.WARNING
    logger.log(level, "step %d: %r is used, %s", best.step, best.uri, text)
    return replace(best, note=_joined(best.note, text))


def _has_step(checkpoint: Checkpoint) -> bool:
    return step_from_name(last_part(checkpoint.uri)) == checkpoint.step


def last_part(uri: str) -> str:
    """Return the name of a file or folder, of a path or a URL."""
    return re.sub(r"/+$", "", uri).rpartition("/")[2]
