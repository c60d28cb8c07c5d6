"""Labels and acoustics of the stimuli in the place of a brain: what a layer shares with them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynamics.sounds import StimulusSet


def stimuli_labels(*, stimuli: StimulusSet, label: str = "category", least: int = 2) -> xr.Dataset:
    """Make a target of labels: one neuroid a class, 1 for the stimuli of the class and else 0.

    With the metric ``pwcca`` it is the analysis of words and phones of Pasad et al. 2021
    (arXiv:2107.04734), cross-validated.

    Parameters
    ----------
    stimuli : StimulusSet
        The sweep's stimuli.
    label : str
        A column or tier of the `events` of the stimuli, or ``category``.
    least : int
        Stimuli that a class must have; those of others are left out.

    Returns
    -------
    xarray.Dataset
        ``response`` (stimulus, neuroid). Parts of one recording have one ``group``, so that none
        trains what is tested on another.

    Raises
    ------
    ValueError
        If there is no such label, or no two classes are left.
    """
    within = stimuli.within
    labels = {"category": stimuli.categories} | dict(within.labels if within else {})
    if label not in labels:
        raise ValueError(
            f"stimuli '{stimuli.name}' have no label '{label}': there are {', '.join(labels)}"
        )
    own = np.array(labels[label])
    found, counts = np.unique(own[own != ""], return_counts=True)
    classes = found[counts >= least]
    if len(classes) < 2:
        raise ValueError(
            f"label '{label}' of stimuli '{stimuli.name}' has no two classes of at least {least} "
            "stimuli: take another one"
        )
    kept = np.flatnonzero(np.isin(own, classes))
    coords = {
        "stimulus": [stimuli.names[row] for row in kept],
        "neuroid": classes.tolist(),
        "subject": ("neuroid", [label] * len(classes)),
        "region": ("neuroid", [label] * len(classes)),
    }
    if within is not None and len(set(within.recording[kept].tolist())) > 1:
        places = [within.recordings.names[row] for row in within.recording[kept]]
        coords["group"] = ("stimulus", places)
    response = (own[kept, None] == classes).astype(float)
    return xr.Dataset(
        {"response": (("stimulus", "neuroid"), response)},
        coords,
        {
            "name": "stimuli-labels",
            "description": f"{label} of the stimuli, a class a neuroid; no brain",
            "citation": "",
            "units": "1",
            "of_stimuli": 1,
        },
    )


def stimuli_acoustics(*, stimuli: StimulusSet, mels: int = 40) -> xr.Dataset:
    """Make a target of log-mel spectrograms, averaged over each sound: one neuroid a band.

    With a metric of whole spaces it is the analysis of acoustic features of Pasad et al. 2021
    (arXiv:2107.04734), by sounds in the place of frames.

    Parameters
    ----------
    stimuli : StimulusSet
        The sweep's stimuli.
    mels : int
        Bands, 20 Hz to 12 kHz.

    Returns
    -------
    xarray.Dataset
        ``response`` (stimulus, neuroid), natural logarithm.
    """
    import torch

    from dynamics.models.mel import DEVIATION, MEAN, SAMPLE_RATE, log_mel

    rows = []
    for wave in stimuli.waveforms(SAMPLE_RATE):
        frames = log_mel(torch.from_numpy(np.array(wave, np.float32)), mels=mels)
        rows.append(frames.double().mean(0).numpy() * DEVIATION + MEAN)
    coords = {
        "stimulus": list(stimuli.names),
        "neuroid": [f"mel{band}" for band in range(mels)],
        "subject": ("neuroid", ["acoustics"] * mels),
        "region": ("neuroid", ["acoustics"] * mels),
    }
    return xr.Dataset(
        {"response": (("stimulus", "neuroid"), np.stack(rows))},
        coords,
        {
            "name": "stimuli-acoustics",
            "description": "log-mel spectrogram of the stimuli, averaged over time; no brain",
            "citation": "",
            "units": "1",
            "of_stimuli": 1,
        },
    )
