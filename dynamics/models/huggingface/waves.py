"""Networks of transformers that take waveforms: wav2vec 2.0, HuBERT, WavLM, data2vec and others."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator

import torch

from dynamics.models.huggingface.model import HuggingFaceModel
from dynamics.models.waveform import decide_batchable, inside, measure_frame_times, normalised


class Waves(HuggingFaceModel):
    """Networks that take waveforms: wav2vec 2.0, HuBERT, WavLM, data2vec, UniSpeech, others."""

    def __init__(self, network, settings, *, front=None, normalise=None):
        super().__init__(network, settings)
        extractor = front or {}
        self.sample_rate = int(
            extractor.get("sampling_rate") or getattr(settings, "sampling_rate", None) or 16000
        )
        if normalise is None:
            layered = getattr(settings, "feat_extract_norm", "") == "layer"
            normalise = bool(extractor.get("do_normalize", layered))
        self.normalise = normalise
        self.masks = "attention_mask" in _parameters(network.forward)
        self._name_layers(self._count_layers())

    def _count_layers(self) -> int:
        out = self._run(torch.zeros(1, self.sample_rate // 2), None)
        return len(out)

    def prepare(self, waveforms, lengths=None):
        """Zero what lies after each end; normalise where the network was trained so."""
        waveforms, lengths = super().prepare(waveforms, lengths)
        return (normalised(waveforms, lengths) if self.normalise else waveforms), lengths

    def forward_prepared(self, waveforms, lengths):
        """Return the embedding and every layer's output (batch, time, feature)."""
        mask = None
        if self.masks and bool((lengths < waveforms.shape[1]).any()):
            mask = inside(lengths, waveforms.shape[1]).long()
        return dict(zip(self.layers, self._run(waveforms, mask)))

    def _run(self, waveforms, mask):
        arguments = {"attention_mask": mask} if mask is not None else {}
        try:
            with torch.no_grad(), self._last_block() as last:
                out = self.network(waveforms, output_hidden_states=True, **arguments)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            if self.layers:
                raise
            raise ValueError(
                f"transformers' {type(self.network).__name__} does not take waveforms "
                f"({' '.join(str(error).split())[:100]}): use the adapter `module`"
            ) from error
        states = getattr(out, "hidden_states", None)
        if states is None:
            raise ValueError(
                f"transformers' {type(self.network).__name__} gives no hidden states: "
                "use the adapter `module` and name its layers"
            )
        if last and last[-1].shape == states[-1].shape:
            states = (*states[:-1], last[-1])
        return states

    @contextlib.contextmanager
    def _last_block(self) -> Iterator[list[torch.Tensor]]:
        """Collect what the last block gives.

        After it, networks whose blocks begin with a norm have one more. transformers 4 and some
        5 give that norm's output as the last hidden state and others the block's. A layer here is
        what its block gives, from the first to the last and whichever version is installed.
        """
        blocks = getattr(getattr(self.network, "encoder", None), "layers", None)
        seen: list[torch.Tensor] = []
        if not isinstance(blocks, torch.nn.ModuleList) or not len(blocks):
            yield seen
            return

        def keep(_module, _inputs, output):
            seen.append(output[0] if isinstance(output, tuple) else output)

        handle = blocks[-1].register_forward_hook(keep)
        try:
            yield seen
        finally:
            handle.remove()

    def frames(self, lengths):
        """Count frames by the network's own formula, or by running it."""
        if hasattr(self.network, "_get_feat_extract_output_lengths") and self._strided():
            formula = self.network._get_feat_extract_output_lengths
            # The hidden states are those before an adapter, which some networks end with.
            before = {"add_adapter": False} if "add_adapter" in _parameters(formula) else {}
            count = formula(lengths, **before).to(torch.int64)
            return dict.fromkeys(self.layers, count.clamp(min=0))
        return super().frames(lengths)

    def _strided(self) -> bool:
        # Networks that squeeze time further on have another number of frames than convolutions.
        return not hasattr(self.settings, "squeeze_factor")

    def finish(self):
        """Measure whether padding matters, and where frames lie where no formula says it."""
        kernels = getattr(self.settings, "conv_kernel", None)
        strides = getattr(self.settings, "conv_stride", None)
        if kernels and strides and self._strided():
            field, stride = 1, 1
            for kernel, step in zip(kernels, strides):
                field += (kernel - 1) * stride
                stride *= step
            times = (field / 2 / self.sample_rate, stride / self.sample_rate)
            self.frame_times = dict.fromkeys(self.layers, times)
        else:
            self.frame_times = measure_frame_times(self)
        reason = "the network looks at the padding"
        if getattr(self.settings, "feat_extract_norm", "") == "group":
            reason = "its first layer normalises over the whole input, padding included"
        decide_batchable(self, reason)


def _parameters(function) -> set[str]:
    return set(inspect.signature(function).parameters)
