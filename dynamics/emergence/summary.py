"""Every statistic of a curve in one table."""

from __future__ import annotations

import xarray as xr

from dynamics.emergence import ends, levels, statistics


def summarize(
    curve: xr.DataArray,
    *,
    baseline: xr.DataArray | None = None,
    ceiling: xr.DataArray | None = None,
    decades: float = 1.0,
) -> xr.Dataset:
    """Tabulate every statistic of every curve.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`.
    baseline : xarray.DataArray, optional
        A reference without learning (the spectrotemporal baseline): gives `gain_over_baseline`.
        All else counts from the first step.
    ceiling : xarray.DataArray, optional
        Noise ceiling.
    decades : float
        Width of the plateau's window.

    Returns
    -------
    xarray.Dataset
        `onset`, `half_time`, `plateau_step` with a variable ``<name>_status`` each; `plateau`,
        `peak_step`, `peak`, `decline`, `decline_fraction`, `gain` (and ``gain_status``), `area`,
        and what the optional arguments allow.
    """
    when = {
        "onset": statistics.onset(curve, decades=decades),
        "half_time": statistics.half_time(curve, decades=decades),
        "plateau_step": statistics.plateau_step(curve, decades=decades),
    }
    found = xr.Dataset({name: value.drop_vars("status") for name, value in when.items()})
    for name, value in when.items():
        found[f"{name}_status"] = value["status"].drop_vars("status")
    top = levels.peak(curve).rename(score="peak")
    found = found.merge(top, compat="override")
    found["plateau"] = levels.plateau(curve, decades=decades)
    found["gain"] = levels.gain(curve)
    found["gain_status"] = ends.status(curve)
    found["area"] = levels.area(curve)
    if baseline is not None:
        found["gain_over_baseline"] = levels.gain(curve, baseline=baseline)
    if ceiling is not None:
        found["ceiling_fraction"] = levels.ceiling_fraction(curve, ceiling)
    return found
