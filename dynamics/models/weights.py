"""Weights of a checkpoint into a network: all of them, whole and finite, or an error."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping

import torch


def load_strictly(
    module: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    ignore: Iterable[str] = (),
    optional: Iterable[str] = (),
    what: str = "the network",
) -> None:
    """Copy weights into a module after checking that they are exactly the ones it needs.

    Nothing is copied where anything is wrong, so a network keeps its old weights after an error.

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

    Raises
    ------
    ValueError
        One sentence with missing and left over names, wrong shapes, or NaN or infinite weights.
    """
    own = module.state_dict(keep_vars=True)
    missing = [name for name in own if name not in state and not _matches(name, optional)]
    extra = [name for name in state if name not in own and not _matches(name, ignore)]
    if missing or extra:
        raise ValueError(_mismatch(what, missing, extra))
    shared = [name for name in own if name in state]
    wrong = [name for name in shared if own[name].shape != state[name].shape]
    if wrong:
        first = wrong[0]
        raise ValueError(
            f"the checkpoint does not fit {what}: {first} is {_shape(state[first])} in the "
            f"checkpoint and {_shape(own[first])} in the network{_and_more(wrong)}: give the "
            "adapter the sizes that the checkpoint was trained with"
        )
    check_finite({name: state[name] for name in shared})
    with torch.no_grad():
        for name in shared:
            own[name].copy_(state[name])


def check_finite(state: Mapping[str, torch.Tensor]) -> None:
    """Raise a ValueError that names the weights which are NaN or infinite, if there are any."""
    broken = [name for name, value in state.items() if not _finite(value)]
    if broken:
        first = state[broken[0]]
        count = int((~torch.isfinite(first)).sum())
        raise ValueError(
            f"the checkpoint has NaN or infinite weights: {count} of {first.numel()} in "
            f"{broken[0]}{_and_more(broken)}: training diverged or the file is damaged"
        )


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


def _few(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "a scalar"


def _finite(tensor: torch.Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    # The sum is finite almost always and needs no second array; only then look at each number.
    total = tensor.detach().sum(dtype=torch.float64 if tensor.is_floating_point() else None)
    return bool(torch.isfinite(total)) or bool(torch.isfinite(tensor).all())
