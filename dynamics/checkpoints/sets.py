"""Which sets of weights one file holds: the trained ones, averages of them, teachers.

Training loops keep a copy of a network beside it, under a key (``ema_state_dict``), under a prefix
of the names (``ema_model.``), in a callback's state or as a bare list. A copy is known by what it
is called and by names and shapes that it has in common with the trained weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from dynamics.checkpoints.alignment import Fit, State, aligned, under_prefix
from dynamics.checkpoints.formats import WRAPPERS
from dynamics.checkpoints.inspect import is_tree
from dynamics.checkpoints.names import has_role, is_average, plain_among
from dynamics.checkpoints.tensors import TensorSpec

# Buffers: an average of parameters has none, and uses those of the network.
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "position_ids")

# How far copies are looked for, in keys and in entries.
_DEEPEST, _MOST = 8, 10_000


@dataclass
class Sets:
    """The sets of weights of one file.

    Attributes
    ----------
    name : str
        Where the trained weights are: keys joined by dots; empty where they are all there is.
    trained : dict of str to tensor
        By their names.
    others : dict of str to dict
        The other sets by where they are, their weights by the names of the trained ones.
    notes : dict of str to str
        What is to be said of each other set.
    averages : set of str
        Which of the others are averages over training.
    covered : dict of str to frozenset
        Which names of each other set are its own; the rest are the trained ones.
    rivals : list of str
        Sets among which none is plainly the trained one; `trained` holds all of them then.
    parts : list of str
        Keys of the networks that `trained` consists of, where it is no single one's state.
    average : str
        The name by which `trained` is known to be an average, there being nothing else; or empty.
    unnamed : list of str
        Copies that cannot be taken, as their weights have no names.
    """

    name: str
    trained: State
    others: dict[str, State] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    averages: set[str] = field(default_factory=set)
    covered: dict[str, frozenset[str]] = field(default_factory=dict)
    rivals: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    average: str = ""
    unnamed: list[str] = field(default_factory=list)


def weights_of(tree: Any) -> State:
    """Take the state dict out of whatever a training loop wrapped around it.

    Parameters
    ----------
    tree : object
        What a file holds: a state dict, a mapping with one inside, or a whole module.

    Returns
    -------
    dict of str to Tensor
        Empty where there are no weights. The prefixes that data parallelism and compilation put
        before every name are taken off. Of several sets, the trained one.
    """
    return trained_in(tree)[1]


def sets_of(tree: Any) -> Sets:
    """Find every set of weights in what a file holds.

    Parameters
    ----------
    tree : object
        As for `weights_of`; also of `TensorSpec` in place of tensors.

    Returns
    -------
    Sets
        Without weights in `trained` where the file has none.
    """
    path, trained, apart = trained_in(tree)
    found = Sets(".".join(path), trained)
    if not trained:
        return found
    if not path and is_tree(tree) and not any(map(_is_leaf, tree.values())):
        found.parts = [name for name in map(str, tree) if under_prefix(trained, f"{name}.")]
    for name, state in apart.items():
        _add(found, name, state)
    for name, thing in _elsewhere(tree, path, apart):
        if isinstance(thing, list):
            _add_list(found, name, thing)
        else:
            _add(found, name, weights_of(thing), whole=not has_role(name))
    _add_prefixed(found)
    found.averages |= {name for name in found.others if is_average(name)}
    if _swapped(tree):
        found.averages.add("state_dict")
    if "n_averaged" in trained:
        found.average = "n_averaged"
    elif not found.others and len(found.parts) == 1 and is_average(found.parts[0]):
        found.average = found.parts[0]
    return found


def trained_in(tree: Any) -> tuple[tuple[str, ...], State, dict[str, State]]:
    """Find the trained weights in what a file holds.

    Parameters
    ----------
    tree : object
        As for `weights_of`.

    Returns
    -------
    path : tuple of str
        Keys that lead to them; empty where they are the whole, or several networks.
    trained : dict of str to tensor
        As `weights_of` returns them.
    apart : dict of str to dict
        Copies of them that stand beside them as networks of their own.
    """
    path, state, apart = _found(tree)
    for prefix in ("module.", "_orig_mod."):
        while state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return path, state, apart


def _found(tree: Any) -> tuple[tuple[str, ...], State, dict[str, State]]:
    if isinstance(tree, torch.nn.Module):
        return (), dict(tree.state_dict()), {}
    if not is_tree(tree):
        return (), {}, {}
    flat = {str(key): value for key, value in tree.items() if _is_leaf(value)}
    if any("." in key for key in flat) or len(flat) == len(tree):
        return (), flat, {}
    for name in _wrappers(tree):
        inner = tree.get(name)
        if _may_hold(inner):
            path, state, apart = trained_in(inner)
            if state:
                return (name, *path), state, {f"{name}.{k}": v for k, v in apart.items()}
    networks = {
        str(name): weights_of(inner)
        for name, inner in tree.items()
        if _may_hold(inner) and "optim" not in str(name).lower()
    }
    networks = {name: state for name, state in networks.items() if state}
    if not networks:
        # Numbers beside bare tensors: a small network's state dict with the step in it.
        return (), flat, {}
    copies = _copies(networks)
    apart = {name: networks.pop(name) for name in copies}
    return (), _joined(networks), apart


def _wrappers(tree: Mapping) -> Iterable[str]:
    return ("current_model_state", *WRAPPERS) if _swapped(tree) else WRAPPERS


def _swapped(tree: Any) -> bool:
    """Whether Lightning's WeightAveraging put the average in the place of the trained weights."""
    return is_tree(tree) and "averaging_state" in tree and "current_model_state" in tree


def _copies(networks: Mapping[str, State]) -> list[str]:
    """Name the networks that are copies of others which are plainly the trained ones."""
    plain = [name for name in networks if not has_role(name)]
    if not plain:
        plain = list(filter(None, [plain_among(networks)]))
    whole = _joined({name: networks[name] for name in plain})
    return [n for n in networks if n not in plain and whole and aligned(networks[n], whole)]


def _elsewhere(tree: Any, path: tuple[str, ...], apart: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield what may be a copy of the weights that a path leads to, by its keys."""
    todo: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    for here, thing in todo:  # grows meanwhile
        if len(todo) > _MOST or len(here) > _DEEPEST:
            return
        for key, value in _entries(thing):
            below = (*here, key)
            name = ".".join(below)
            if "optim" in key.lower() or _is_leaf(value) or name in apart:
                continue
            inside = below[: len(path)] == path
            named = has_role(".".join(below[len(path) :]) if inside else name)
            copy = named or not inside
            if isinstance(value, (list, tuple)) and value and all(map(_is_leaf, value)):
                if named:
                    yield name, list(value)
            elif copy and below != path[: len(below)] and (named or path) and _bears(value):
                inner = [(k, v) for k, v in _entries(value) if _bears(v)]
                if any(_is_leaf(v) for _, v in inner) or (named and len(inner) > 1):
                    if path or len(below) > 1:  # else it is one of the networks of the file
                        yield name, value
                else:
                    todo.append((below, value))
            elif _may_hold(value) or isinstance(value, (list, tuple)):
                todo.append((below, value))


def _bears(thing: Any) -> bool:
    """Whether there is a tensor of numbers in a thing, not only a counter."""
    if _is_leaf(thing):
        return len(thing.shape) > 0
    return any(len(value.shape) > 0 for value in weights_of(thing).values())


def _entries(thing: Any) -> list[tuple[str, Any]]:
    if is_tree(thing):
        return [(str(key), value) for key, value in thing.items()]
    if isinstance(thing, (list, tuple)) and len(thing) < 1000:
        return [(str(number), value) for number, value in enumerate(thing)]
    return []


def _add(found: Sets, name: str, state: State, *, whole: bool = False) -> None:
    """Add a copy by the names of the trained weights, if it is one; `whole` if of all of them."""
    fit = aligned(state, found.trained)
    if fit and not (whole and fit.under):
        _place(found, name, state, found.trained, fit)


def _place(found: Sets, place: str, state: State, trained: State, fit: Fit) -> None:
    """Give a copy the names of the trained weights, and what it cannot have those weights."""
    renamed = {
        f"{fit.under}{fit.names.get(rest, rest)}": value
        for rest, value in under_prefix(state, fit.own).items()
        # What the trained weights do not know stays, unless it is a count of the average's own.
        if fit.names.get(rest, rest) in fit.known or "." in rest
    }
    outside = [n for n in trained if not n.startswith(fit.under)]
    buffers = [n for n in trained if n.startswith(fit.under) and n not in renamed and _is_buffer(n)]
    said = [f"{len(buffers)} buffers"] if buffers else []
    said += [f"{len(outside)} weights beside the copy"] if outside else []
    all_of_it = renamed | {name: trained[name] for name in (*buffers, *outside)}
    found.others[place] = {n: all_of_it[n] for n in (*trained, *renamed) if n in all_of_it}
    found.covered[place] = frozenset(renamed)
    found.notes[place] = f"{' and '.join(said)} as trained" if said else ""


def _add_list(found: Sets, name: str, values: list[Any]) -> None:
    """Add a bare list of parameters, in their order, where they fit those of the network."""
    names = [n for n in found.trained if not _is_buffer(n)]
    if len(names) != len(values) or any(
        tuple(found.trained[n].shape) != tuple(value.shape) for n, value in zip(names, values)
    ):
        found.unnamed.append(name)
        return
    fitted = dict(zip(names, values))
    buffers = [n for n in found.trained if n not in fitted]
    found.others[name] = {n: fitted.get(n, value) for n, value in found.trained.items()}
    found.covered[name] = frozenset(fitted)
    also = f" and {len(buffers)} buffers as trained" if buffers else ""
    found.notes[name] = f"by their order{also}"


def _add_prefixed(found: Sets) -> None:
    """Add copies that are among the trained weights, told by a prefix such as ``ema_model.``."""
    trained, start = found.trained, _common(found.trained)
    first = {name: name.removeprefix(start).partition(".")[0] for name in trained}
    copies = {w for n, w in first.items() if has_role(w) and n != f"{start}{w}"}
    if not copies:
        return
    groups = {word: under_prefix(trained, f"{start}{word}.") for word in sorted(copies)}
    rest = {name: value for name, value in trained.items() if first[name] not in groups}
    main = plain_among(groups)
    if main and not any(aligned(state, rest) for state in groups.values()):
        rest |= {f"{start}{main}.{name}": value for name, value in groups.pop(main).items()}
    fits = {word: fit for word, state in groups.items() if (fit := aligned(state, rest))}
    for word, fit in fits.items():
        _place(found, f"{start}{word}", groups[word], rest, fit)
    alike = [w for w in groups if any(aligned(groups[w], g) for o, g in groups.items() if o != w)]
    if not fits and len(alike) > 1:
        found.rivals = [f"{start}{word}" for word in alike]
        for word in alike:
            own = {f"{start}{word}.{name}": value for name, value in groups[word].items()}
            found.others[f"{start}{word}"] = rest | own
            found.covered[f"{start}{word}"] = frozenset(own)


def _common(names: Iterable[str]) -> str:
    """Return the words that all names begin with, such as ``model.``."""
    split = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for column in zip(*split):
        if len(set(column)) > 1 or has_role(column[0]):
            break
        shared.append(column[0])
    return "".join(f"{word}." for word in shared)


def _joined(networks: Mapping[str, State]) -> State:
    return {f"{name}.{key}": v for name, state in networks.items() for key, v in state.items()}


def _is_buffer(name: str) -> bool:
    return name.rpartition(".")[2] in _BUFFERS


def _is_leaf(thing: Any) -> bool:
    return isinstance(thing, (torch.Tensor, TensorSpec))


def _may_hold(thing: Any) -> bool:
    return is_tree(thing) or isinstance(thing, torch.nn.Module)
