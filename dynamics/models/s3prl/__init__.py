"""Upstreams of s3prl's hub, from checkpoints of its own or of other libraries.

Yang et al. (2021), SUPERB, arXiv 2105.01051.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from dynamics.checkpoints import weights_of
from dynamics.models.hearing import Hearing
from dynamics.models.names import resolve
from dynamics.models.recording import plainly
from dynamics.models.s3prl.contents import (
    arrived,
    in_single,
    read_contents,
    refuse_calls,
    replaced,
    same,
    write_contents,
)
from dynamics.models.s3prl.hub import import_hub, needs, quiet, upstreams
from dynamics.models.waveform import WaveformModel, decide_batchable
from dynamics.models.weights import check_finite, check_kinds, load_strictly

__all__ = ["LIBRARIES", "Upstream", "build", "import_hub", "needs", "quiet", "upstreams"]

LIBRARIES = ("s3prl", "torchaudio")
HEARING = Hearing(causal=None)

# Samples to which s3prl lengthens what is shorter (50 ms).
PADDED = 800
_FEW_FRAMES = 8


def build(
    state: Mapping[str, torch.Tensor] | None = None,
    *,
    name: str,
    options: Mapping[str, Any] | None = None,
    randomize: bool = False,
    seed: int = 0,
    checkpoint: str | None = None,
    trust: bool = False,
) -> Upstream:
    """Build an upstream of s3prl.

    Parameters
    ----------
    state : mapping of str to Tensor, optional
        Weights that replace those of `checkpoint`, by the same names.
    name : str
        Name in s3prl's hub: ``tera_local``, ``hubert_custom`` and others that take a checkpoint, or
        a published one such as ``hubert``, which s3prl then downloads.
    options : mapping, optional
        Further arguments of the upstream (``extra_conf`` of ``S3PRLUpstream``).
    randomize : bool
        Whether all weights are drawn anew, for a control of the same architecture.
    seed : int
        Of the weights that are drawn.
    checkpoint : str, optional
        File or folder with weights and the configuration that s3prl builds the network from.
    trust : bool
        True lets the checkpoint run code. Without it s3prl gets a copy with only harmless contents,
        and a configuration that would call a function is refused: s3prl evaluates some settings.

    Returns
    -------
    Upstream
        Layers ``hidden0`` and on, as ``S3PRLUpstream`` orders them.

    Raises
    ------
    ValueError
        Where there is no such upstream, it cannot be built from the checkpoint, or it needs one.
    """
    check(name=name)
    if checkpoint is None and name.endswith(("_local", "_custom", "_url")):
        raise ValueError(
            f"s3prl builds {name} from a checkpoint's own configuration: give it a checkpoint"
        )
    template = None
    if checkpoint is not None:
        template = read_contents(Path(checkpoint), trust, state)
        if not trust:
            refuse_calls(template, checkpoint)
    model = Upstream(name, dict(options or {}), template=template, randomize=randomize, seed=seed)
    if state is not None and template is not None:
        taken, there = model.check(state), weights_of(template)
        if not randomize and any(not same(taken[name], there[name]) for name in there):
            model.load_weights(state)  # an average, say, of the weights that the file is built from
    return model


def check(*, name: str, **_: Any) -> None:
    """Raise a ValueError where s3prl has no such upstream, or lacks what it builds it with."""
    hub = import_hub()
    if name not in hub.options():
        raise ValueError(
            f"s3prl has no upstream {name!r}: `dynamics models s3prl` lists the {len(upstreams())}"
        )
    if package := needs(name):
        raise ValueError(
            f"s3prl builds {name} with {package}, which is not installed: see its own README"
        )


class Upstream(WaveformModel):
    """An ``S3PRLUpstream`` behind the common face.

    s3prl builds every network from a file, each family in its own way. To exchange weights, they
    are put into the contents of the first file and the network is built from that; the front end
    and all settings stay those of the first file.
    """

    def __init__(self, name, options, *, template, randomize, seed):
        super().__init__()
        self.name = name
        self.options = options
        self.template = template
        self.randomize = randomize
        self.seed = seed
        self.network = self._built(template)
        self.layers = tuple(f"hidden{i}" for i in range(self.network.num_layers))
        # The front ends of nearly all upstreams have windows of 25 ms (wav2vec 2.0: 400 samples).
        self.frame_times = {
            layer: (0.0125, stride / self.sample_rate)
            for layer, stride in zip(self.layers, self.network.downsample_rates)
        }
        self.settle()
        self.shortest = self._shortest()
        decide_batchable(self, "s3prl gives every stimulus the frames of the longest")

    def forward_prepared(self, waveforms, lengths):
        """Return every hidden state (batch, time, feature)."""
        # Some front ends dither: the same noise each time.
        with torch.no_grad(), quiet(), plainly(self.seed, waveforms.device):
            states = self._states(waveforms, lengths)
        counts = self.frames(lengths)
        return {
            layer: values[:, : int(counts[layer].max())]
            for layer, values in zip(self.layers, states)
        }

    def frames(self, lengths):
        """Count frames as s3prl does: one each started stride; none below the receptive field."""
        return {
            layer: (torch.div(lengths - 1, stride, rounding_mode="floor") + 1)
            * (lengths >= self.shortest)
            for layer, stride in zip(self.layers, self.network.downsample_rates)
        }

    def _states(self, waveforms, lengths):
        """Run s3prl on sounds of at least 50 ms.

        It lengthens a batch of short sounds until the longest has 50 ms: a sound would hear more
        silence after its end in one batch than in another. Here each has 50 ms, as alone.
        """
        longer = lengths.clamp(min=PADDED)
        padding = max(0, int(longer.max()) - waveforms.shape[1])
        return self.network(torch.nn.functional.pad(waveforms, (0, padding)), longer)[0]

    def _shortest(self) -> int:
        """Find the fewest samples of which the network has a frame without any padding."""

        def has_frames(samples: int) -> bool:
            silence = torch.zeros(1, samples)
            try:
                with torch.no_grad(), quiet(), torch.random.fork_rng(devices=[]):
                    states = self.network.upstream([silence[0]])["hidden_states"]
                    self._states(silence, torch.tensor([samples]))
            except (RuntimeError, ValueError, IndexError, AssertionError):
                return False
            return all(state.shape[1] > 0 for state in states)

        low, high = 1, self.sample_rate
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if has_frames(middle) else (middle + 1, high)
        return low

    def check(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return weights by the names of the file that the network was built from.

        A ValueError says what does not fit.
        """
        if self.template is None:
            raise ValueError(
                f"{self.name} was built without a file: its weights cannot be exchanged"
            )
        expected = weights_of(self.template)
        holder = _Holder(expected)
        found, _ = resolve(holder, state)
        self.notes = load_strictly(holder, state, what=f"s3prl's {self.name}")
        check_kinds(found, found.keys() & expected.keys(), what=f"s3prl's {self.name}")
        check_finite(found)
        found = {name: in_single(value) for name, value in found.items()}
        return expected | {name: found[name] for name in expected.keys() & found.keys()}

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights, by the names that the first checkpoint has."""
        state = self.check(state)
        names = {id(value): name for name, value in weights_of(self.template).items()}
        place = next((t.device for t in chain(self.parameters(), self.buffers())), None)
        # Built on the CPU, it goes where the network of the checkpoint before was.
        self.network = self._built(replaced(self.template, names, state)).to(place)
        self.settle()

    def _built(self, contents) -> torch.nn.Module:
        with quiet():
            from s3prl.nn import S3PRLUpstream
        with tempfile.TemporaryDirectory() as folder:
            where = None if contents is None else write_contents(contents, Path(folder))
            try:
                with quiet(), torch.random.fork_rng(devices=[]):
                    torch.manual_seed(self.seed)
                    network = S3PRLUpstream(
                        self.name,
                        path_or_url=where,
                        extra_conf=self.options,
                        randomize=self.randomize,
                    ).eval()
            except (Exception, SystemExit) as error:
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                raise ValueError(
                    f"s3prl cannot build {self.name} from this checkpoint: {reason}"
                ) from error
        network._match_length = functools.partial(_matched, network._match_length)
        if contents is not None and not self.randomize and arrived(network, contents) < 0.9:
            # Several families take what fits and keep random weights for the rest.
            raise ValueError(
                f"s3prl built {self.name}, but most weights of the checkpoint did not get into it: "
                "it is of another family"
            )
        return network


def _matched(match, states: torch.Tensor, target: int) -> torch.Tensor:
    """Give hidden states (batch, time, feature) s3prl's number of frames, also of a short sound.

    Like s3prl, by repeating the last frame; but s3prl refuses some lengths between those it takes
    (of wav2vec 2.0, 961 to 1,039 samples), where that is half of the frames.
    """
    there = states.shape[1]
    if there and there < target <= _FEW_FRAMES:
        return torch.cat([states, states[:, -1:].expand(-1, target - there, -1)], dim=1)
    return match(states, target)


class _Holder(torch.nn.Module):
    """Weights of given shapes without memory, to compare names and shapes with."""

    def __init__(self, weights):
        super().__init__()
        self.weights = {n: torch.empty_like(value, device="meta") for n, value in weights.items()}

    def state_dict(self, *, keep_vars=False):
        return self.weights
