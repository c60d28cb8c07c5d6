"""Audio networks of transformers: wav2vec 2.0 and its kin, Whisper's encoder, AST, and others.

Wolf et al. (2020), doi 10.18653/v1/2020.emnlp-demos.6; Radford et al. (2023), arXiv 2212.04356;
Gong et al. (2021), arXiv 2104.01778.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dynamics.models.huggingface.mel import Spectrogram, Whisper
from dynamics.models.huggingface.model import HuggingFaceModel, silent
from dynamics.models.huggingface.waves import Waves

LIBRARIES = ("transformers",)

# Families that need another front end; all others take waveforms.
FAMILIES: dict[str, Callable[..., HuggingFaceModel]] = {
    "whisper": Whisper,
    "audio-spectrogram-transformer": Spectrogram,
}


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
    with torch.random.fork_rng(devices=[]), silent():
        torch.manual_seed(seed)
        network = AutoModel.from_config(settings)
    model = FAMILIES.get(settings.model_type, Waves)(
        network, settings, folder=folder, normalise=normalise
    ).settle()
    if state is not None:
        model.load_weights(state)
    model.finish()
    return model


def check(*, config: str | Path | Mapping[str, Any] | None = None, **_: Any) -> None:
    """Raise a ValueError where a configuration of the sweep, not of a checkpoint, is none."""
    if config is not None:
        _settings(config, None)


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
