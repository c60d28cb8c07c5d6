"""Which files of a checkpoint folder hold the weights that are wanted."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from dynamics.checkpoints.choice import listed, matching
from dynamics.checkpoints.formats import (
    DEEPSPEED,
    INNER,
    NO_WEIGHTS,
    WEIGHT_FILES,
    note_of,
    parts_of,
    recognise,
)
from dynamics.checkpoints.inspect import Contents, UnknownFormatError, inspect
from dynamics.checkpoints.names import SUFFIXES, has_role, is_aside, is_average, read_name
from dynamics.checkpoints.sidecars import read_json, weight_parts_of
from dynamics.checkpoints.wanted import TRAINED

Open = Callable[[str], BinaryIO]

# Files by these names are one network, in several formats.
_ONE = ("model", "pytorch_model", "diffusion_pytorch_model", "adapter_model", "consolidated")
# Names that say nothing else of a network than that it is one.
_PLAIN = (*_ONE, "checkpoint", "ckpt", "net", "network", "state", "state_dict", "weights")

_SHARD = re.compile(r"(.+?)[-_.]\d+-of-\d+\.\w+")
_INDEX = ".index.json"

# Beside fetched files: which sets were not fetched.
_LEFT = ".left"


class Look(NamedTuple):
    """What a look at an entry gave; an empty layout where it is no checkpoint."""

    layout: str
    inside: int | None = None
    note: str = ""
    where: Any = None
    kind: str = ""  # where it is not the layout: a part is missing or damaged
    choice: str = ""  # which of several folders it is
    extent: tuple[int, float] = (0, 0.0)  # of a remote folder, whose listing says it
    epoch: int | None = None  # that a file states


class SeveralError(ValueError):
    """A folder of several networks, none of which is plainly the one that is wanted."""


@dataclass(frozen=True)
class Files:
    """The files of a folder that are read.

    Attributes
    ----------
    taken : list of str
        Their names; none where the folder holds no weights.
    name : str
        What the set is called, where it is not all there is.
    others : list of str
        Names of the other sets.
    inside : str
        What is to be taken within the files.
    index : str
        The file that lists them, where they are shards.
    """

    taken: list[str]
    name: str = ""
    others: list[str] = field(default_factory=list)
    inside: str = TRAINED
    index: str = ""

    @property
    def note(self) -> str:
        """What to say of the choice; empty where there was none."""
        if not self.others:
            return ""
        return f"weights of {self.name} taken, not of {listed(self.others)}"


def note_choice(folder: Path, choice: Files) -> None:
    """Keep beside fetched files which sets of weights were left where they are."""
    if choice.others:
        (folder / _LEFT).write_text(json.dumps(choice.others), encoding="utf-8")


def noted_choice(folder: Path, files: Files) -> Files:
    """Return the files of a folder with what `note_choice` kept beside them."""
    try:
        with (folder / _LEFT).open("rb") as file:
            others = read_json(file)
    except (OSError, ValueError):
        return files
    return replace(files, others=[*files.others, *map(str, others)])


def files_of(names: Iterable[str], open_file: Open, wanted: str = TRAINED) -> Files:
    """Find the files of a checkpoint folder that hold its weights.

    Parameters
    ----------
    names : iterable of str
        File names directly inside the folder.
    open_file : callable
        Opens one of them for reading bytes; only what names leave open is looked into.
    wanted : str
        ``trained``, or what else is wanted (see `dynamics.checkpoints.choice.choose`).

    Returns
    -------
    Files
        Files whose names have what is wanted, or those of the trained network, in which it is then
        looked for.

    Raises
    ------
    SeveralError
        Where there are several networks, and none is plainly the one.
    ValueError
        Where an index is damaged.
    """
    names = set(names)
    if ".metadata" in names:
        parts = sorted(name for name in names if name.endswith(".distcp"))
        return Files([".metadata", *parts], inside=wanted)
    if DEEPSPEED in names:
        return Files([DEEPSPEED], inside=wanted)
    sets = _sets(names - _shards(names, open_file))
    if not sets:
        return Files([])
    several = len(sets) > 1
    if several:
        main = _plainly(sets)
        sets = {
            name: file
            for name, file in sets.items()
            if name == main or file.endswith(_INDEX) or _holds_weights(open_file, file)
        }
    hits = [] if wanted == TRAINED else _meant(sets, wanted)
    joined = "CKPT.yaml" in names  # one file a module
    if len(hits) > 1 and not joined:
        raise SeveralError(
            f"it holds {listed(hits)}: `weights: {wanted}` may mean each of them, so set "
            "`weights` to one of these names"
        )
    taken = hits or _trained(sets, joined)
    if not taken:
        if wanted != TRAINED:
            raise SeveralError(
                f"it holds no weights {wanted!r}: it holds {listed(sets)}, so set `weights` to "
                "one of these names"
            )
        raise SeveralError(
            f"it holds {listed(sets)}, none of which is plainly the trained network: set "
            f"`weights` to one of these names, such as `weights: {next(iter(sets))}`"
        )
    others = [] if joined and not hits and len(taken) == len(sets) else _besides(sets, taken)
    files = [part for name in taken for part in _parts(sets[name], open_file)]
    index = sets[taken[0]] if len(taken) == 1 and sets[taken[0]].endswith(_INDEX) else ""
    return Files(files, listed(taken), others, TRAINED if hits else wanted, index)


def recognise_lone(
    names: Iterable[str], open_file: Open, wanted: str = TRAINED
) -> tuple[str, int | None, str]:
    """Recognise a folder by the files of weights in it, such as ``step_100/model.pt``.

    Parameters
    ----------
    names, open_file, wanted
        As for `files_of`.

    Returns
    -------
    format : str
        ``folder``; ``several`` where it is not plain which of its networks is wanted; ``parts``
        (see `dynamics.checkpoints.formats.parts_of`); or ``""`` where it is no checkpoint.
    step : int or None
        Number of updates that the files state.
    note : str
        What a reader should know.

    Raises
    ------
    ValueError
        Where the only file is a damaged checkpoint.
    """
    names = list(names)
    weights = sorted(name for name in names if looks_like_weights(name))
    if weights and all(_SHARD.fullmatch(name) for name in weights):
        return "parts", None, parts_of(weights)
    try:
        files = files_of(names, open_file, wanted)
    except SeveralError as error:
        steps = {recognise(c)[1] for name in weights if (c := _inspected(open_file, name))}
        # Else they are the checkpoints of a run, and not of one step.
        if len(steps) > 1 or any(read_name(name).steps for name in weights):
            return "", None, ""
        return "several", next(iter(steps), None), str(error)
    if len(files.taken) != 1:
        return "", None, ""
    with open_file(files.taken[0]) as file:
        try:
            contents = inspect(file)
        except UnknownFormatError:
            return "", None, ""
    kind, step = recognise(contents)
    note = "; ".join(filter(None, [note_of(contents), files.note]))
    return ("folder" if kind else ""), step, note if kind else ""


def look_within(
    look: Callable[[Any, str], Look], where: Any, subfolders: Mapping[str, Any], wanted: str
) -> Look:
    """Look into a folder, or into the one in it that has what is wanted, such as ``ema``.

    Parameters
    ----------
    look : callable
        Takes a place and which weights are wanted there, and looks at the files in it.
    where : str or Path
        The folder's place.
    subfolders : mapping of str to str or Path
        Names and places of the folders directly inside it.
    wanted : str
        As for `files_of`.

    Returns
    -------
    Look
        With the choice where another folder holds a copy of the network.
    """
    copies = sorted(name for name in subfolders if has_role(name))
    meant = matching(copies, wanted) if wanted != TRAINED else []
    inner = [name for name in INNER if name in subfolders]
    places = [(subfolders[name], TRAINED) for name in meant]
    places += [(where, wanted), *((subfolders[name], wanted) for name in inner)]
    found = next((seen for place in places if (seen := look(*place)).layout), Look(""))
    if not found.layout:
        return found
    others = [name for name in copies if name not in meant]
    others = [name for name in others if look(subfolders[name], TRAINED).layout]
    if found.where in [subfolders[name] for name in meant]:
        others.insert(0, "the others")
    if not others:
        return found
    own = PurePosixPath(str(found.where)).name
    name = "the folder itself" if found.where == where else f"the folder {own}"
    return found._replace(choice=f"weights of {name} taken, not of {listed(others)}")


def looks_like_weights(name: str) -> bool:
    """Whether a file may hold weights, by its name."""
    return name.lower().endswith(SUFFIXES) and not NO_WEIGHTS.fullmatch(name) and not is_aside(name)


def _sets(names: set[str]) -> dict[str, str]:
    """Name the sets of weights in a folder, each with its file or the index of its shards."""
    indices = {name.removesuffix(_INDEX): name for name in names if name.endswith(_INDEX)}
    files = [n for n in names if looks_like_weights(n) and not _SHARD.fullmatch(n)]
    files += [name for whole, name in indices.items() if whole not in names]
    first = sorted(files, key=lambda n: (_rank(n), n))
    stems: dict[str, list[str]] = {}
    for name in first:
        stems.setdefault(PurePosixPath(name.removesuffix(_INDEX)).stem, []).append(name)
    ones = [stem for stem in stems if stem in _ONE and _rank(stems[stem][0]) < len(WEIGHT_FILES)]
    sets = {}
    for stem, found in stems.items():
        if stem in ones:
            if stem == ones[0]:
                sets[stem] = found[0]
        elif stem in _ONE and ones:
            continue
        else:
            sets |= {stem: found[0]} if len(found) == 1 else {name: name for name in found}
    return sets


def _shards(names: set[str], open_file: Open) -> set[str]:
    """Name the files that an index lists, whatever they are called."""
    found: set[str] = set()
    for name in names:
        if name.endswith(_INDEX):
            with contextlib.suppress(ValueError, OSError):  # said where the index is needed
                found.update(_parts(name, open_file))
    return found - {name.removesuffix(_INDEX) for name in names if name.endswith(_INDEX)}


def _rank(name: str) -> int:
    return WEIGHT_FILES.index(name) if name in WEIGHT_FILES else len(WEIGHT_FILES)


def _plainly(sets: Iterable[str]) -> str | None:
    """Return the name that is plainly the trained network's, by the names alone."""
    sets = list(sets)
    for names in ([n for n in sets if n in _PLAIN], [n for n in sets if not is_average(n)]):
        if len(names) == 1:
            return names[0]
    return None


def _trained(sets: dict[str, str], joined: bool) -> list[str]:
    if joined:
        return [name for name in sets if not is_average(name)] or list(sets)
    main = next(iter(sets)) if len(sets) == 1 else _plainly(sets)
    return [main] if main else []


def _meant(sets: dict[str, str], wanted: str) -> list[str]:
    by_file = [name for name, file in sets.items() if file == wanted]
    return by_file or matching(sets, wanted)


def _besides(sets: dict[str, str], taken: list[str]) -> list[str]:
    return [name for name in sets if name not in taken]


def _parts(file: str, open_file: Open) -> list[str]:
    if not file.endswith(_INDEX):
        return [file]
    with open_file(file) as opened:
        return weight_parts_of(read_json(opened))


def _inspected(open_file: Open, name: str) -> Contents | None:
    try:
        with open_file(name) as file:
            return inspect(file)
    except (OSError, ValueError):
        return None


def _holds_weights(open_file: Open, name: str) -> bool:
    """Whether a file holds weights; one that is damaged may have."""
    try:
        with open_file(name) as file:
            return bool(recognise(inspect(file))[0])
    except UnknownFormatError:
        return False
    except (OSError, ValueError):
        return True
