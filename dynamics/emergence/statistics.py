"""Steps at which curves get somewhere, on any other dimensions at once.

A curve is an `xarray.DataArray` with a dimension `step` in ascending order. Whatever may not exist
(a curve that never moves has no half-time) is NaN, and the coordinate `status` beside it says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from dynamics.emergence.crossings import MISSING, crossings

REFERENCES = ("final", "peak", "plateau")
DIRECTIONS = {"up": 1, "down": -1}


def half_time(
    curve: xr.DataArray,
    *,
    fraction: float = 0.5,
    baseline: xr.DataArray | None = None,
    reference: str = "final",
    direction: str = "up",
    decades: float = 1.0,
) -> xr.DataArray:
    """First training step at which a curve has made a fraction of its final gain.

    The gain is from the baseline (by default the first step, the untrained network) to the last
    step (Raugel et al. 2025, arXiv 2508.18226). Between two steps s and t the curve is linear in
    log(1 + step), so that step 0 has a place.

    Of a curve that rises over several decades it is uncertain however it is estimated: an error
    of the score is divided by a small slope. In simulations of a power law with moderate noise
    the median error was .24 decades for 6 neuroids, where an efficient estimate that knows the
    curve's form would have .22, and .09 for 200 neuroids. Neither a monotone fit nor a longer
    final window came nearer, and monotone fits misplace transients; they are there by
    `half_time(fit(curve, kind="isotonic"))` and `reference`.

    Parameters
    ----------
    curve : xarray.DataArray
        Scores with a dimension `step` in ascending order; any other dimensions.
    fraction : float
        Which part of the gain, above 0 and at most 1.
    baseline : xarray.DataArray, optional
        Level from which the gain counts.
    reference : str
        To what the gain counts: ``"final"`` (the last step), ``"plateau"`` (mean of the last
        `decades`) or ``"peak"`` (the highest step, for curves that decline again).
    direction : str
        ``"up"``, or ``"down"`` for scores that fall while something emerges (errors, distances).
    decades : float
        Width of the plateau's window, in powers of ten of step.

    Returns
    -------
    xarray.DataArray
        Step (not rounded), without the dimension `step`; NaN where the curve does not end above
        its baseline, or has fewer than two finite values. Coordinate `status`: "reached", "from
        the start", "not reached", "no gain", "one step only", "missing", and where a score is
        missing at either end, for which no other step stands in: "no untrained level", "no score
        at the last step"; attribute `baseline`: the level from which the gain counts, in words.

    Raises
    ------
    ValueError
        If the curve has no dimension `step`, the steps do not ascend, the fraction is not in
        (0, 1], or the reference or direction is unknown.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, found {fraction}")
    find = partial(crossings, fraction=fraction, reference=_reference(reference), decades=decades)
    text = f"step at {fraction:g} of the {reference} gain"
    return _steps(find, curve, baseline, direction, text)


def onset(
    curve: xr.DataArray,
    *,
    fraction: float = 0.1,
    baseline: xr.DataArray | None = None,
    reference: str = "peak",
    direction: str = "up",
    decades: float = 1.0,
) -> xr.DataArray:
    """First step at which a curve has left its baseline by a tenth of its largest gain.

    It counts to the peak, so that what rises and falls again has an onset. It says where the
    rise begins, not that there is one: `onset_test` answers that, controlled over steps.

    Parameters
    ----------
    curve, fraction, baseline, reference, direction, decades
        As in `half_time`.

    Returns
    -------
    xarray.DataArray
        As `half_time`.
    """
    return half_time(
        curve,
        fraction=fraction,
        baseline=baseline,
        reference=reference,
        direction=direction,
        decades=decades,
    ).assign_attrs(description=f"onset: step at {fraction:g} of the {reference} gain")


def plateau_step(
    curve: xr.DataArray,
    *,
    fraction: float = 0.9,
    baseline: xr.DataArray | None = None,
    direction: str = "up",
    decades: float = 1.0,
) -> xr.DataArray:
    """First step at which a curve has made nine tenths of its gain to the plateau.

    The plateau is the mean over the last `decades` of training. A curve that makes the nine
    tenths only inside that window has no plateau yet: NaN, and the status "still rising".

    Parameters
    ----------
    curve, fraction, baseline, direction, decades
        As in `half_time`.

    Returns
    -------
    xarray.DataArray
        As `half_time`, with one more status, "still rising".
    """
    find = partial(
        crossings, fraction=fraction, reference="plateau", decades=decades, sustained=True
    )
    text = f"step of the plateau: {fraction:g} of the gain to the last {decades:g} decades"
    return _steps(find, curve, baseline, direction, text)


def baseline_text(steps: np.ndarray, baseline: object = None) -> str:
    """Say from what level gains count."""
    if baseline is not None:
        return "the level given"
    if len(steps) and steps[0] > 0:
        return f"score at step {steps[0]}, the first there is: no untrained network is on the curve"
    return "score of the untrained network, step 0"


def check(curve: xr.DataArray) -> np.ndarray:
    """Return the steps of a curve; ValueError if they are missing or do not ascend."""
    if "step" not in curve.dims:
        raise ValueError(f"the curve has dimensions {curve.dims}: `step` is missing")
    steps = curve["step"].to_numpy()
    if (np.diff(steps) <= 0).any():
        raise ValueError("steps must ascend: sort the curve by step first")
    return steps


def sign(direction: str) -> int:
    """1 for up, -1 for down; ValueError for anything else."""
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be 'up' or 'down', found {direction!r}")
    return DIRECTIONS[direction]


def _reference(name: str) -> str:
    if name not in REFERENCES:
        raise ValueError(f"there is no reference {name!r}: use one of {', '.join(REFERENCES)}")
    return name


def _steps(
    find: Callable[..., tuple[np.ndarray, np.ndarray]],
    curve: xr.DataArray,
    baseline: xr.DataArray | None,
    direction: str,
    text: str,
) -> xr.DataArray:
    steps, way = check(curve), sign(direction)
    level = xr.DataArray(np.nan) if baseline is None else way * xr.DataArray(baseline)
    found, status = xr.apply_ufunc(
        lambda scores, own: find(steps, scores, own),
        way * curve,
        level,
        input_core_dims=[["step"], []],
        output_core_dims=[[], []],
        keep_attrs=False,
    )
    if baseline is not None:
        # A baseline that is missing is not the same as none: it leaves no gain to speak of.
        unknown = xr.DataArray(baseline).isnull()
        found, status = found.where(~unknown), status.where(~unknown, MISSING)
    return found.assign_coords(status=status.astype(str)).assign_attrs(
        description=text, units="step", baseline=baseline_text(steps, baseline)
    )
