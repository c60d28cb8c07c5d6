"""Audio networks of transformers: wav2vec 2.0 and its kin, Whisper's encoder, AST, and others.

Wolf et al. (2020), doi 10.18653/v1/2020.emnlp-demos.6; Radford et al. (2023), arXiv 2212.04356;
Gong et al. (2021), arXiv 2104.01778.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dynamics.models import load_strictly
from dynamics.models.waveform import (
    WaveformModel,
    decide_batchable,
    measure_frame_times,
    normalised,
)

logger = logging.getLogger(__name__)


def build(
    state: Mapping[str, torch.Tensor] | None = None,
    *,
    config: str | Path | Mapping[str, Any] | None = None,
    normalise: bool | None = None,
    seed: int = 0,
    checkpoint: str | None = None,
) -> HuggingFaceModel:
    """Build a network of transformers from its configuration.

    Parameters
    ----------
    state : mapping of str to Tensor, optional
        Weights as transformers saves them, with or without a training head; None initialises.
    config : str, Path or mapping, optional
        A ``config.json`` or its folder, the name of a model on the hub, or the settings themselves
        with their ``model_type``. By default the one beside the checkpoint.
    normalise : bool, optional
        Whether each waveform is brought to zero mean and unit variance. By default what
        ``preprocessor_config.json`` says, else true for networks with layer-normed features.
    seed : int
        Of the initial weights.
    checkpoint : str, optional
        Where the weights came from, to find ``config.json``.

    Returns
    -------
    HuggingFaceModel
        Layers ``embedding`` (what enters the first layer), ``layer0`` and on.

    Raises
    ------
    ValueError
        Where there is no configuration, or the weights do not fit it.
    ImportError
        Where transformers is not installed.
    """
    from transformers import AutoModel

    settings, folder = _settings(config, checkpoint)
    with torch.random.fork_rng(devices=[]), _silent():
        torch.manual_seed(seed)
        network = AutoModel.from_config(settings)
    family = FAMILIES.get(settings.model_type, Waves)
    model = family(network, settings, folder=folder, normalise=normalise).settle()
    if state is not None:
        model.load_weights(state)
    model.finish()
    return model


class HuggingFaceModel(WaveformModel):
    """A network of transformers behind the common face."""

    def __init__(self, network: torch.nn.Module, settings: Any):
        super().__init__()
        self.network = network.eval()
        self.settings = settings

    def _name_layers(self, count: int) -> None:
        self.layers = ("embedding", *(f"layer{i}" for i in range(count - 1)))

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights; heads of training, and names of older transformers, are known."""
        what = f"transformers' {type(self.network).__name__}"
        prefix = self.network.base_model_prefix + "."
        if any(name.startswith(prefix) for name in state):
            state = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        own = self.network.state_dict().keys()
        state = {n: v for n, v in state.items() if n in own or not _is_other_part(n)}
        if state.keys() != own:
            state = self._renamed(state)
        load_strictly(self.network, state, optional=["*masked_spec_embed", "decoder.*"], what=what)

    def _renamed(self, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Let transformers translate the names that its earlier versions saved."""
        with _silent(), torch.random.fork_rng(devices=[]):
            try:
                loaded, told = type(self.network).from_pretrained(
                    None, config=self.settings, state_dict=dict(state), output_loading_info=True
                )
            except (RuntimeError, ValueError, TypeError) as error:
                logger.debug("transformers cannot translate the names: %s", error)
                return state
        if told["missing_keys"] or told["unexpected_keys"]:
            return state
        return loaded.state_dict()

    def finish(self) -> None:
        """Note what can only be known of the complete network."""


class Waves(HuggingFaceModel):
    """Networks that take waveforms: wav2vec 2.0, HuBERT, WavLM, data2vec, UniSpeech, others."""

    def __init__(self, network, settings, *, folder=None, normalise=None):
        super().__init__(network, settings)
        extractor = _preprocessor(folder)
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
            mask = (torch.arange(waveforms.shape[1]) < lengths.unsqueeze(1)).long()
        return dict(zip(self.layers, self._run(waveforms, mask)))

    def _run(self, waveforms, mask):
        arguments = {"attention_mask": mask} if mask is not None else {}
        with torch.no_grad():
            out = self.network(waveforms, output_hidden_states=True, **arguments)
        states = getattr(out, "hidden_states", None)
        if states is None:
            raise ValueError(
                f"transformers' {type(self.network).__name__} gives no hidden states: "
                "use the adapter `module` and name its layers"
            )
        return states

    def frames(self, lengths):
        """Count frames by the network's own formula, or by running it."""
        if hasattr(self.network, "_get_feat_extract_output_lengths") and self._strided():
            count = self.network._get_feat_extract_output_lengths(lengths).to(torch.int64)
            return dict.fromkeys(self.layers, count.clamp(min=1))
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


class Whisper(HuggingFaceModel):
    """Whisper's encoder: it takes log-mel frames of a window that every stimulus is padded to."""

    def __init__(self, network, settings, *, folder=None, normalise=None):
        from transformers import WhisperFeatureExtractor

        super().__init__(network, settings)
        self.window = settings.max_source_positions * 320
        extractor = _preprocessor(folder)
        self.sample_rate = int(extractor.get("sampling_rate", 16000))
        self.extractor = WhisperFeatureExtractor(
            feature_size=settings.num_mel_bins,
            sampling_rate=self.sample_rate,
            chunk_length=self.window // self.sample_rate,
        )
        self.extractor.n_samples = self.window
        # The decoder is not used: it need not be in memory, nor in the checkpoint.
        self.network.decoder = torch.nn.Identity()
        self._name_layers(settings.encoder_layers + 1)
        self.frame_times = dict.fromkeys(self.layers, (0.0, 320 / self.sample_rate))

    def prepare(self, waveforms, lengths=None):
        """Return log-mel frames (batch, mels, frames) of each stimulus, padded to the window."""
        waveforms, lengths = super().prepare(waveforms, lengths)
        return (_each(waveforms, lengths, self._features, self.window, self.sample_rate),)

    def _features(self, waveform):
        return self.extractor(
            waveform, sampling_rate=self.sample_rate, return_tensors="pt", max_length=self.window
        )["input_features"]

    def forward_prepared(self, features):
        """Return what enters the first layer, and every layer's output (batch, time, feature)."""
        with torch.no_grad():
            out = self.network.encoder(features, output_hidden_states=True)
        return dict(zip(self.layers, out.hidden_states))

    def frames(self, lengths):
        """Count frames that begin within the stimulus."""
        return dict.fromkeys(self.layers, (lengths + 319) // 320)


class Spectrogram(HuggingFaceModel):
    """AST: patches of a log-mel spectrogram; the patches of one time are averaged."""

    def __init__(self, network, settings, *, folder=None, normalise=None):
        from transformers import ASTFeatureExtractor

        super().__init__(network, settings)
        extractor = _preprocessor(folder)
        known = {k: extractor[k] for k in ("mean", "std", "do_normalize") if k in extractor}
        self.extractor = ASTFeatureExtractor(
            num_mel_bins=settings.num_mel_bins, max_length=settings.max_length, **known
        )
        self.sample_rate = self.extractor.sampling_rate
        # 25 ms windows every 10 ms, without frames that begin before the sound.
        self.window = 400 + (settings.max_length - 1) * 160
        stride, size = settings.time_stride, settings.patch_size
        self.rows = (settings.num_mel_bins - size) // settings.frequency_stride + 1
        self._name_layers(settings.num_hidden_layers + 1)
        first = (200 + 160 * (size - 1) / 2) / self.sample_rate
        self.frame_times = dict.fromkeys(self.layers, (first, 160 * stride / self.sample_rate))

    def prepare(self, waveforms, lengths=None):
        """Return log-mel frames (batch, frames, mels) of each stimulus, padded to the window."""
        waveforms, lengths = super().prepare(waveforms, lengths)
        return (_each(waveforms, lengths, self._features, self.window, self.sample_rate),)

    def _features(self, waveform):
        if len(waveform) < 400:
            raise ValueError(
                f"AST needs at least 25 ms of sound and a stimulus has {len(waveform)} samples: "
                "leave it out"
            )
        return self.extractor(waveform, sampling_rate=self.sample_rate, return_tensors="pt")[
            "input_values"
        ]

    def forward_prepared(self, features):
        """Return what enters the first layer, and every layer's output (batch, time, feature)."""
        with torch.no_grad():
            out = self.network(features, output_hidden_states=True)
        tokens = (state[:, 2:] for state in out.hidden_states)
        return {
            layer: values.unflatten(1, (self.rows, -1)).mean(1)
            for layer, values in zip(self.layers, tokens)
        }

    def frames(self, lengths):
        """Count patches that lie within the stimulus as a whole."""
        frames = (lengths - 400) // 160 + 1
        count = (frames - self.settings.patch_size) // self.settings.time_stride + 1
        return dict.fromkeys(self.layers, count.clamp(min=1))


FAMILIES: dict[str, Callable[..., HuggingFaceModel]] = {
    "whisper": Whisper,
    "audio-spectrogram-transformer": Spectrogram,
}


def _settings(config, checkpoint):
    """Return a network's configuration, and the folder that it lies in where there is one."""
    from transformers import AutoConfig

    if isinstance(config, Mapping):
        settings = dict(config)
        kind = settings.pop("model_type", None)
        if kind is None:
            raise ValueError("`config` has no `model_type`: name one, such as wav2vec2")
        return AutoConfig.for_model(kind, **settings), None
    if config is None:
        folder = Path(checkpoint) if checkpoint else None
        if folder is not None and not folder.is_dir():
            folder = folder.parent
        if folder is None or not (folder / "config.json").is_file():
            raise ValueError(
                "there is no config.json beside the checkpoint: give the adapter a `config`, a "
                "config.json or the name of a model on the hub"
            )
        config = folder
    path = Path(config)
    if path.is_file():
        path = path.parent
    if path.is_dir():
        return AutoConfig.from_pretrained(str(path)), path
    try:
        return AutoConfig.from_pretrained(str(config)), None
    except OSError as error:
        raise ValueError(
            f"there is no configuration {str(config)!r}, neither here nor on the hub: give the "
            "path of a config.json"
        ) from error


def _preprocessor(folder: Path | None) -> dict[str, Any]:
    path = folder / "preprocessor_config.json" if folder else None
    return json.loads(path.read_text()) if path is not None and path.is_file() else {}


def _each(waveforms, lengths, features, window, rate):
    longest = int(lengths.max())
    if longest > window:
        raise ValueError(
            f"a stimulus of {longest / rate:.1f} s is longer than the network's window of "
            f"{window / rate:.1f} s: cut it"
        )
    rows = [features(w[:n].numpy()) for w, n in zip(waveforms, lengths.tolist())]
    return torch.cat(rows)


def _is_other_part(name: str) -> bool:
    """Whether a weight belongs to a decoder or to a head that only training uses."""
    heads = ("decoder.", "proj_out.", "lm_head.", "quantizer.", "project_q.", "project_hid.",
             "classifier.", "projector.", "dropout_features.", "label_embeddings_concat",
             "final_proj.", "layer_weights")  # fmt: skip
    return name.startswith(heads)


def _parameters(function) -> set[str]:
    return set(inspect.signature(function).parameters)


@contextlib.contextmanager
def _silent():
    """Keep transformers' reports on freshly initialised weights out of the terminal."""
    from transformers.utils import logging as verbosity

    level = verbosity.get_verbosity()
    verbosity.set_verbosity_error()
    try:
        yield
    finally:
        verbosity.set_verbosity(level)
