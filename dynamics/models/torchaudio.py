"""wav2vec 2.0, HuBERT and WavLM as torchaudio builds them.

Baevski et al. (2020), arXiv 2006.11477; Hsu et al. (2021), arXiv 2106.07447; Chen et al. (2022),
arXiv 2110.13900.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dynamics.models.hearing import Hearing
from dynamics.models.waveform import WaveformModel, decide_batchable, normalised
from dynamics.models.weights import load_strictly, remembered

LIBRARIES = ("torchaudio",)
HEARING = Hearing()

FACTORIES = (
    "wav2vec2_base", "wav2vec2_large", "wav2vec2_large_lv60k", "wav2vec2_xlsr_300m",
    "wav2vec2_xlsr_1b", "wav2vec2_xlsr_2b", "hubert_base", "hubert_large", "hubert_xlarge",
    "wavlm_base", "wavlm_large", "wav2vec2_model", "wavlm_model",
)  # fmt: skip

# Training heads, and the part of pretraining wrappers that is not the encoder.
_HEADS = ("aux.*", "mask_generator.*", "logit_generator.*", "mask_embedding")


def build(
    state: Mapping[str, torch.Tensor] | None = None,
    *,
    name: str = "wav2vec2_base",
    options: Mapping[str, Any] | None = None,
    normalise: bool = False,
    seed: int = 0,
) -> TorchaudioModel:
    """Build a network of torchaudio.

    Parameters
    ----------
    state : mapping of str to Tensor, optional
        Weights as torchaudio saves them, also of its pretraining wrapper; None leaves the initial
        ones.
    name : str
        A factory in ``FACTORIES``; ``wav2vec2_model`` and ``wavlm_model`` take every size in
        `options`.
    options : mapping, optional
        Arguments of the factory.
    normalise : bool
        Whether each waveform is brought to zero mean and unit variance, as the large models were
        trained with.
    seed : int
        Of the initial weights.

    Returns
    -------
    TorchaudioModel
        Layers ``layer0`` and on, one a transformer layer.

    Raises
    ------
    ValueError
        Where there is no such factory or the weights do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(name, options)
    model = TorchaudioModel(network, name, normalise=normalise).settle()
    if state is not None:
        model.load_weights(state)
    decide_batchable(model, _reason(network))
    return model


def check(
    *, name: str = "wav2vec2_base", options: Mapping[str, Any] | None = None, **_: Any
) -> None:
    """Raise a ValueError where there is no such factory, or it does not take its options."""
    with torch.device("meta"):  # without memory
        _network(name, options)


def _network(name: str, options: Mapping[str, Any] | None) -> Any:
    import torchaudio.models

    if name not in FACTORIES:
        raise ValueError(f"torchaudio has no network {name!r}: there are {', '.join(FACTORIES)}")
    try:
        return getattr(torchaudio.models, name)(**(options or {}))
    except TypeError as error:
        reason = str(error).replace("()", "")
        raise ValueError(
            f"torchaudio cannot build the network: {reason}: correct `options`"
        ) from error


class TorchaudioModel(WaveformModel):
    """A `torchaudio.models.Wav2Vec2Model` behind the common face."""

    def __init__(self, network: Any, name: str, *, normalise: bool):
        super().__init__()
        self.network = network
        self.name = name
        self.initial = remembered(network)
        self.normalise = normalise
        count = len(network.encoder.transformer.layers)
        self.layers = tuple(f"layer{i}" for i in range(count))
        field, stride = 1, 1
        for block in network.feature_extractor.conv_layers:
            field += (block.kernel_size - 1) * stride
            stride *= block.stride
        self.field, self.stride = field, stride
        times = (field / 2 / self.sample_rate, stride / self.sample_rate)
        self.frame_times = dict.fromkeys(self.layers, times)

    def prepare(self, waveforms, lengths=None):
        """Zero what lies after each end; normalise where asked."""
        waveforms, lengths = super().prepare(waveforms, lengths)
        return (normalised(waveforms, lengths) if self.normalise else waveforms), lengths

    def forward_prepared(self, waveforms, lengths):
        """Return every transformer layer's output (batch, time, feature)."""
        # Without padding no mask is needed, and WavLM's attention takes none.
        same = bool((lengths == waveforms.shape[1]).all())
        outputs, _ = self.network.extract_features(waveforms, None if same else lengths)
        return dict(zip(self.layers, outputs))

    def frames(self, lengths):
        """Count frames by the formula of the convolutions."""
        count = ((lengths - self.field) // self.stride + 1).clamp(min=0)
        return dict.fromkeys(self.layers, count)

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights; heads and the pretraining wrapper's prefix may be there."""
        own = self.network.state_dict()
        heads = [pattern for pattern in _HEADS if not any(_under(n, pattern) for n in own)]
        self.notes = load_strictly(
            self.network,
            state,
            ignore=[*heads, "mask_generator.*"],
            what=f"torchaudio's {self.name}",
            parts=True,
            initial=self.initial,
        )


def _under(name: str, pattern: str) -> bool:
    return name.startswith(pattern.rstrip("*"))


def _reason(network: Any) -> str:
    first = network.feature_extractor.conv_layers[0]
    if isinstance(first.layer_norm, torch.nn.GroupNorm):
        return "its first layer normalises over the whole input, padding included"
    return "torchaudio's WavLM attention takes no mask"
