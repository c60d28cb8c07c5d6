"""Upstreams of s3prl's hub, from checkpoints of its own or of other libraries.

Yang et al. (2021), SUPERB, arXiv 2105.01051.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dynamics.models.s3prl.contents import (
    arrived,
    read_contents,
    refuse_calls,
    replaced,
    write_contents,
)
from dynamics.models.s3prl.hub import import_hub, needs, quiet, upstreams
from dynamics.models.waveform import WaveformModel, decide_batchable
from dynamics.models.weights import check_finite, load_strictly

__all__ = ["LIBRARIES", "Upstream", "build", "import_hub", "needs", "quiet", "upstreams"]

LIBRARIES = ("s3prl", "torchaudio")


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
    hub = import_hub()
    if name not in hub.options():
        raise ValueError(
            f"s3prl has no upstream {name!r}: `dynamics models s3prl` lists the {len(upstreams())}"
        )
    if package := needs(name):
        raise ValueError(
            f"s3prl builds {name} with {package}, which is not installed: see its own README"
        )
    if checkpoint is None and name.endswith(("_local", "_custom", "_url")):
        raise ValueError(
            f"s3prl builds {name} from a checkpoint's own configuration: give it a checkpoint"
        )
    template = None
    if checkpoint is not None:
        template = read_contents(Path(checkpoint), trust)
        if not trust:
            refuse_calls(template, checkpoint)
    model = Upstream(name, dict(options or {}), template=template, randomize=randomize, seed=seed)
    if state is not None and template is not None:
        model.check(state)
    return model


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
        decide_batchable(self, "s3prl gives every stimulus the frames of the longest")

    def forward_prepared(self, waveforms, lengths):
        """Return every hidden state (batch, time, feature)."""
        with torch.no_grad(), quiet(), torch.random.fork_rng(devices=[]):
            # Some front ends dither: the same noise each time.
            torch.manual_seed(self.seed)
            states, _ = self.network(waveforms, lengths)
        return dict(zip(self.layers, states))

    def frames(self, lengths):
        """Count frames as s3prl does: one each started stride."""
        return {
            layer: torch.div(lengths - 1, stride, rounding_mode="floor") + 1
            for layer, stride in zip(self.layers, self.network.downsample_rates)
        }

    def check(self, state: Mapping[str, torch.Tensor]) -> None:
        """Raise a ValueError where weights do not fit the file that the network was built from."""
        from dynamics.checkpoints import weights_of

        if self.template is None:
            raise ValueError(
                f"{self.name} was built without a file: its weights cannot be exchanged"
            )
        expected = weights_of(self.template)
        holder = _Holder({name: value.shape for name, value in expected.items()})
        load_strictly(holder, state, what=f"s3prl's {self.name}")
        check_finite(state)

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights, by the names that the first checkpoint has."""
        from dynamics.checkpoints import weights_of

        self.check(state)
        names = {id(value): name for name, value in weights_of(self.template).items()}
        self.network = self._built(replaced(self.template, names, state))
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
        if contents is not None and not self.randomize and arrived(network, contents) < 0.9:
            # Several families take what fits and keep random weights for the rest.
            raise ValueError(
                f"s3prl built {self.name}, but most weights of the checkpoint did not get into it: "
                "it is of another family"
            )
        return network


class _Holder(torch.nn.Module):
    """Weights of given shapes without memory, to compare names and shapes with."""

    def __init__(self, shapes):
        super().__init__()
        self.shapes = shapes

    def state_dict(self, *, keep_vars=False):
        return {name: torch.empty(shape, device="meta") for name, shape in self.shapes.items()}
