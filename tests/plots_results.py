"""Results with known curves, for the tests of figures."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynamics import emergence

STEPS = np.array([0, 1, 10, 100, 1000, 10000])
LAYERS = [f"layer{i}" for i in range(3)]
REGIONS = ["core", "belt"]


def results(*, resamples: int = 20, neuroids: int = 8) -> xr.Dataset:
    """Three layers that rise, the middle one highest; four subjects, two regions."""
    rng = np.random.default_rng(0)
    rise = np.array([0.1, 0.1, 0.2, 0.45, 0.6, 0.62])
    height = np.array([0.8, 1.0, 0.9])
    score = (rise[:, None] * height)[:, :, None] + 0.02 * rng.standard_normal((6, 3, neuroids))
    noise = 0.03 * rng.standard_normal((resamples, *score.shape))
    attrs = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs
    return xr.Dataset(
        {
            "score": (("step", "layer", "neuroid"), score),
            "resample_score": (("resample", "step", "layer", "neuroid"), score + noise, attrs),
            "baseline": ("neuroid", np.full(neuroids, 0.7)),
        },
        coords={
            "step": STEPS,
            "layer": LAYERS,
            "neuroid": [f"n{i}" for i in range(neuroids)],
            "subject": ("neuroid", [f"s{i // 2}" for i in range(neuroids)]),
            "region": ("neuroid", [REGIONS[i % 2] for i in range(neuroids)]),
            "ceiling": ("neuroid", np.full(neuroids, 0.9)),
        },
        attrs={"identity": {"metric": "ridge"}},
    )


def of_one_subject(**options) -> xr.Dataset:
    """The same of one listener, so that limits are over stimuli alone."""
    return results(**options).drop_vars("subject")


def without(data: xr.Dataset, *steps: int) -> xr.Dataset:
    """The same with nothing at some steps, as after failed checkpoints."""
    lost = data["step"].isin(list(steps))
    changed = {k: v.where(~lost) for k, v in data.data_vars.items() if "step" in v.dims}
    for name, values in changed.items():
        values.attrs = data[name].attrs
    return data.assign(changed)


def probe(data: xr.Dataset, *, noise: float = 0.0) -> xr.Dataset:
    """A task score that is a line in the brain score."""
    rng = np.random.default_rng(3)
    score = 0.2 + data["score"].mean("neuroid")
    score = score + noise * rng.standard_normal(score.shape)
    return xr.Dataset({"score": score, "chance": 0.1}, attrs={"identity": {"metric": "accuracy"}})
