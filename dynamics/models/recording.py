"""Outputs of submodules as hooks see them: which modules run, and how to make all of them run."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

logger = logging.getLogger(__name__)


def chosen(network: torch.nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the names of the submodules that match patterns, in the network's order.

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    patterns : sequence of str
        As of ``fnmatch``.

    Returns
    -------
    list of str
        Names as ``named_modules`` gives them.

    Raises
    ------
    ValueError
        Where a pattern matches none.
    """
    names = [name for name, _ in network.named_modules() if name]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ValueError(
                f"no submodule matches {pattern!r}: there are "
                f"{', '.join(names[:20]) or 'none'}{', ...' if len(names) > 20 else ''}"
            )
    found = [name for name in names if any(fnmatch.fnmatchcase(name, p) for p in patterns)]
    scripted = [name for name in found if _is_scripted(network, name)]
    if scripted:
        raise ValueError(
            f"{_few(scripted)} cannot be read: scripted and traced modules call no hooks; give the "
            "network as it was before"
        )
    return found


def check_all_ran(
    network: torch.nn.Module, patterns: Sequence[str], names: Sequence[str], seen: Iterable[str]
) -> None:
    """Find modules that were chosen and that a forward pass does not call.

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    patterns, names : sequence of str
        What was asked for, and the modules that match.
    seen : iterable of str
        Layers that were recorded.

    Raises
    ------
    ValueError
        Where one that is named in full, or all that match a pattern, did not run. Others are named
        in a warning; lists and dictionaries of modules, which never run, are passed over.
    """
    ran = {layer.partition("#")[0] for layer in seen}
    silent = [name for name in names if name not in ran]
    asked = [p for p in patterns if not any(fnmatch.fnmatchcase(name, p) for name in ran)]
    if asked:
        missing = [name for name in silent if any(fnmatch.fnmatchcase(name, p) for p in asked)]
        raise ValueError(
            f"none of {_few(missing)} ran in the forward pass{_why(network, missing)}: choose "
            "layers that the network calls"
        )
    containers = (torch.nn.ModuleList, torch.nn.ModuleDict)
    silent = [name for name in silent if not isinstance(network.get_submodule(name), containers)]
    if silent:
        logger.warning(
            "%s did not run in the forward pass and give no layer%s",
            _few(silent),
            _why(network, silent),
        )


def first_tensor(output: Any) -> torch.Tensor | None:
    """Return the tensor of a module's output: itself, or the first of what holds several.

    Parameters
    ----------
    output : object
        A tensor, packed sequence, tuple, list, mapping or dataclass of such.

    Returns
    -------
    Tensor or None
        Nested tensors and packed sequences are padded with zeros.
    """
    if isinstance(output, torch.Tensor):
        return torch.nested.to_padded_tensor(output, 0.0) if output.is_nested else output
    if isinstance(output, PackedSequence):
        return pad_packed_sequence(output, batch_first=True)[0]
    if isinstance(output, Mapping):
        output = tuple(output.values())
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        output = tuple(getattr(output, field.name) for field in dataclasses.fields(output))
    if isinstance(output, (tuple, list)):
        for part in output:
            tensor = first_tensor(part)
            if tensor is not None:
                return tensor
    return None


def uncompiled(network: torch.nn.Module) -> torch.nn.Module:
    """Undo ``torch.compile``: compiled code does not call the hooks of inner modules.

    Parameters
    ----------
    network : torch.nn.Module
        As a whole or in parts compiled, or not at all.

    Returns
    -------
    torch.nn.Module
        The same network and weights.
    """
    network = getattr(network, "_orig_mod", network)
    for module in list(network.modules()):
        for name, child in list(module._modules.items()):
            if child is not None and hasattr(child, "_orig_mod"):
                module._modules[name] = uncompiled(child)
        module._compiled_call_impl = None  # what `module.compile()` sets
    return network


@contextlib.contextmanager
def plainly(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Run modules as they are written, and the same each time.

    Without the fused form of torch's transformer and attention: in it the inner modules do not run,
    and a padded batch is cut to its longest stimulus (pytorch issues 97111 and 128413). What is
    drawn at random in evaluation mode, such as dither or a dropout that is always on, is drawn from
    the seed.

    Parameters
    ----------
    seed : int
        Of what is drawn.
    device : torch.device, optional
        Where the network runs.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    devices = [device] if device is not None and device.type == "cuda" else []
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _why(network: torch.nn.Module, names: Sequence[str]) -> str:
    """Say why modules do not run, where that can be seen."""
    for name in names:
        above = [network, *(network.get_submodule(part) for part in _parents(name))]
        if isinstance(above[-1], torch.nn.MultiheadAttention):
            return " (nn.MultiheadAttention uses the weights of its parts without calling them)"
    return ""


def _is_scripted(network: torch.nn.Module, name: str) -> bool:
    above = [network, *(network.get_submodule(part) for part in (*_parents(name), name))]
    return any(isinstance(module, torch.jit.ScriptModule) for module in above)


def _parents(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:end]) for end in range(1, len(words))]


def _few(names: Sequence[str], count: int = 5) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
