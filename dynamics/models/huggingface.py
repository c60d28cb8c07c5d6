"""Audio networks of transformers: wav2vec 2.0 and its kin, Whisper's encoder, AST, and others.

Wolf et al. (2020), doi 10.18653/v1/2020.emnlp-demos.6; Radford et al. (2023), arXiv 2212.04356;
Gong et al. (2021), arXiv 2104.01778.
"""

from __future__ import annotations

import contextlib
import importlib
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
    inside,
    measure_frame_times,
    normalised,
)

logger = logging.getLogger(__name__)

LIBRARIES = ("transformers",)


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
    model = _family(settings.model_type)(
        network, settings, folder=folder, normalise=normalise
    ).settle()
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
        extractor = preprocessor(folder)
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
            with torch.no_grad():
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


# Families that need another front end, and where they are; all others take waveforms.
FAMILIES = {
    "whisper": "Whisper",
    "audio-spectrogram-transformer": "Spectrogram",
}


def _family(kind: str) -> Callable[..., HuggingFaceModel]:
    if kind not in FAMILIES:
        return Waves
    return getattr(importlib.import_module("dynamics.models.huggingface_mel"), FAMILIES[kind])


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


def preprocessor(folder: Path | None) -> dict[str, Any]:
    """Read the settings of the front end beside a checkpoint; empty where there are none."""
    path = folder / "preprocessor_config.json" if folder else None
    return json.loads(path.read_text()) if path is not None and path.is_file() else {}


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
