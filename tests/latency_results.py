"""Results over time with known profiles, for the tests of figures and sentences."""

from __future__ import annotations

import numpy as np
import plots_results
import xarray as xr

LONG = "posterior-superior-temporal-gyrus-and-planum-temporale"


def results(*, metric: str = "encode_timeresolved", regions: list[str] | None = None) -> xr.Dataset:
    """Three layers whose scores peak at .12 s, later and higher as training goes on."""
    found = plots_results.results()
    latency = np.arange(11) / 25
    times = -0.2 + np.arange(30) / 25
    rise = found["score"]
    peak = xr.DataArray(np.exp(-0.5 * ((latency - 0.12) / 0.08) ** 2), dims="latency")
    after = xr.DataArray(np.where(times >= 0.1, 1.0, 0.05), dims="time")
    names = [f"encoder.layers.{n}.self_attention_layer_norm.output" for n in range(3)]
    found = found.assign(
        latency_score=rise * peak, time_score=rise.isel(layer=1, drop=True) * after
    ).assign_coords(latency=latency, time=times, layer=names)
    if regions:
        found = found.assign_coords(region=("neuroid", [regions[i % len(regions)]
                                                        for i in range(8)]))  # fmt: skip
    return found.assign_attrs(identity={"metric": metric})


def crossed() -> xr.Dataset:
    """A layer compared with responses that follow it by .2 s."""
    steps, times = plots_results.STEPS, np.arange(12) / 10
    near = np.exp(-0.5 * ((times[None] - times[:, None] - 0.2) / 0.1) ** 2)
    height = np.array([0.0, 0.05, 0.1, 0.3, 0.5, 0.6])
    cross = height[:, None, None, None] * near[None, None] * np.ones((1, 2, 1, 1))
    cross[:, :, -2:] = np.nan
    score = np.repeat(height[:, None], 2, 1)[..., None] * np.array([0.5, 1])[None, :, None]
    dims = ("step", "layer", "sound_time", "time", "subject")
    along = np.nan_to_num(cross).max(2)
    return xr.Dataset(
        {"score": (dims[:2] + dims[4:], score), "cross_score": (dims, cross[..., None]),
         "time_score": (("step", "layer", "time", "subject"), along[..., None])},
        {"step": steps, "layer": ["a", "b"], "sound_time": times, "time": times,
         "subject": ["all"]},
        {"identity": {"metric": "rsa_time", "arguments": {"cross": True}}},
    )  # fmt: skip
