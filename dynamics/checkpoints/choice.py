"""Which of several sets of weights is taken: the trained ones, or those that the user names."""

from __future__ import annotations

import os.path
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from dynamics.checkpoints.alignment import State
from dynamics.checkpoints.names import AVERAGES, has_role, is_average, words
from dynamics.checkpoints.sets import Sets, sets_of
from dynamics.checkpoints.wanted import TRAINED


@dataclass(frozen=True)
class Taken:
    """Weights that were taken.

    Attributes
    ----------
    weights : dict of str to tensor
        By their names.
    note : str
        Which they are, where there were others, or where they are an average; else empty.
    hint : str
        What to do where they do not fit a network, as they may be of two; else empty.
    """

    weights: State
    note: str = ""
    hint: str = ""


def choose(found: Sets, wanted: str, where: str, beside: Iterable[str] = ()) -> Taken:
    """Take one of the sets of weights of a file.

    Parameters
    ----------
    found : Sets
        Those that there are.
    wanted : str
        ``trained``; ``ema`` or another word for an average; or the name of a key.
    where : str
        The file, for the message.
    beside : iterable of str
        Other sets, in files of their own, for the message.

    Returns
    -------
    Taken
        The weights.

    Raises
    ------
    ValueError
        Where there is no such set, or several are called so.
    """
    if wanted == TRAINED:
        return _trained(found)
    if _is_named(found.name, wanted) or found.parts == [wanted]:
        return _trained(found)
    if wanted in found.parts and wanted not in found.others:
        own = {n: v for n, v in found.trained.items() if n.startswith(f"{wanted}.")}
        return Taken(own, f"weights of {wanted} taken, not of {_some(found, wanted)}")
    names = matching(found.others, wanted, averages=found.averages)
    if not names and found.average and wanted in AVERAGES:
        return _trained(found)
    if not names:
        raise ValueError(_lacking(found, wanted, where, list(beside)))
    if len(names) > 1 and not _apart(found, names):
        raise ValueError(
            f"{where} holds {listed(names)}: `weights: {wanted}` may mean each of them, so set "
            "`weights` to one of these names"
        )
    weights = dict(found.trained if len(names) > 1 else found.others[names[0]])
    for name in names[1:] and names:
        weights |= {each: found.others[name][each] for each in found.covered[name]}
    said = [f"weights of {listed(names)} taken, not of {_some(found, *names)}"]
    said += [found.notes[name] for name in names if len(names) == 1 and found.notes.get(name)]
    return Taken(weights, ", ".join(said))


def matching(
    names: Iterable[str], wanted: str, *, averages: Collection[str] = frozenset()
) -> list[str]:
    """Find what a user means among the names of sets.

    Parameters
    ----------
    names : iterable of str
        Keys joined by dots, or names of files without their endings.
    wanted : str
        As for `choose`.
    averages : collection of str
        Names of averages that do not say so themselves.

    Returns
    -------
    list of str
        Those that match best: the name itself, its last part, or one with all of its words.
    """
    names = list(names)
    for own in (
        [name for name in names if name == wanted],
        [name for name in names if _is_named(name, wanted)],
        [name for name in names if words(wanted) <= words(name)],
    ):
        if own:
            return own
    if wanted.lower() not in AVERAGES:
        return []
    return [name for name in names if is_average(name) or name in averages]


def note_of_sets(tree: Any, wanted: str, name: str) -> str:
    """Say which weights of a file would be taken, from its structure alone; empty for no choice.

    Parameters
    ----------
    tree : object
        What `dynamics.checkpoints.inspect.inspect` gave.
    wanted : str
        As for `choose`.
    name : str
        Of the file or folder.

    Returns
    -------
    str
        As it will stand in the note of the row, or why there will be an error.
    """
    found = sets_of(tree)
    stem = os.path.splitext(name)[0]
    inside = matching(found.others, wanted, averages=found.averages)
    if wanted != TRAINED and matching([stem, name], wanted) and not inside:
        wanted = TRAINED
    try:
        taken = of_name(choose(found, wanted, "the file"), stem)
    except ValueError as error:
        return str(error)
    return taken.hint if found.rivals else taken.note


def listed(names: Iterable[str]) -> str:
    """Put names into one phrase, as they may be in a file of anybody."""
    plain = [_plain(name) for name in names]
    shown = plain[:6] + ([f"{len(plain) - 6} more"] if len(plain) > 6 else [])
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]])) if shown else "no others"


def of_name(taken: Taken, name: str) -> Taken:
    """Add that a file or folder is called an average, where nothing else was to be said."""
    if taken.note or not is_average(name):
        return taken
    return Taken(taken.weights, "an average of weights by the name of its file", taken.hint)


def _trained(found: Sets) -> Taken:
    if found.rivals:
        names = listed(found.rivals)
        hint = (
            f"it holds {names}, none of which is plainly the trained network: set `weights` to one "
            "of these names"
        )
        return Taken(found.trained, f"it holds {names}", hint)
    if found.others or found.unnamed:
        own = f" ({_plain(found.name)})" if found.name else ""
        others = listed([*found.others, *found.unnamed])
        return Taken(found.trained, f"the trained weights taken{own}, not those of {others}")
    if found.average:
        return Taken(found.trained, f"its only weights are an average ({_plain(found.average)})")
    hint = ""
    if len(found.parts) > 1:
        hint = f"it holds {listed(found.parts)}, of which `weights` can name one"
    return Taken(found.trained, "", hint)


def _lacking(found: Sets, wanted: str, where: str, beside: list[str]) -> str:
    own = [found.name or "the trained weights"] if not found.rivals else []
    if len(found.parts) > 1:
        own = found.parts
    if beside and own == ["the trained weights"]:
        own = []
    there = [*own, *(name for name in found.others if name not in own), *beside]
    text = f"{where} holds no weights {wanted!r}: it holds {listed(there)}"
    if found.unnamed:
        text += (
            f", and in {listed(found.unnamed)} tensors without names, which do not fit those of "
            "the network one by one"
        )
    return text


def _apart(found: Sets, names: list[str]) -> bool:
    """Whether sets are averages of parts of the network, which together make up a whole."""
    covered = [found.covered[name] for name in names]
    return len(frozenset().union(*covered)) == sum(map(len, covered)) and all(map(has_role, names))


def _some(found: Sets, *taken: str) -> str:
    own = found.parts or ([] if found.rivals else [found.name or "the trained weights"])
    return listed(name for name in dict.fromkeys([*own, *found.others]) if name not in taken)


def _is_named(name: str, wanted: str) -> bool:
    """Whether the last of the keys, or a file without its ending, is called so."""
    return wanted in (name, os.path.splitext(name)[0]) or name.endswith(f".{wanted}")


def _plain(name: str) -> str:
    """Return a name as it may stand in a note: short, in one line, without what parts notes."""
    clean = " ".join(name.split()).replace(";", ",")
    return clean if len(clean) <= 80 else f"{clean[:77]}..."
