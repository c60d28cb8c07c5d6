"""Networks behind one face: waveforms in, every layer's activations out.

``ADAPTERS`` is the table of families. A further one is a function
``build(state=None, **arguments)`` that returns a `Model`, and one line in the table.

The brain-like auditory network (BAN) of Wang et al. (2025), arXiv 2502.15503, is not among them: no
code or weights of it could be had to build it faithfully and to test it against. Where its authors'
code is at hand, the adapter ``module`` runs it.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch


@runtime_checkable
class Model(Protocol):
    """What every adapter returns: a network in evaluation mode that needs no gradients.

    Attributes
    ----------
    sample_rate : int
        Of the waveforms it takes, in Hz.
    layers : tuple of str
        Names of the layers, from input to output.
    frame_times : dict of str to (float, float)
        Each layer's centre of the first frame and spacing of frames, in seconds.
    batchable : bool
        Whether padded batches give the same numbers as single stimuli.
    why_not_batchable : str
        The reason where they do not; empty where they do.
    batch_equal_lengths : bool
        Whether batches of stimuli of one length, which need no padding, give the same numbers.
    """

    sample_rate: int
    layers: tuple[str, ...]
    frame_times: dict[str, tuple[float, float]]
    batchable: bool
    why_not_batchable: str
    batch_equal_lengths: bool

    def __call__(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Activations (batch, time, feature) of every layer; waveforms (batch, samples)."""
        ...

    def frames(self, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        """Count each layer's valid frames (batch,) for stimuli of these lengths in samples."""
        ...

    def prepare(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Do the part that no weight changes; a tuple of tensors, batch first."""
        ...

    def forward_prepared(self, *prepared: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do the rest; the same result as calling the model."""
        ...

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights; a ValueError says what does not fit."""
        ...


def _later(module: str) -> Callable[..., Model]:
    """Builder of a module that is imported when it is first called."""

    def build(state: Mapping[str, torch.Tensor] | None = None, **arguments: Any) -> Model:
        return importlib.import_module(module).build(state, **arguments)

    build.module = module
    return build


ADAPTERS: dict[str, Callable[..., Model]] = {
    name: _later(f"dynamics.models.{name}")
    for name in ("encodecmae", "huggingface", "module", "s3prl", "spectrotemporal", "torchaudio")
}


def load(
    adapter: str,
    checkpoint: str | Path | Mapping[str, torch.Tensor] | None = None,
    *,
    state: Mapping[str, torch.Tensor] | None = None,
    trust: bool = False,
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
        Where the adapter does not take an argument.
    """
    taken = _signature(adapter)
    unknown = [name for name in arguments if name not in taken and not _takes_any(taken)]
    if unknown:
        raise TypeError(
            f"the adapter {adapter!r} takes no argument {unknown[0]!r}: it takes "
            f"{', '.join(name for name in taken if name != 'state') or 'none'}"
        )
    if isinstance(checkpoint, Mapping):
        state, checkpoint = checkpoint, None
    if checkpoint is not None:
        if state is None:
            from dynamics.checkpoints import read

            state = read(checkpoint, trust=trust)
        # Some libraries build a network from a file's own configuration, not from its weights.
        beside = {"checkpoint": str(checkpoint), "trust": trust}
        arguments = {name: beside[name] for name in beside if name in taken} | arguments
    return ADAPTERS[adapter](state, **arguments)


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
    taken = _signature(adapter)
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
    return (_module(adapter).__doc__ or "").partition("\n")[0].strip()


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
    return {
        name: parameter.default
        for name, parameter in _signature(adapter).items()
        if name not in ("state", "checkpoint", "trust")
        and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


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
    names = ("training-dynamics", "torch", "soxr", *getattr(module, "LIBRARIES", ()))
    found = {name: _version(name) for name in names}
    return found | getattr(module, "versions", lambda **_: {})(**arguments)


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


def _signature(adapter: str) -> Mapping[str, inspect.Parameter]:
    if adapter not in ADAPTERS:
        raise ValueError(
            f"there is no adapter {adapter!r}: there are {', '.join(sorted(ADAPTERS))}"
        )
    build = ADAPTERS[adapter]
    if hasattr(build, "module"):
        build = importlib.import_module(build.module).build
    return inspect.signature(build).parameters


def _module(adapter: str) -> Any:
    _signature(adapter)  # raises where there is none of this name
    return importlib.import_module(
        getattr(ADAPTERS[adapter], "module", ADAPTERS[adapter].__module__)
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _takes_any(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


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
