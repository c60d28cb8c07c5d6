"""Names of weights: what libraries resolve on loading is resolved here, and said.

Wrappers of training put words into names (``torch.compile``, DDP, FSDP, Lightning); torch renamed
the two parts of a weight norm; a file keeps a tied weight once. The weights are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from dynamics.checkpoints.names import has_role

# Words that wrappers put into names, anywhere, and who does.
WRAPPERS = {
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
    "_forward_module": "Lightning Fabric or DeepSpeed",
    "module": "DistributedDataParallel",
}

# A weight norm's parts in earlier and later versions of torch (pytorch issue 102999).
_NORM = {"_g": "original0", "_v": "original1"}

State = dict[str, torch.Tensor]


def resolve(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], *, parts: bool = False
) -> tuple[State, list[str]]:
    """Give the weights of a checkpoint a network's own names.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    state : mapping of str to Tensor
        Weights; nothing in it is changed.
    parts : bool
        Whether the network may be a part of what was trained: weights outside of its prefix are
        then left aside.

    Returns
    -------
    state : dict of str to Tensor
        By the names of the network, where a rule above says how.
    notes : list of str
        What was resolved, each in a few words.
    """
    own = module.state_dict(keep_vars=True)
    found, notes = dict(state), []
    for rule in (_unwrapped, _without_prefix, _by_torch, _norms_renamed, _ties_filled):
        if own.keys() <= found.keys() and not parts:
            break
        found, said = rule(module, own, found, parts)
        notes += said
    return found, notes


def summarised(names: Iterable[str], count: int = 3) -> str:
    """Name the modules that weights belong to, the first few of them."""
    first = list(dict.fromkeys(name.partition(".")[0] for name in names))
    return ", ".join(first[:count]) + (", ..." if len(first) > count else "")


def _unwrapped(module, own: Mapping[str, Any], state: State, parts: bool):
    """Take the words of wrappers out of the names that the network does not know."""
    used: set[str] = set()

    def plain(name: str) -> str:
        words = name.split(".")
        if name in own or not (WRAPPERS.keys() & set(words)):
            return name
        # The fewest words that make it known; else all, for a prefix may be left.
        known = [w for w in WRAPPERS if w in words]
        tries = [{w} for w in known] + [set(known)]
        short = name
        for gone in tries:
            short = ".".join(w for w in words if w not in gone)
            if short in own:
                break
        used.update(w for w in gone if w in words)
        return short

    renamed = _renamed(state, plain)
    if renamed is None or not used:
        return state, []
    return renamed, [f"names without {', '.join(f'{w} ({WRAPPERS[w]})' for w in sorted(used))}"]


def _without_prefix(module, own: Mapping[str, Any], state: State, parts: bool):
    """Take off the prefix under which the network is found, where there is one such prefix."""
    prefixes: Counter[str] = Counter()
    there = _spellings(own)
    for name in state:
        words = name.split(".")
        for start in range(len(words)):
            if ".".join(words[start:]) in there:
                prefixes[".".join([*words[:start], ""]) if start else ""] += 1
    prefix = _meant([(prefix, n) for prefix, n in prefixes.most_common() if 2 * n >= len(own)])
    if not prefix:
        return state, []
    under = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    outside = [n for n in state if not n.startswith(prefix)]
    copies = {p for p, n in prefixes.items() if p and 2 * n >= len(own) and has_role(p)}
    if not parts and not all(any(n.startswith(p) for p in copies) for n in outside):
        return state, []
    notes = [f"names without {prefix}"]
    if outside:
        notes.append(f"{len(outside)} weights left aside ({summarised(outside)})")
    return under, notes


def _meant(prefixes: list[tuple[str, int]]) -> str:
    """Choose among prefixes under which most of the network is found, the most complete first."""
    if not prefixes:
        return ""
    plain = [prefix for prefix, _ in prefixes if not has_role(prefix)]
    if len(plain) == 1:
        return plain[0]  # the others are copies of it, such as an average
    (first, most), *others = prefixes
    if others and (not plain or others[0][1] == most):
        return ""  # it is there twice: nobody knows which is meant
    return first


def _by_torch(module, own: Mapping[str, Any], state: State, parts: bool):
    """Let the modules' own hooks translate, as ``load_state_dict`` would."""
    translated: Any = dict(state)

    def walk(place: torch.nn.Module, prefix: str) -> None:
        for hook in place._load_state_dict_pre_hooks.values():
            hook(translated, prefix, {}, True, [], [], [])
        for name, child in place._modules.items():
            if child is not None:
                walk(child, f"{prefix}{name}.")

    walk(module, "")
    new = [name for name in translated if name not in state]
    if not new:
        return state, []
    return translated, [f"{len(new)} names of earlier versions ({new[0]})"]


def _norms_renamed(module, own: Mapping[str, Any], state: State, parts: bool):
    """Translate the names of weight norms into those that the network has, either way."""

    def other(name: str) -> str:
        return next((n for n in _norm_names(name) if name not in own and n in own), name)

    renamed = _renamed(state, other)
    if renamed is None or renamed.keys() == state.keys():
        return state, []
    count = len(renamed.keys() - state.keys())
    return renamed, [f"{count} names of weight norms of another version of torch"]


def _ties_filled(module, own: Mapping[str, Any], state: State, parts: bool):
    """Fill in tied weights, which safetensors and some loops save once."""
    filled = {}
    first = {_place(value): name for name, value in own.items() if name in state}
    for name, value in own.items():
        if name not in state and _place(value) in first:
            filled[name] = state[first[_place(value)]]
    return (state | filled, [f"{len(filled)} tied weights"]) if filled else (state, [])


def _place(value: torch.Tensor) -> tuple:
    """Tell weights apart by where their numbers are: two parameters may share them."""
    if value.is_meta or torch.nn.parameter.is_lazy(value) or not value.numel():
        return (id(value),)
    return value.data_ptr(), value.dtype, value.shape, value.stride()


def without_other_parts(own: Iterable[str], state: State) -> tuple[State, list[str]]:
    """Leave out weights of modules that a network has not, such as heads of training.

    Parameters
    ----------
    own : iterable of str
        Names of the network's weights.
    state : dict of str to Tensor
        Weights.

    Returns
    -------
    state : dict of str to Tensor
        Those whose first word is one of the network's.
    notes : list of str
        What was left aside.
    """
    children = {name.partition(".")[0] for name in own}
    aside = [name for name in state if name.partition(".")[0] not in children]
    if not aside:
        return state, []
    kept = {name: value for name, value in state.items() if name.partition(".")[0] in children}
    return kept, [f"{len(aside)} weights left aside ({summarised(aside)})"]


def _spellings(own: Iterable[str]) -> set[str]:
    names = set(own)
    return names.union(*(_norm_names(name) for name in names))


def _norm_names(name: str) -> list[str]:
    """Return the other name of a part of a weight norm, if it is one."""
    head, _, last = name.rpartition(".")
    head = f"{head}." if head else ""
    for old, new in _NORM.items():
        if last.endswith(old):
            return [f"{head}parametrizations.{last.removesuffix(old)}.{new}"]
        if last == new and ".parametrizations." in f".{head}":
            before, _, weight = head.rstrip(".").rpartition("parametrizations.")
            return [f"{before}{weight}{old}"]
    return []


def _renamed(state: State, name_of: Callable[[str], str]) -> State | None:
    """Return a state by other names; None where two weights would have the same."""
    renamed = {name_of(name): value for name, value in state.items()}
    return renamed if len(renamed) == len(state) else None
