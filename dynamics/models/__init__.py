"""Networks behind one face: waveforms in, every layer's activations out.

``ADAPTERS`` is the table of families. A further one is a function
``build(state=None, **arguments)`` that returns a `Model`, and one line in the table.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dynamics import installation
from dynamics.models.hearing import Hearing, Windows
from dynamics.models.model import Model
from dynamics.models.permuted import permute
from dynamics.models.weights import check_finite, load_strictly
from dynamics.tables import Later, Table

__all__ = [
    "ADAPTERS",
    "Hearing",
    "Model",
    "Windows",
    "arguments",
    "check",
    "check_finite",
    "hears",
    "load",
    "load_strictly",
    "permute",
    "revision",
    "summary",
    "untrained",
    "versions",
]


_FAMILIES = (
    "ban", "encodecmae", "hear", "huggingface", "module", "s3prl", "spectrotemporal", "torchaudio",
)  # fmt: skip

ADAPTERS: Table[Callable[..., Model]] = Table(
    "adapter",
    {name: Later(f"dynamics.models.{name}", "build", whole=True) for name in _FAMILIES},
    filled=("state", "checkpoint", "trust"),
)


def load(
    adapter: str,
    checkpoint: str | Path | Mapping[str, torch.Tensor] | None = None,
    *,
    state: Mapping[str, torch.Tensor] | None = None,
    trust: bool = False,
    weights: str = "trained",
    **arguments: Any,
) -> Model:
    """Build a network of a family, with the weights of a checkpoint where one is given.

    Parameters
    ----------
    adapter : str
        Name in ``ADAPTERS``.
    checkpoint : str, Path, mapping or None
        File or folder of one checkpoint, or a state dict; None initialises the network freshly
        from `arguments` and their ``seed``.
    state : mapping, optional
        The weights, where the checkpoint has been read already; the checkpoint is then only asked
        for what some families keep beside the weights, such as a configuration.
    trust : bool
        True lets the checkpoint run code (see `dynamics.checkpoints.read`).
    weights : str
        Which weights of the checkpoint are taken, where it holds several (see the same).
    **arguments
        For the adapter: ``dynamics.models.arguments(adapter)`` lists them.

    Returns
    -------
    Model
        In evaluation mode.

    Raises
    ------
    ValueError
        Where there is no such adapter, the checkpoint cannot be read, or its weights do not fit.
    TypeError
        Where the adapter does not take an argument, or makes what is no model.
    """
    check_arguments(adapter, arguments)
    taken = ADAPTERS.parameters(adapter)
    if isinstance(checkpoint, Mapping):
        state, checkpoint = checkpoint, None
    if checkpoint is not None:
        if state is None:
            from dynamics.checkpoints import read

            state = read(checkpoint, trust=trust, weights=weights)
        # Some libraries build a network from a file's own configuration, not from its weights.
        beside = {"checkpoint": str(checkpoint), "trust": trust}
        arguments = {name: beside[name] for name in beside if name in taken} | arguments
    model = ADAPTERS[adapter](state, **arguments)
    needed = ("sample_rate", "layers", "load_weights")
    if lacking := [name for name in needed if not hasattr(model, name)]:
        raise TypeError(
            f"the adapter {adapter!r} made a {type(model).__name__} without "
            f"{', '.join(f'`{name}`' for name in lacking)}: see `dynamics help own`"
        )
    return model


def untrained(
    adapter: str,
    checkpoint: str | Path | None = None,
    *,
    state: Mapping[str, torch.Tensor] | None = None,
    seed: int = 0,
    trust: bool = False,
    **arguments: Any,
) -> Model:
    """Build the network of a checkpoint with fresh weights, as a control where a run has no step 0.

    Parameters
    ----------
    adapter : str
        Name in ``ADAPTERS``.
    checkpoint : str or Path, optional
        A checkpoint of the run, which says what the network is like.
    state : mapping, optional
        Its weights, where it has been read already.
    seed : int
        Of the initialisation.
    trust, **arguments
        As for `load`.

    Returns
    -------
    Model
        Of exactly the sizes of the checkpoint.

    Raises
    ------
    ValueError
        Where the adapter cannot tell the sizes from the arguments and the checkpoint.
    """
    taken = ADAPTERS.parameters(adapter)
    if checkpoint is not None and state is None:
        from dynamics.checkpoints import read

        state = read(checkpoint, trust=trust)
    settings = {"seed": seed, "checkpoint": checkpoint and str(checkpoint), "trust": trust}
    if "randomize" in taken:
        settings["randomize"] = True
    settings = {name: value for name, value in settings.items() if name in taken} | arguments
    module = importlib.import_module(getattr(ADAPTERS[adapter], "module", __name__))
    if hasattr(module, "untrained") and module.__name__ != __name__:
        # A family that reads its sizes off the weights builds its own control.
        return module.untrained(state, **settings)
    model = ADAPTERS[adapter](None, **settings)
    if state is not None:
        fresh = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_weights(state)  # raises where the sizes are others
        if "randomize" not in taken:
            model.load_state_dict(fresh)
    return model


def summary(adapter: str) -> str:
    """Return one line about an adapter."""
    return ADAPTERS.summary(adapter)


def arguments(adapter: str) -> dict[str, Any]:
    """List the arguments of an adapter with their defaults.

    Parameters
    ----------
    adapter : str
        Name in ``ADAPTERS``.

    Returns
    -------
    dict
        Name of each argument to its default; ``inspect.Parameter.empty`` where it must be given.
    """
    return {name: each.default for name, each in ADAPTERS.arguments(adapter).items()}


def check_arguments(adapter: str, given: Mapping[str, Any]) -> None:
    """Find what an adapter would not take, before any network is built.

    Parameters
    ----------
    adapter : str
        Name in ``ADAPTERS``.
    given : mapping
        Arguments for it by name.

    Raises
    ------
    ValueError
        If there is no such adapter.
    ArgumentError
        If it does not take one of the arguments, or needs one that is not there.
    """
    taken = ADAPTERS.parameters(adapter)
    filled = [name for name in ADAPTERS.filled if name in taken]  # `trust` may be given as well
    ADAPTERS.check(adapter, [name for name in given if name not in filled])


def check(adapter: str, given: Mapping[str, Any], *, trust: bool = False) -> None:
    """Find what no checkpoint can be blamed for, before the first is read.

    Parameters
    ----------
    adapter : str
        Name in ``ADAPTERS``.
    given : mapping
        Arguments for it by name.
    trust : bool
        As for `load`.

    Raises
    ------
    ImportError
        If a library of the adapter is missing or cannot be loaded: it names package and cure.
    ValueError, TypeError
        As of `check_arguments`, and where an adapter finds in its function ``check(**given)`` that
        no network could be built with an argument.
    """
    check_arguments(adapter, given)
    module = _module(adapter)
    installation.load(*reversed(getattr(module, "LIBRARIES", ())))
    if "trust" in ADAPTERS.parameters(adapter):
        given = {"trust": trust} | dict(given)
    getattr(module, "check", lambda **_: None)(**given)


def hears(
    adapter: str, arguments: Mapping[str, Any], *, checkpoint: str | Path | None = None
) -> Hearing:
    """Return how long a sound the networks of an adapter take, and the windows for longer ones.

    Parameters
    ----------
    adapter : str
        Name in ``ADAPTERS``.
    arguments : mapping
        Of the adapter.
    checkpoint : str or Path, optional
        A checkpoint of the run, where it is on this machine: a configuration beside it can tell.

    Returns
    -------
    Hearing
        What the adapter's module says in ``HEARING``, or in its function
        ``hearing(checkpoint=..., **arguments)``.
    """
    module = _module(adapter)
    if hasattr(module, "hearing") and module.__name__ != __name__:
        return module.hearing(checkpoint=checkpoint, **arguments)
    return getattr(module, "HEARING", Hearing(causal=None))


def revision(adapter: str) -> int:
    """Return the number that an adapter raises with every change that gives other activations."""
    return getattr(_module(adapter), "REVISION", 1)


def versions(adapter: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions of everything that computes the activations of an adapter.

    Parameters
    ----------
    adapter : str
        Name in ``ADAPTERS``.
    arguments : mapping
        Of the adapter.

    Returns
    -------
    dict of str to str
        Version by distribution; an adapter adds the libraries that it names in ``LIBRARIES``, and
        what its function ``versions(**arguments)`` returns.
    """
    module = _module(adapter)
    names = (installation.OURS, "torch", "soxr", *getattr(module, "LIBRARIES", ()))
    found = {name: installation.version_of(name) for name in names}
    return found | getattr(module, "versions", lambda **_: {})(**arguments)


def _module(adapter: str) -> Any:
    """Return the module that says what an adapter needs and which versions it has."""
    found: Any = ADAPTERS.find(adapter)
    return importlib.import_module(getattr(found, "module", found.__module__))
