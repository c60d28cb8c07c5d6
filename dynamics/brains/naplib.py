"""The audiobook of naplib: continuous speech, with the responses of simulated electrodes."""

from __future__ import annotations

import xarray as xr

from dynamics import datasets
from dynamics.brains.trials import trials

RATE = 100.0
"""Samples a second."""


def naplib_speech() -> xr.Dataset:
    """Load six electrodes' responses to a minute each of six excerpts of an audiobook.

    They are simulated, by the authors of naplib (Mischler et al. 2023): noise added to the
    predictions of six spectrotemporal receptive fields.

    Returns
    -------
    xarray.Dataset
        ``response`` (6 stimuli, time, 6 electrodes) at 100 Hz, of unequal length.
    """
    dataset = datasets.DATASETS["naplib-speech"]
    path = datasets.folder(dataset.name) / "responses.npz"
    target = trials(path, rate=RATE, subject="simulated")
    names = [f"electrode{number}" for number in range(1, target.sizes["neuroid"] + 1)]
    target = target.assign_coords(neuroid=names)
    return target.assign_attrs(
        name=dataset.name,
        description="SIMULATED electrodes: noise added to the predictions of six spectrotemporal "
        "receptive fields of an audiobook; not measured in any brain",
        citation=dataset.citation,
        units="arbitrary",
        simulated=1,
    )
