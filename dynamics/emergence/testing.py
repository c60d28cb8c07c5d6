"""Does a curve leave its baseline, and where first; does it decline: controlled over all steps.

The largest of the standardised contrasts of all steps is compared with its distribution where
nothing changes (Westfall & Young 1993), which has the correlations that the resamples show. So at
most 5 % of flat curves are called rising at any step at all (in simulations of 10 and 40 steps 5 to
6 %; with one error for all steps it was 7 to 8). With fewer than 20 halves, or 11 subjects, it is
Bonferroni's bound that is compared with: more halves show more.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import xarray as xr
from scipy import stats

from dynamics.emergence import statistics
from dynamics.emergence.contrasts import Highest, Noise
from dynamics.emergence.crossings import KNOWN, MISSING, NEEDS, NOT_REACHED, REACHED
from dynamics.emergence.crossings import status as ends_of
from dynamics.emergence.resampling import aligned

_EXACT = 12


def onset_test(
    curve: xr.DataArray,
    resampled: xr.DataArray,
    *,
    baseline: xr.DataArray | None = None,
    direction: str = "up",
    level: float = 0.05,
    among: str = "",
    draws: int = 5000,
    seed: int = 0,
) -> xr.Dataset:
    """Test at which steps a curve is above its baseline, familywise over the steps.

    Parameters
    ----------
    curve, resampled : xarray.DataArray
        As in `dynamics.emergence.interval`.
    baseline : xarray.DataArray, optional
        Level taken as exact; by default the first step, whose own uncertainty counts.
    direction : str
        ``"up"`` or ``"down"``.
    level : float
        Familywise error of one curve.
    among : str
        A dimension, such as that of the layers, over which the error is familywise as well: then
        the best one may be picked.
    draws : int
        Draws of the largest contrast where nothing changes.
    seed : int
        Their seed.

    Returns
    -------
    xarray.Dataset
        `statistic` and `p` (step): contrast over its standard error, p value adjusted over
        steps; `step`-less `detected`: the first step with p <= level, a step that was measured,
        NaN if none; `detected_p`: the smallest p; `status`: "reached", "not reached", "missing",
        "no untrained level", "one step only".

    Raises
    ------
    ValueError
        As in `dynamics.emergence.interval`.
    """
    curve, resampled = aligned(curve, resampled)
    way = statistics.sign(direction)
    own = xr.DataArray(np.nan) if baseline is None else way * xr.DataArray(baseline)
    noise = Noise(resampled, draws, seed)

    def test(scores: np.ndarray, cloud: np.ndarray, start: float):
        if np.isnan(start):
            return noise.largest(scores - scores[0], cloud - cloud[:, :1])
        return noise.largest(scores - start, cloud)

    def test_all(scores: np.ndarray, cloud: np.ndarray, start: np.ndarray):
        """Test contrasts (curves, step) at once."""
        from_first = np.isnan(start)[:, None]
        contrast = scores - np.where(from_first, scores[:, :1], start[:, None])
        off = cloud - np.where(from_first, cloud[..., :1], 0.0)
        found = noise.largest(contrast.ravel(), off.reshape(len(off), -1))
        return tuple(each.reshape(scores.shape) for each in found)

    if among:
        own = own.expand_dims({among: curve.sizes[among]}) if among not in own.dims else own
    statistic, p = _curve_by_curve(
        test_all if among else test, way * curve, way * resampled, own, each_step=2, among=among
    )
    none = ends_of(curve, needs=("level",), baseline=baseline)
    return _verdict(statistic, p, curve, level, none)


def decline_test(
    curve: xr.DataArray,
    resampled: xr.DataArray,
    *,
    direction: str = "up",
    level: float = 0.05,
    among: str = "",
    draws: int = 5000,
    seed: int = 0,
) -> xr.Dataset:
    """Test whether a curve ends lower than it was before, familywise over where its peak may be.

    Parameters
    ----------
    curve, resampled, direction, level, among, draws, seed
        As in `onset_test`.

    Returns
    -------
    xarray.Dataset
        `decline`: highest minus last score; `lower`: with probability 1 - level the curve has
        lost at least this much, whatever step is its peak (negative: nothing shown); `p`;
        `peak_step`; `status`: "declines", "no decline", "missing", "no score at the last step",
        "one step only".
    """
    curve, resampled = aligned(curve, resampled)
    way = statistics.sign(direction)
    noise = Noise(resampled, draws, seed)

    def test(scores: np.ndarray, cloud: np.ndarray):
        contrast = scores - scores[-1]
        _, p = noise.largest(contrast, cloud - cloud[:, [-1]])
        if np.isnan(p).all():
            return np.nan, np.nan, np.nan
        critical, errors = noise.critical(cloud - cloud[:, [-1]], 1 - level)
        return np.nanmax(contrast), np.nanmax(contrast - critical * errors), np.nanmin(p)

    def test_all(scores: np.ndarray, cloud: np.ndarray):
        """Test contrasts (curves, step) at once."""
        contrast, off = scores - scores[:, -1:], cloud - cloud[..., -1:]
        flat = off.reshape(len(off), -1)
        p = noise.largest(contrast.ravel(), flat)[1].reshape(scores.shape)
        critical, errors = noise.critical(flat, 1 - level)
        least = contrast - critical * errors.reshape(scores.shape)
        known = np.isfinite(p).any(1)
        worst = (np.where(np.isfinite(each), each, -np.inf).max(1) for each in (contrast, least))
        best = np.where(np.isfinite(p), p, np.inf).min(1)
        return tuple(np.where(known, each, np.nan) for each in (*worst, best))

    decline, lower, p = _curve_by_curve(
        test_all if among else test, way * curve, way * resampled, single=3, among=among
    )
    none = ends_of(curve, needs=NEEDS["decline"])
    decline, lower, p = (each.where(none == KNOWN) for each in (decline, lower, p))
    found = xr.where(p <= level, "declines", "no decline").where(p.notnull(), MISSING)
    status = found.where(none == KNOWN, none)
    return xr.Dataset(
        {
            "decline": decline,
            "lower": lower,
            "p": p,
            "peak_step": statistics.peak(way * curve)["peak_step"],
            "status": status,
        }
    )


def fall_test(
    curve: xr.DataArray,
    resampled: xr.DataArray | None,
    *,
    baseline: xr.DataArray | None = None,
    among: str = "",
) -> xr.Dataset:
    """Find how far a curve falls below its baseline, and test it familywise over the steps.

    Parameters
    ----------
    curve, baseline, among
        As in `onset_test`.
    resampled : xarray.DataArray or None
        The same on resamples; None for no test.

    Returns
    -------
    xarray.Dataset
        `fall`: baseline less lowest score, never below 0; `fall_step`: where that is; and with
        resamples `fall_p`, of its being below at any step at all.
    """
    steps = statistics.check(curve)
    start = curve.isel(step=0, drop=True) if baseline is None else baseline
    place = curve.fillna(np.inf).argmin("step")
    depth = (start - curve.min("step")).clip(min=0)
    when = xr.DataArray(steps.astype(float)[place.to_numpy()], dims=place.dims)
    found = xr.Dataset({"fall": depth, "fall_step": when.where(depth > 0)})
    if resampled is None or curve.sizes["step"] < 2:
        return found
    test = onset_test(curve, resampled, baseline=baseline, direction="down", among=among)
    return found.assign(fall_p=test["detected_p"])


def peak_range(
    curve: xr.DataArray,
    resampled: xr.DataArray,
    *,
    direction: str = "up",
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> xr.Dataset:
    """Between which steps the peak of a curve is.

    A step may be the peak if no other step is significantly higher, familywise over the others
    (multiple comparisons with the best: Hsu 1981, 10.1214/aos/1176345582).

    Parameters
    ----------
    curve, resampled, direction, draws, seed
        As in `onset_test`.
    confidence : float
        Probability at least of holding the peak.

    Returns
    -------
    xarray.Dataset
        `estimate`: the highest step; `lower`, `upper`: first and last step that may be the peak,
        which for a curve that ends on a plateau is all of it.
    """
    curve, resampled = aligned(curve, resampled)
    way = statistics.sign(direction)
    noise = Noise(resampled, draws, seed, common=True)
    steps = curve["step"].to_numpy().astype(float)

    def limits(scores: np.ndarray, cloud: np.ndarray):
        known = np.flatnonzero(np.isfinite(scores) & np.isfinite(cloud).all(0))
        highest = Highest(noise, scores, cloud, 1 - confidence)

        def first(places: np.ndarray) -> float:
            may = highest.first(places)
            return np.nan if may is None else steps[may]

        return first(known), first(known[::-1])

    lower, upper = _curve_by_curve(limits, way * curve, way * resampled, single=2)
    estimate = statistics.peak(way * curve)["peak_step"]
    return xr.Dataset({"estimate": estimate, "lower": lower, "upper": upper}).assign_attrs(
        statistic="peak_step", confidence=confidence
    )


def onset_test_subjects(
    curve: xr.DataArray,
    *,
    dim: str = "subject",
    direction: str = "up",
    level: float = 0.05,
    draws: int = 5000,
    seed: int = 0,
) -> xr.Dataset:
    """Test onset over subjects: signs of each subject's gains are exchanged, whole curves at once.

    Parameters
    ----------
    curve : xarray.DataArray
        Scores with dimensions `step` and `dim`.
    dim : str
        Units of the permutation, independent of each other. With five of them or fewer no p value
        can be below 1/32.
    direction, level, draws, seed
        As in `onset_test`; up to 12 subjects all exchanges are made.

    Returns
    -------
    xarray.Dataset
        As `onset_test`.
    """
    statistics.check(curve)
    way, subjects = statistics.sign(direction), curve.sizes[dim]
    if subjects <= _EXACT:
        signs = np.array(list(product((1, -1), repeat=subjects)), float)
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), size=(draws, subjects))
        signs[0] = 1

    def test(scores: np.ndarray):
        gains = scores - scores[:, :1]
        statistic = _t_values(gains.mean(0), gains, subjects)
        means = signs @ gains / subjects
        squares = (gains**2).sum(0)
        errors = np.sqrt(np.maximum(squares - subjects * means**2, 0) / (subjects - 1) / subjects)
        ratio = np.divide(means, errors, out=np.full_like(means, -np.inf), where=errors > 1e-12)
        largest = np.where(np.isnan(ratio), -np.inf, ratio).max(1)
        p = (largest[:, None] >= statistic - 1e-9).mean(0)
        return statistic, np.where(np.isnan(statistic), np.nan, p)

    statistic, p = _curve_by_curve(test, way * curve, units=dim, each_step=2)
    mean = curve.mean(dim)
    return _verdict(statistic, p, mean, level, ends_of(mean, needs=("level",)))


def _t_values(mean: np.ndarray, gains: np.ndarray, number: int) -> np.ndarray:
    errors = gains.std(0, ddof=1) / np.sqrt(number)
    return np.divide(mean, errors, out=np.full(len(mean), np.nan), where=errors > 1e-12)


def _curve_by_curve(
    function: Callable,
    *arrays: xr.DataArray,
    units: str = "resample",
    each_step: int = 0,
    single: int = 0,
    among: str = "",
) -> tuple[xr.DataArray, ...]:
    """Call a function of single curves (step,) and clouds (units, step), or of all `among` at once.

    It returns so many arrays with a value at each step, or so many single values.
    """
    own = [among] if among else []
    return xr.apply_ufunc(
        function,
        *arrays,
        input_core_dims=[[d for d in (units, *own, "step") if d in each.dims] for each in arrays],
        output_core_dims=[[*own, "step"]] * each_step + [own] * single,
        vectorize=True,
        output_dtypes=[float] * (each_step + single),
    )


def _verdict(statistic, p, curve, level, none: xr.DataArray) -> xr.Dataset:
    hit = p <= level
    first = hit.argmax("step")
    steps = xr.DataArray(curve["step"].to_numpy().astype(float)[first.to_numpy()], dims=first.dims)
    found = hit.any("step")
    status = xr.where(found, REACHED, NOT_REACHED).where(p.notnull().any("step"), MISSING)
    return xr.Dataset(
        {
            "statistic": statistic.assign_attrs(description="contrast over error", units="1"),
            "p": p.assign_attrs(description="p value, familywise over steps", units="1"),
            "detected": steps.where(found).assign_attrs(units=statistics.unit_of(curve)),
            "detected_p": p.min("step"),
            "status": status.where(none == KNOWN, none),
        }
    ).assign_attrs(level=level)


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p values so that the familywise error is controlled (Holm 1979).

    Parameters
    ----------
    p : array of any shape
        P values; NaN does not count.

    Returns
    -------
    array of the same shape
        Adjusted p values.
    """
    return _adjust(p, lambda each: np.maximum.accumulate(each * np.arange(len(each), 0, -1)))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjust p values so that the false discovery rate is controlled.

    Benjamini & Hochberg 1995, 10.1111/j.2517-6161.1995.tb02031.x.

    Parameters
    ----------
    p : array of any shape
        P values; NaN does not count.

    Returns
    -------
    array of the same shape
        Adjusted p values.
    """
    return _adjust(p, stats.false_discovery_control)


def _adjust(p: np.ndarray, rule) -> np.ndarray:
    p = np.asarray(p, float)
    out = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    each = p[known]
    ascending = np.argsort(each)
    adjusted = np.empty_like(each)
    adjusted[ascending] = np.minimum(rule(each[ascending]), 1)
    out[known] = adjusted
    return out


CORRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "holm": holm,
    "bh": benjamini_hochberg,
    "none": np.asarray,
}
