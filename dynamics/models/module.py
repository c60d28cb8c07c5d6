"""Any torch.nn.Module: layers chosen by name, read with forward hooks."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dynamics import plugins
from dynamics.models.hearing import Hearing
from dynamics.models.recording import check_all_ran, chosen, first_tensor, plainly, uncompiled
from dynamics.models.waveform import WaveformModel, decide_batchable, measure_frame_times
from dynamics.models.weights import load_strictly, remembered, renamed
from dynamics.tables import nearest

HEARING = Hearing(causal=None)

INPUTS = {
    "batch samples": lambda waveforms: waveforms,
    "batch channel samples": lambda waveforms: waveforms.unsqueeze(1),
}


def build(
    state: Mapping[str, torch.Tensor] | None = None,
    *,
    factory: str,
    layers: str | Sequence[str],
    options: Mapping[str, Any] | None = None,
    sample_rate: int = 16000,
    takes: str = "batch samples",
    lengths: str | None = None,
    prefix: str = "",
    ignore: Sequence[str] = (),
    frame_times: Mapping[str, tuple[float, float]] | None = None,
    seed: int = 0,
) -> HookedModel:
    """Build any network by calling a function of yours.

    Parameters
    ----------
    state : mapping of str to Tensor, optional
        Weights by the network's own names, `prefix` before each; None leaves the initial ones.
    factory : str
        ``"package.module:function"``, also a class; returns a `torch.nn.Module`. The module is
        installed, in the working directory or beside the YAML file.
    layers : str or sequence of str
        Patterns (``fnmatch``) of the submodules' names, as ``named_modules`` gives them; their
        outputs are the layers, in the order in which they run.
    options : mapping, optional
        Arguments of the factory.
    sample_rate : int
        Of the waveforms that the network takes, in Hz.
    takes : {"batch samples", "batch channel samples"}
        Shape of its input.
    lengths : str, optional
        Name of the argument of its forward that takes the lengths in samples; None where it has
        none.
    prefix : str
        Before the names in the checkpoint, for example ``"encoder."``, which is taken off; where
        the checkpoint has none of it, before those of the network, and put before the checkpoint's.
    ignore : sequence of str
        Patterns of names in the checkpoint that may be left over.
    frame_times : mapping, optional
        Centre of the first frame and spacing of each layer, seconds; measured by default.
    seed : int
        Of the initial weights.

    Returns
    -------
    HookedModel
        Each layer as (batch, time, feature): the axes of batch and time are those that change with
        the number and the length of the inputs, all others together are the features; an output
        without time is one frame. Of a tuple, such as a recurrent layer's, the first tensor
        counts. An activation is what a layer gave when it ran, whatever is done to it in place
        afterwards. A module that runs several times in one pass is a layer each time: ``name``,
        ``name#2`` and on. A compiled network runs as it was before compilation, and torch's
        attention without its fused form, in which the inner modules do not run.

    Raises
    ------
    ValueError
        Where the factory cannot be found, a pattern matches no layer or none that runs, or the
        weights do not fit.
    """
    if takes not in INPUTS:
        raise ValueError(f"`takes` is {takes!r}: use {' or '.join(map(repr, INPUTS))}")
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int) or sample_rate < 1:
        raise ValueError(f"`sample_rate` is {sample_rate!r}: give a whole number of Hz")
    function = _factory(factory)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = function(**(options or {}))
        if not isinstance(network, torch.nn.Module):
            raise ValueError(
                f"{factory} returned a {type(network).__name__}, not a torch.nn.Module"
            )
        patterns = [layers] if isinstance(layers, str) else list(layers)
        model = HookedModel(
            uncompiled(network),
            patterns,
            sample_rate=sample_rate,
            takes=takes,
            lengths=lengths,
            prefix=prefix,
            ignore=ignore,
            seed=seed,
        ).settle()
        model.learn_axes()  # lazy modules get their weights with the first sound
    model.frame_times = dict(frame_times) if frame_times else measure_frame_times(model)
    if state is not None:
        model.load_weights(state)
    decide_batchable(model, "its layers do not mask what lies after a stimulus's end")
    if model.is_random():
        model.batchable = model.batch_equal_lengths = False
        model.why_not_batchable = "it draws noise or dropout in evaluation mode as well"
    return model


def check(**arguments: Any) -> None:
    """Build the network once, since nothing of it depends on a checkpoint; a ValueError if not."""
    try:
        build(None, **arguments)
    except (ImportError, MemoryError, OSError, ValueError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"the factory {arguments['factory']!r} makes no network that runs on waveforms "
            f"({reason}): correct it, or `options`, `takes` and `layers`; `dynamics models module` "
            "tells what they are"
        ) from error


def versions(*, factory: str, **_: Any) -> dict[str, str]:
    """Return a digest of the source file of a factory, in place of a version.

    Parameters
    ----------
    factory : str
        ``"package.module:function"``.

    Returns
    -------
    dict of str to str
        The first digits of its SHA-256; empty where there is no source.
    """
    try:
        path = inspect.getsourcefile(inspect.unwrap(_factory(factory)))
        text = Path(path).read_bytes() if path else b""
    except (TypeError, OSError, ValueError):
        return {}
    return {factory: hashlib.sha256(text).hexdigest()[:12]}


class HookedModel(WaveformModel):
    """A network whose submodules' outputs are read by hooks."""

    def __init__(self, network, patterns, *, sample_rate, takes, lengths, prefix, ignore, seed):
        super().__init__()
        self.network = network
        self.sample_rate = sample_rate
        self.takes = takes
        self.length_argument = lengths
        self.prefix = prefix
        self.ignore = tuple(ignore)
        self.seed = seed
        self.initial = remembered(network)
        self.patterns = [_plain_name(pattern) for pattern in patterns]
        self.chosen = chosen(network, self.patterns)
        self.axes: dict[str, tuple[int | None, int | None]] = {}

    def learn_axes(self) -> None:
        """Run three small inputs to see which axis of each output is batch and which is time."""
        rate = self.sample_rate
        sizes = ((2, rate), (3, rate), (2, 2 * rate))
        outputs = []
        for batch, samples in sizes:
            rng = torch.Generator().manual_seed(0)
            waveforms = 0.1 * torch.randn(batch, samples, generator=rng)
            outputs.append(self._run(waveforms, torch.full((batch,), samples)))
        check_all_ran(self.network, self.patterns, self.chosen, outputs[0])
        for layer in dict.fromkeys(layer for seen in outputs for layer in seen):
            if not all(layer in seen for seen in outputs):
                raise ValueError(
                    f"{layer} runs another number of times with another input: leave "
                    f"{layer.partition('#')[0]} out of `layers`"
                )
            output, more, longer = (seen[layer] for seen in outputs)
            if not output.ndim == more.ndim == longer.ndim:
                raise ValueError(f"the output of {layer} changes its axes with the input: leave it")
            self.axes[layer] = (_changed(output, more, layer), _changed(output, longer, layer))
        self.layers = tuple(outputs[0])

    def forward_prepared(self, waveforms, lengths):
        """Return the chosen outputs (batch, time, feature)."""
        outputs = self._run(waveforms, lengths)
        return {layer: self._arranged(layer, outputs[layer]) for layer in self.layers}

    def is_random(self) -> bool:
        """Whether the same sound gives other numbers with another seed."""
        samples = self.sample_rate
        waveforms = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
        lengths, seed = torch.tensor([samples]), self.seed
        one = self._run(waveforms, lengths)
        try:
            self.seed = seed + 1
            other = self._run(waveforms, lengths)
        finally:
            self.seed = seed
        return any(not torch.equal(one[layer], other[layer]) for layer in one)

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights; what does not begin with `prefix` is left aside, or gets it."""
        names = tuple(state)
        state = renamed(self.network.state_dict(), state, self.prefix)
        self.notes = load_strictly(
            self.network,
            state,
            ignore=self.ignore,
            what=type(self.network).__name__,
            initial=self.initial,
            names=names,
        )

    def _run(self, waveforms, lengths) -> dict[str, torch.Tensor]:
        arguments = {self.length_argument: lengths} if self.length_argument else {}
        with torch.no_grad(), plainly(self.seed, waveforms.device), self._recording() as seen:
            self.network(INPUTS[self.takes](waveforms), **arguments)
        return seen

    @contextlib.contextmanager
    def _recording(self) -> Iterator[dict[str, torch.Tensor]]:
        seen: dict[str, torch.Tensor] = {}
        modules = dict(self.network.named_modules())

        def hook(name):
            def keep(_module, _inputs, output):
                tensor = first_tensor(output)
                if tensor is None:
                    raise ValueError(f"{name} gives no tensor: leave it out of `layers`")
                # A block that is shared by several layers runs more than once.
                again = sum(1 for key in seen if key.partition("#")[0] == name)
                # A copy: what follows may write into it, as a ReLU in place does.
                seen[f"{name}#{again + 1}" if again else name] = tensor.detach().clone()

            return keep

        handles = [modules[name].register_forward_hook(hook(name)) for name in self.chosen]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def _arranged(self, layer: str, output: torch.Tensor) -> torch.Tensor:
        batch, time = self.axes[layer]
        if batch is None:
            raise ValueError(f"the output of {layer} has no batch axis: leave it out of `layers`")
        if time is None:
            return output.movedim(batch, 0).flatten(1).unsqueeze(1)
        moved = output.movedim((batch, time), (0, 1))
        return moved.flatten(2) if moved.ndim > 2 else moved.unsqueeze(-1)


def _plain_name(pattern: str) -> str:
    return ".".join(word for word in pattern.split(".") if word != "_orig_mod")


def _factory(name: str):
    module, _, function = name.partition(":")
    if not function:
        raise ValueError(
            f"`factory` is {name!r}: write it as package.module:function{_perhaps(name)}"
        )
    if module.endswith(".py") or "/" in module:
        raise ValueError(
            f"`factory` is {name!r}: it names a module, not a file{_perhaps(name)}; a file is "
            "found beside the YAML and in the working directory"
        )
    plugins.look_in(Path.cwd())
    try:
        thing: Any = importlib.import_module(module)
        for part in function.split("."):
            thing = getattr(thing, part)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise ValueError(f"cannot import the factory {name!r}: {error}") from error
        raise ValueError(
            f"cannot import the factory {name!r}: there is no module {module!r}, installed or in "
            f"{plugins.listed()}: put it beside the YAML file, or correct the name"
        ) from None
    except (ImportError, AttributeError) as error:
        close = nearest(function, vars(sys.modules.get(module, object)))
        hint = f"; did you mean `{module}:{close}`?" if close else ""
        raise ValueError(f"cannot import the factory {name!r}: {error}{hint}") from error
    except Exception as error:  # whatever somebody's module does
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(f"cannot import the factory {name!r}: {why}") from error
    if not callable(thing):
        raise ValueError(f"the factory {name!r} is a {type(thing).__name__}, not a function")
    return thing


def _perhaps(name: str) -> str:
    """Suggest how a factory that is written otherwise is meant, where that can be told."""
    place, _, function = name.partition(":")
    path = place.removesuffix(".py").strip("./").replace("/", ".")
    if not function and "." in path and not place.endswith(".py"):
        path, _, function = path.rpartition(".")
    return f", such as `{path}:{function or 'Network'}`"


def _changed(one: torch.Tensor, other: torch.Tensor, layer: str) -> int | None:
    axes = [axis for axis in range(one.ndim) if one.shape[axis] != other.shape[axis]]
    if len(axes) > 1:
        raise ValueError(
            f"several axes of the output of {layer} change at once ({tuple(one.shape)} and "
            f"{tuple(other.shape)}): leave it out of `layers`"
        )
    return axes[0] if axes else None
