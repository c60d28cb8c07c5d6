"""Audio networks of transformers: wav2vec 2.0 and its kin, Whisper's encoder, AST, and others.

Wolf et al. (2020), doi 10.18653/v1/2020.emnlp-demos.6; Radford et al. (2023), arXiv 2212.04356;
Gong et al. (2021), arXiv 2104.01778.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dynamics.models.hearing import Hearing, Windows
from dynamics.models.huggingface.frontend import front_end
from dynamics.models.huggingface.mel import Spectrogram, Whisper
from dynamics.models.huggingface.model import HuggingFaceModel, silent
from dynamics.models.huggingface.waves import Waves

LIBRARIES = ("transformers",)

# Families that need another front end; all others take waveforms.
FAMILIES: dict[str, Any] = {
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
    trust: bool = False,
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
        ``processor_config.json`` or ``preprocessor_config.json`` says, beside the configuration,
        the checkpoint, or one folder up; else true for networks with layer-normed features.
    seed : int
        Of the initial weights.
    checkpoint : str, optional
        Where the weights came from, to find ``config.json``.
    trust : bool
        True lets the configuration run code that lies beside it. Without it such a network is
        refused, and nobody is asked.

    Returns
    -------
    HuggingFaceModel
        Layers ``embedding`` (what enters the first layer), ``layer0`` and on. It runs in single
        precision, whatever the weights were saved in.

    Raises
    ------
    ValueError
        Where there is no configuration, or the weights do not fit it.
    ImportError
        Where transformers is not installed.
    """
    from transformers import AutoModel

    settings, places = _settings(config, checkpoint, trust)
    with torch.random.fork_rng(devices=[]), silent():
        torch.manual_seed(seed)
        try:
            network = AutoModel.from_config(
                settings, dtype=torch.float32, trust_remote_code=trust
            ).float()
        except ValueError as error:
            raise _foreign(error) from error
    found = front_end(places)
    model = FAMILIES.get(settings.model_type, Waves)(
        network, settings, front=found.settings, normalise=normalise
    ).settle()
    model.taken = found.note
    if state is not None:
        model.load_weights(state)
    model.finish()
    return model


def check(
    *, config: str | Path | Mapping[str, Any] | None = None, trust: bool = False, **_: Any
) -> None:
    """Raise a ValueError where a configuration of the sweep, not of a checkpoint, is none."""
    if config is not None:
        _settings(config, None, trust)


def hearing(
    *,
    config: str | Path | Mapping[str, Any] | None = None,
    checkpoint: str | None = None,
    trust: bool = False,
    **_: Any,
) -> Hearing:
    """Say how long a sound a network takes, by its configuration, where that is at hand.

    Parameters
    ----------
    config, checkpoint, trust
        As for `build`.

    Returns
    -------
    Hearing
        Of Whisper and AST as long as the window that they pad every sound to.
    """
    if config is None and checkpoint is None:
        return Hearing(note="of Whisper (30 s) and AST (10.24 s) as long as what they take")
    try:
        settings, _places = _settings(config, checkpoint and str(checkpoint), trust)
    except (ValueError, OSError, ImportError):
        return Hearing()  # what is wrong with it is said where the network is built
    seconds = _LIMITS.get(FAMILIES.get(settings.model_type, Waves))
    return Hearing() if seconds is None else _within(seconds(settings))


# Seconds of the window that a network pads every sound to.
_LIMITS: dict[Any, Callable[[Any], float]] = {
    Whisper: lambda settings: settings.max_source_positions * 0.02,
    Spectrogram: lambda settings: 0.025 + (settings.max_length - 1) * 0.01,
}


def _within(limit: float) -> Hearing:
    """Divide the seconds that a network takes: of 30, 24 are context and 5 are kept."""
    stride, lookahead = round(limit / 6, 2), round(limit / 30, 2)
    context = int((limit - stride - lookahead) * 100 + 1e-6) / 100
    return Hearing(Windows(context, stride, lookahead), limit, absolute=True)


def _settings(config, checkpoint, trust):
    """Return a network's configuration, and where the settings of its front end may be."""
    from transformers import AutoConfig

    beside = []
    if checkpoint is not None:
        folder = Path(checkpoint) if Path(checkpoint).is_dir() else Path(checkpoint).parent
        beside = [folder, folder.absolute().parent]
    if isinstance(config, Mapping):
        settings = dict(config)
        kind = settings.pop("model_type", None)
        if kind is None:
            raise ValueError("`config` has no `model_type`: name one, such as wav2vec2")
        return AutoConfig.for_model(kind, **settings), beside
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
    here: dict[str, Any] = {"trust_remote_code": trust}
    if path.is_dir():
        try:
            found = AutoConfig.from_pretrained(str(path), local_files_only=True, **here)
        except ValueError as error:
            raise _foreign(error) from error
        return found, list(dict.fromkeys([path, *beside]))
    try:
        return AutoConfig.from_pretrained(str(config), **here), [str(config), *beside]
    except ValueError as error:
        raise _foreign(error) from error
    except OSError as error:
        raise ValueError(
            f"there is no configuration {str(config)!r}, neither here nor on the hub: give the "
            "path of a config.json"
        ) from error


def _foreign(error: ValueError) -> ValueError:
    """Say in one sentence that a network's own code is not run; other errors stay."""
    if "trust_remote_code" not in str(error):
        return error
    return ValueError(
        "the configuration names code of its own for this network (`auto_map`), which is not run: "
        "set `trust_checkpoints: true` if you trust its author"
    )
