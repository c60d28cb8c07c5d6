"""Weights of a checkpoint into a network: all of them, whole and finite, or an error."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping

import torch

from dynamics.models.names import resolve, without_other_parts

# Buffers that versions of libraries add or drop, and that no number in evaluation depends on:
# counts of training steps and of averages, and 0, 1, 2 ... for the embedding of positions.
CONSTANT = ("*num_batches_tracked", "*position_ids", "n_averaged")


def load_strictly(
    module: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    ignore: Iterable[str] = (),
    optional: Iterable[str] = (),
    what: str = "the network",
    parts: bool = False,
    initial: Mapping[str, torch.Tensor] | None = None,
    names: Iterable[str] = (),
) -> list[str]:
    """Copy weights into a module after checking that they are exactly the ones it needs.

    Nothing is copied where anything is wrong, so a network keeps its old weights after an error.
    Names are resolved as libraries do on loading (`dynamics.models.names`).

    Parameters
    ----------
    module : torch.nn.Module
        Takes the weights; their dtype and device stay the module's.
    state : mapping of str to Tensor
        Weights by the module's own names.
    ignore : iterable of str
        Patterns (``fnmatch``) of names in `state` that may be left over, such as training heads.
    optional : iterable of str
        Patterns of names of the module that `state` may lack, such as constant buffers.
    what : str
        Name of the network for the message.
    parts : bool
        Whether the network may be a part of what was trained: other parts are left aside.
    initial : mapping of str to Tensor, optional
        What `remembered` returned when the module was built: what `state` lacks, and buffers that
        no checkpoint has, get these values, and not those of the checkpoint before.
    names : iterable of str
        What the checkpoint calls its weights, before an adapter's argument `prefix` was taken off:
        an error then says which would fit.

    Returns
    -------
    list of str
        What was resolved, each in a few words.

    Raises
    ------
    ValueError
        One sentence with missing and left over names, wrong shapes, or NaN or infinite weights.
    """
    own = module.state_dict(keep_vars=True)
    ignore, optional = [*ignore, *CONSTANT], [*optional, *CONSTANT]
    everything = tuple(state)
    given = {n: v for n, v in state.items() if n in own or not _matches(n, ignore)}
    state, notes = resolve(module, given, parts=parts)
    missing = [name for name in own if name not in state and not _matches(name, optional)]
    if parts and not missing:
        state, aside = without_other_parts(own, state)
        notes += aside
    # A tied weight may have a second name, which the network does not use.
    known = {id(state[name]) for name in own if name in state}
    extra = [
        name
        for name, value in state.items()
        if name not in own and id(value) not in known and not _matches(name, ignore)
    ]
    if missing or extra:
        needed = [name for name in own if not _matches(name, optional)]
        hint = _prefix_that_fits(needed, names) if missing else ""
        raise ValueError(_mismatch(what, missing, extra) + hint)
    shared = [name for name in own if name in state]
    state |= {n: state[n][0] for n in shared if not own[n].ndim and state[n].shape == (1,)}
    wrong = [name for name in shared if own[name].shape != state[name].shape]
    if wrong:
        first = wrong[0]
        raise ValueError(
            f"the checkpoint does not fit {what}: {first} is {_shape(state[first])} in the "
            f"checkpoint and {_shape(own[first])} in the network{_and_more(wrong)}: give the "
            "adapter the sizes that the checkpoint was trained with"
        )
    check_kinds(state, shared, own, what=what, beside=everything)
    sparse = {n: state[n].to_dense() for n in shared if state[n].layout != torch.strided}
    state |= sparse
    notes += _dtypes(own, {name: state[name] for name in shared})
    check_finite({name: state[name] for name in shared})
    with torch.no_grad():
        places = dict(module.named_buffers()) | own
        for name in set(initial or {}) - set(shared):
            value = (initial or {})[name]
            # A cache that a forward pass makes longer, such as of positions, may stay as it is.
            if name in places and places[name].shape == value.shape:
                places[name].copy_(value)
        for name in shared:
            own[name].copy_(state[name])
    return notes


def remembered(module: torch.nn.Module, optional: Iterable[str] = ()) -> dict[str, torch.Tensor]:
    """Copy what may be missing in a checkpoint, of a network as it was built.

    Parameters
    ----------
    module : torch.nn.Module
        The network, before any checkpoint or sound has changed it.
    optional : iterable of str
        As for `load_strictly`.

    Returns
    -------
    dict of str to Tensor
        All buffers, and weights that checkpoints may lack, by their names.
    """
    own = module.state_dict(keep_vars=True)
    kept = {name: value for name, value in own.items() if _matches(name, optional)}
    kept |= dict(module.named_buffers())
    lazy = torch.nn.parameter.is_lazy  # without values as yet
    return {name: value.detach().clone() for name, value in kept.items() if not lazy(value)}


def check_finite(state: Mapping[str, torch.Tensor]) -> None:
    """Raise a ValueError that names the weights which are NaN or infinite, if there are any."""
    broken = [name for name, value in state.items() if not _finite(value)]
    if broken:
        first = _comparable(state[broken[0]])
        count = int((~torch.isfinite(first)).sum())
        raise ValueError(
            f"the checkpoint has NaN or infinite weights: {count} of {first.numel()} in "
            f"{broken[0]}{_and_more(broken)}: training diverged or the file is damaged"
        )


def check_kinds(
    state: Mapping[str, torch.Tensor],
    names: Iterable[str],
    own: Mapping[str, torch.Tensor] | None = None,
    *,
    what: str,
    beside: Iterable[str] = (),
) -> None:
    """Find weights whose numbers are not those of the network, only some that stand for them.

    Parameters
    ----------
    state : mapping of str to Tensor
        Weights of the checkpoint.
    names : iterable of str
        Those that are to be taken.
    own : mapping of str to Tensor, optional
        Weights and buffers of the network by the same names, where these are known.
    what : str
        Name of the network for the message.
    beside : iterable of str
        Names of all that the checkpoint has, in its own words.

    Raises
    ------
    ValueError
        One sentence with the first that is of whole numbers where the network has real ones, of
        complex numbers, or quantised.
    """
    scales = [name for name in (*beside, *state) if name.endswith(_SCALES)]
    for name in names:
        value = state[name]
        mine = None if own is None else own[name]
        if value.is_meta:
            raise ValueError(
                f"the checkpoint does not fit {what}: {name} has a shape and no numbers"
            )
        if mine is not None and (value.dtype == mine.dtype or not _is_real(mine)):
            continue
        if why := _stands_for(name, value, mine, scales):
            raise ValueError(
                f"the checkpoint does not fit {what}: {name} is {why} ({_dtype(value)}): give the "
                "weights as they were before"
            )


def _stands_for(name, value, mine, scales) -> str:
    if value.is_quantized:
        return "quantised"
    if value.is_complex():
        return "of complex numbers"
    if value.is_floating_point():
        own = tuple(f"{name}{end}" for end in _SCALES)
        scaled = value.dtype.itemsize == 1 and any(scale.endswith(own) for scale in scales)
        return "quantised, with a scale beside it" if scaled else ""
    if value.dtype in (torch.int16, torch.int32, torch.int64, torch.bool):
        # Buffers, such as lengths and masks, are kept so by some versions of libraries.
        return "of whole numbers" if isinstance(mine, torch.nn.Parameter) and value.ndim else ""
    return "quantised or of whole numbers" if value.ndim else ""


# How the names end of what numbers of eight bits are to be multiplied by.
_SCALES = ("_scale", "_scale_inv", ".scale", "_absmax", ".absmax")


def _is_real(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and not tensor.is_complex()


def _dtypes(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> list[str]:
    """Say where weights are of another precision than the network's."""
    others: dict[torch.dtype, str] = {}
    for name, value in state.items():
        if value.dtype != own[name].dtype and own[name].is_floating_point():
            others.setdefault(value.dtype, name)
    return [f"weights of {_dtype(state[n])} computed in {_dtype(own[n])}" for n in others.values()]


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _mismatch(what: str, missing: list[str], extra: list[str]) -> str:
    parts = []
    if missing:
        parts.append(f"it lacks {len(missing)} weights ({_few(missing)})")
    if extra:
        parts.append(f"it has {len(extra)} that the network does not know ({_few(extra)})")
    text = f"the checkpoint does not fit {what}: " + " and ".join(parts)
    if missing and extra:
        near = difflib.get_close_matches(missing[0], extra, n=1, cutoff=0.0)
        text += f"; nearest to {missing[0]} is {near[0]}"
    return text


def _prefix_that_fits(needed: list[str], given: Iterable[str]) -> str:
    """Say under which prefix a checkpoint has all that a network needs; empty where none has."""
    there = set(given)
    first = min(needed, key=len, default="")
    prefixes = [n.removesuffix(first) for n in there if n.endswith(f".{first}")]
    fit = sorted(p for p in prefixes if all(p + name in there for name in needed))
    if not first or not fit:
        return _prefix_that_lacks(needed, there)
    told = " or ".join(f"`prefix: {prefix!r}`" for prefix in fit[:3])
    return f"; all of it is there with the argument {told}"


def _prefix_that_lacks(needed: list[str], there: set[str]) -> str:
    """Say which prefix a network's names have that those of a checkpoint lack."""
    shortest = min(there, key=len, default="")
    heads = [n.removesuffix(shortest) for n in needed if n.endswith(f".{shortest}")]
    for head in heads if shortest else ():
        if all(n.startswith(head) and n.removeprefix(head) in there for n in needed):
            return f"; the network's names have a prefix that it lacks: `prefix: {head!r}` adds it"
    return ""


def renamed(
    own: Iterable[str], state: Mapping[str, torch.Tensor], prefix: str
) -> dict[str, torch.Tensor]:
    """Take a prefix off a checkpoint's names, or put it before them where they have none of it.

    Parameters
    ----------
    own : iterable of str
        Names of the network.
    state : mapping of str to Tensor
        Weights of the checkpoint.
    prefix : str
        The prefix; empty for none.

    Returns
    -------
    dict of str to Tensor
        What began with it, without it; all of it with it, where nothing did and names of the
        network do.
    """
    under = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    if under or not any(name.startswith(prefix) for name in own):
        return under
    return {prefix + name: value for name, value in state.items()}


def _few(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "a scalar"


def _finite(tensor: torch.Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    tensor = _comparable(tensor)
    # The sum is finite almost always and needs no second array; only then look at each number.
    total = tensor.detach().sum(dtype=torch.float64 if tensor.is_floating_point() else None)
    return bool(torch.isfinite(total)) or bool(torch.isfinite(tensor).all())


def _comparable(tensor: torch.Tensor) -> torch.Tensor:
    """Return numbers of eight bits, which torch does not compare, in single precision."""
    small = tensor.is_floating_point() and tensor.dtype.itemsize == 1
    return tensor.to(torch.float32) if small else tensor
