"""Settings of a front end: sampling rate and normalisation, wherever transformers keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynamics.checkpoints.sidecars import read_json
from dynamics.filesystems import open_regular

# Files and the entries in them, in the order in which transformers 5 looks; None is the whole file.
_PLACES = (
    ("processor_config.json", ("feature_extractor", "audio_processor")),
    ("preprocessor_config.json", ("feature_extractor", "audio_processor", None)),
    ("feature_extractor_config.json", (None,)),
    ("processor_config.json", (None,)),
    ("config.json", ("feature_extractor_config", "feature_extractor", "preprocessor_config")),
)

# An entry is one of a front end of sounds where it has one of these.
_TELLING = ("sampling_rate", "do_normalize", "feature_extractor_type", "feature_size")


@dataclass(frozen=True)
class FrontEnd:
    """Settings and where they came from.

    Attributes
    ----------
    settings : dict
        As the file has them; empty where there is none.
    note : str
        The file and what was taken; empty where there is none.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def front_end(places: Iterable[str | Path]) -> FrontEnd:
    """Read the settings of a front end.

    Parameters
    ----------
    places : iterable of str or Path
        Folders, or names of models on the hub, in the order of preference.

    Returns
    -------
    FrontEnd
        Of the first place that has some.

    Raises
    ------
    ValueError
        Where a file is not JSON.
    """
    for place in places:
        for name, settings in _entries(place):
            if isinstance(settings, Mapping) and any(key in settings for key in _TELLING):
                taken = ("sampling_rate", "do_normalize", "mean", "std")
                said = [f"{key} {settings[key]}" for key in taken if key in settings]
                return FrontEnd(dict(settings), f"{', '.join(said) or 'defaults'} of {name}")
    return FrontEnd()


def _entries(place: str | Path) -> Iterator[tuple[str, Any]]:
    if isinstance(place, str):
        yield from _of_hub(place)
        return
    for name, keys in _PLACES:
        if (place / name).is_file():
            tree = _json(place / name)
            for key in keys:
                yield name, tree if key is None else tree.get(key)


def _of_hub(name: str) -> Iterator[tuple[str, Any]]:
    from transformers import FeatureExtractionMixin

    try:
        yield f"the front end of {name}", FeatureExtractionMixin.get_feature_extractor_dict(name)[0]
    except (OSError, ValueError):  # it has none
        return


def _json(path: Path) -> Mapping[str, Any]:
    try:
        with open_regular(path) as file:
            tree = read_json(file)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): mend or remove it") from error
    return tree if isinstance(tree, Mapping) else {}
