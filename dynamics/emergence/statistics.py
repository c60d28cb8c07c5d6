"""Statistics of curves on any other dimensions at once: steps at which they get somewhere, levels.

A curve is an `xarray.DataArray` with a dimension `step` in ascending order. Whatever may not exist
(a curve that never moves has no half-time) is NaN, and the coordinate `status` beside it says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from dynamics.emergence.crossings import KNOWN, MISSING, NEEDS, crossings, status, window

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
    text = f"{unit_of(curve)} at {fraction:g} of the {reference} gain"
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
    ).assign_attrs(description=f"onset: {unit_of(curve)} at {fraction:g} of the {reference} gain")


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
    of = f"{fraction:g} of the gain to the last {decades:g} decades"
    text = f"{unit_of(curve)} of the plateau: {of}"
    return _steps(find, curve, baseline, direction, text)


def plateau(curve: xr.DataArray, *, decades: float = 1.0) -> xr.DataArray:
    """Mean score over the last decades of training.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`.
    decades : float
        Width of the window in powers of ten of step; two steps at least.

    Returns
    -------
    xarray.DataArray
        Without the dimension `step`; of the steps with a score; NaN without one at the last step.
    """
    steps = check(curve)
    level = curve.isel(step=window(steps, decades)).mean("step")
    if bool(curve.isnull().any()):
        # As the step of the plateau has it: two steps at least of those that have a score.
        def mean_of_last(scores: np.ndarray) -> float:
            finite = np.isfinite(scores)
            return scores[finite][window(steps[finite], decades)].mean() if finite.any() else np.nan

        level = _apply(mean_of_last, curve)
    level = level.where(status(curve, needs=NEEDS["plateau"]) == KNOWN)
    return level.assign_attrs(description=f"mean of the last {decades:g} decades", units="1")


def gain(curve: xr.DataArray, *, baseline: xr.DataArray | None = None) -> xr.DataArray:
    """Score at the last step minus score at the first, or minus a baseline.

    Parameters
    ----------
    curve : xarray.DataArray
        Scores with a dimension `step` in ascending order.
    baseline : xarray.DataArray, optional
        Level from which the gain counts (the spectrotemporal baseline, say).

    Returns
    -------
    xarray.DataArray
        Without the dimension `step`; NaN without a score at the last step, or, where there is no
        baseline, at the first, for which no other step stands in, and of one step alone.
    """
    check(curve)
    start = curve.isel(step=0, drop=True) if baseline is None else baseline
    rise = curve.isel(step=-1, drop=True) - start
    rise = rise.where(status(curve, needs=NEEDS["gain"], baseline=baseline) == KNOWN)
    return rise.assign_attrs(description="last score minus baseline", units="1")


def final(curve: xr.DataArray) -> xr.DataArray:
    """Score at the last step.

    For the interval of a gain over a baseline that was resampled too, subtract the one from the
    other first, on all stimuli and resample by resample, and ask for this.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`.

    Returns
    -------
    xarray.DataArray
        Without the dimension `step`.
    """
    check(curve)
    return curve.isel(step=-1, drop=True).assign_attrs(description="last score", units="1")


def area(curve: xr.DataArray, *, baseline: xr.DataArray | None = None) -> xr.DataArray:
    """Area between a curve and its baseline over log(1 + step), divided by the axis' length.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`; missing scores are bridged.
    baseline : xarray.DataArray, optional
        As in `half_time`.

    Returns
    -------
    xarray.DataArray
        Mean score above the baseline, every factor of training counting the same; NaN with
        fewer than two finite scores, and where either end of the axis has none.
    """
    steps = check(curve)
    start = curve.isel(step=0, drop=True) if baseline is None else baseline

    def mean_height(scores: np.ndarray) -> float:
        finite = np.isfinite(scores)
        if finite.sum() < 2 or not (finite[0] and finite[-1]):
            return np.nan
        x = np.log1p(steps[finite])
        y = scores[finite]
        return float(np.diff(x) @ (y[1:] + y[:-1]) / 2 / (x[-1] - x[0]))

    mean = _apply(mean_height, curve)
    return (mean - start).assign_attrs(description="mean gain over log(1 + step)", units="1")


def ceiling_fraction(curve: xr.DataArray, ceiling: xr.DataArray | float) -> xr.DataArray:
    """Score at the last step as a part of the noise ceiling.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`.
    ceiling : xarray.DataArray or float
        Ceiling in the unit of the scores.

    Returns
    -------
    xarray.DataArray
        NaN where the ceiling is not above 0; above 1 is possible and is left.
    """
    check(curve)
    ceiling = xr.DataArray(ceiling)
    fraction = curve.isel(step=-1, drop=True) / ceiling.where(ceiling > 0)
    return fraction.assign_attrs(description="last score over noise ceiling", units="1")


def peak(curve: xr.DataArray, *, baseline: xr.DataArray | None = None) -> xr.Dataset:
    """Where a curve is highest, and how much of it is lost by the last step.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`.
    baseline : xarray.DataArray, optional
        As in `half_time`.

    Returns
    -------
    xarray.Dataset
        `step`, `score` at the peak; `decline`: peak minus last score, never negative and above
        0 for any noisy curve, NaN without a score at the last step (`decline_test` says whether
        it is more than noise);
        `decline_fraction`: of the peak's gain over the baseline, NaN where that is not above 0.
        One step alone has neither.
    """
    steps = check(curve)
    start = curve.isel(step=0, drop=True) if baseline is None else baseline
    filled = curve.fillna(-np.inf)
    place = filled.argmax("step")
    height = curve.max("step")
    last = curve.isel(step=-1, drop=True)
    rise = height - start
    known = np.isfinite(height)
    lost = (height - last).where(status(curve, needs=NEEDS["decline"]) == KNOWN)
    when = xr.DataArray(steps.astype(float)[place.to_numpy()], dims=place.dims).where(known)
    found = xr.Dataset(
        {
            "peak_step": when,
            "score": height,
            "decline": lost,
            "decline_fraction": (lost / rise).where(rise > 0),
        }
    )
    unit = unit_of(curve)
    for name, text in {
        "peak_step": (f"{unit} of the highest score", unit),
        "score": ("highest score", "1"),
        "decline": ("highest minus last score", "1"),
        "decline_fraction": ("decline over the peak's gain", "1"),
    }.items():
        found[name].attrs.update(description=text[0], units=text[1])
    return found


def unit_of(counted: object) -> str:
    """Return what steps count in one word, by what a store says of its coordinate `step`.

    Parameters
    ----------
    counted : object
        The coordinate, or what has it: a curve, or results.

    Returns
    -------
    str
        ``"step"``, ``"epoch"``, ``"save"`` or the user's own word.
    """
    steps = getattr(counted, "coords", {}).get("step", counted)
    return str(getattr(steps, "attrs", {}).get("counts", "steps")).removesuffix("s")


def baseline_text(curve: xr.DataArray | xr.Dataset, baseline: object = None) -> str:
    """Say from what level gains count."""
    if baseline is not None:
        return "the level given"
    steps = curve.coords["step"].to_numpy() if "step" in curve.coords else np.zeros(0)
    unit = unit_of(curve)
    if len(steps) and steps[0] > 0:
        return (
            f"score at {unit} {steps[0]}, the first there is: no untrained network is on the curve"
        )
    return f"score of the untrained network, {unit} 0"


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
    steps, way, unit = check(curve), sign(direction), unit_of(curve)
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
        description=text, units=unit, baseline=baseline_text(curve, baseline)
    )


def _apply(function: Callable, curve: xr.DataArray) -> xr.DataArray:
    return xr.apply_ufunc(
        function, curve, input_core_dims=[["step"]], vectorize=True, output_dtypes=[float]
    )
