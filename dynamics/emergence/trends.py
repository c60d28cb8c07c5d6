"""How scores grow with the size of networks, their data, or their training.

A trend is fitted to the scores of runs along a number that tells them apart: a line in its
logarithm (Antonello et al. 2023, arXiv 2305.11863), a power law that saturates,
y = top - range x^-a (as of losses: Kaplan et al. 2020, arXiv 2001.08361), or of two numbers at once
y = top - A n^-a - B d^-b (Hoffmann et al. 2022, arXiv 2203.15556), which has no intervals. Those
of trends over stimuli draw
whole sets of scores from what paired halves of the stimuli do to all runs together, and fit each;
intervals over runs are those of the residuals of a line.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import optimize, stats

from dynamics.emergence.resampling import Scheme, stabilised

KINDS = ("log-linear", "saturating")
_RATES = np.geomspace(0.02, 5.0, 120)
_SLOWEST, _FASTEST = 0.01, 5.0
_FEWEST = {"log-linear": 3, "saturating": 4}


class Trend(NamedTuple):
    """A fitted trend.

    Attributes
    ----------
    table : xarray.Dataset
        `estimate`, `lower`, `upper` (over stimuli; NaN without resamples), along `parameter`.
        Of a line along runs also `runs_lower`, `runs_upper` and `p` (of no trend) over runs.
    curve : xarray.Dataset
        `estimate`, `lower`, `upper` along `x`, to be drawn.
    kind : str
        One of `KINDS`.
    """

    table: xr.Dataset
    curve: xr.Dataset
    kind: str


def trend(
    score: xr.DataArray,
    x: np.ndarray,
    resampled: xr.DataArray | None = None,
    *,
    kind: str = "log-linear",
    dim: str = "run",
    confidence: float = 0.95,
    draws: int = 400,
    seed: int = 0,
    points: int = 50,
) -> Trend:
    """Fit a trend of scores along a number.

    Parameters
    ----------
    score : xarray.DataArray
        One score a run, along `dim`.
    x : array of shape (n_runs,)
        The number, above 0: parameters, hours of audio, steps.
    resampled : xarray.DataArray, optional
        `score` with `resample` besides, resample k of all runs of the same stimuli.
    kind : {"log-linear", "saturating"}
        Parameters of the first are `slope` (a decade of x) and `level` (at the geometric mean of
        x); of the second `top`, `range` (what is missing at the smallest x) and `rate` (the power).
    dim : str
        Dimension of the runs; "step" where the scores are of one run along training.
    confidence : float
        Coverage of the intervals.
    draws, seed : int
        Of sets of scores.
    points : int
        Of the curve.

    Returns
    -------
    Trend
        The fit.

    Raises
    ------
    ValueError
        If the kind is unknown, a number is not above 0, or there are too few different ones.

    Notes
    -----
    A top that lies far above all scores is not known from them. Where limits of the rate reach the
    slowest that is tried, a line in the logarithm fits as well: `top` and `range` are then open
    away from the scores (limits of trends that did not saturate held in 85 to 91 % before).
    """
    if kind not in KINDS:
        raise ValueError(f"there is no trend {kind!r}: use one of {', '.join(KINDS)}")
    y = score.to_numpy().astype(float)
    x = np.asarray(x, float)
    use = np.isfinite(y) & np.isfinite(x)
    _check(x[use], _FEWEST[kind])
    x, y = x[use], y[use]
    drawn = _drawn(score.isel({dim: use}), resampled, use, dim, draws, seed)
    at = np.geomspace(x.min(), x.max(), points)
    fit = _FITS[kind]
    names, found, line = fit(x, y[None], at)
    _, cloud, lines = fit(x, drawn, at) if len(drawn) else (names, found[:0], line[:0])
    tail = (1 - confidence) / 2
    limits = [_quantile(cloud, q, found) for q in (tail, 1 - tail)]
    if kind == "saturating" and len(cloud):
        limits = _opened(cloud, *limits)
    table = xr.Dataset(
        {
            "estimate": ("parameter", found[0]),
            "lower": ("parameter", limits[0]),
            "upper": ("parameter", limits[1]),
        },
        coords={"parameter": list(names)},
        attrs={"kind": kind, "runs": len(x), "over": "stimuli", "confidence": confidence},
    )
    if kind == "log-linear" and dim != "step":  # steps of a run are no replicates of each other
        table = table.assign(_over_runs(x, y, confidence))
    edge = [_quantile(lines, q, line) for q in (tail, 1 - tail)]
    curve = xr.Dataset(
        {"estimate": ("x", line[0]), "lower": ("x", edge[0]), "upper": ("x", edge[1])},
        coords={"x": at},
    )
    table.attrs["left_out_error"] = left_out_error(x, y, kind)
    return Trend(table, curve, kind)


def left_out_error(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    """Return the root mean square error of predicting each run's score from the others'.

    Parameters
    ----------
    x, y : array of shape (n_runs,)
        Numbers and scores.
    kind : str
        As in `trend`.

    Returns
    -------
    float
        NaN where the others are too few.
    """
    off = []
    for place in range(len(x)):
        others = np.arange(len(x)) != place
        if len(np.unique(x[others])) < _FEWEST[kind]:
            return np.nan
        _, _, line = _FITS[kind](x[others], y[others][None], x[[place]])
        off.append(line[0, 0] - y[place])
    return float(np.sqrt(np.mean(np.square(off))))


def surface(score: xr.DataArray, n: np.ndarray, d: np.ndarray) -> xr.Dataset:
    """Fit score = top - A (n / n0)^-a - B (d / d0)^-b, n0 and d0 the geometric means.

    Parameters
    ----------
    score : xarray.DataArray
        One score a run.
    n, d : array of shape (n_runs,)
        Two numbers above 0, such as parameters and hours.

    Returns
    -------
    xarray.Dataset
        `estimate` along `parameter`: top, A, a, B, b, and `rise_n`, `rise_d`: what the surface
        grows by from the smallest to the largest n, or d, which scores tell much better than A and
        a by themselves. A and B may be below 0. There are no limits: those of resamples were not
        shown to hold. The attribute `at_end` names rates that end where none is tried any more:
        then the scores do not tell top and the range apart.

    Raises
    ------
    ValueError
        If a number is not above 0, either has fewer than three values, or there are fewer than six
        runs.
    """
    y, n, d = score.to_numpy().astype(float), np.asarray(n, float), np.asarray(d, float)
    use = np.isfinite(y) & np.isfinite(n) & np.isfinite(d)
    for each in (n[use], d[use]):
        _check(each, 3)
    if use.sum() < 6:
        raise ValueError(
            f"a surface has 5 parameters and there are {use.sum()} runs: give 6 or more"
        )
    n, d = n[use] / _middle(n[use]), d[use] / _middle(d[use])
    found = _fit_surface(n, d, y[use])
    rises = [
        found[place] * (x.min() ** -found[place + 1] - x.max() ** -found[place + 1])
        for place, x in ((1, n), (3, d))
    ]
    ends = np.array([_SLOWEST, _FASTEST])
    at_end = [name for name, place in (("a", 2), ("b", 4))
              if np.isclose(found[place], ends, rtol=1e-3).any()]  # fmt: skip
    return xr.Dataset(
        {"estimate": ("parameter", [*found, *rises])},
        coords={"parameter": ["top", "A", "a", "B", "b", "rise_n", "rise_d"]},
        attrs={"kind": "surface", "runs": int(use.sum()), "at_end": at_end},
    )


def _check(x: np.ndarray, fewest: int) -> None:
    if (x <= 0).any():
        raise ValueError("a trend is along numbers above 0: its axis is logarithmic")
    if (number := len(np.unique(x))) < fewest:
        there = "is 1 value" if number == 1 else f"are {number} different values"
        raise ValueError(f"there {there}: a trend needs {fewest} or more")


def _drawn(score, resampled, use, dim, draws, seed) -> np.ndarray:
    """Draw sets of scores (draws, runs) around those of all stimuli."""
    if resampled is None:
        return np.zeros((0, int(use.sum())))
    again = stabilised(score, resampled.isel({dim: use})).transpose("resample", dim)
    scheme = Scheme.of(resampled)
    off = scheme.deviations(again.to_numpy())
    mix = scheme.mixing(again.sizes["resample"], draws=draws, seed=seed)
    return score.to_numpy() + mix @ off


def _quantile(cloud: np.ndarray, q: float, found: np.ndarray) -> np.ndarray:
    return np.quantile(cloud, q, axis=0) if len(cloud) else np.full(found.shape[1], np.nan)


def _opened(cloud: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> list[np.ndarray]:
    """Open limits of top and range where what was drawn need not saturate."""
    rise, slow = cloud[:, 1] > 0, lower[2] <= _RATES[0] * 1.001
    tail = (cloud[:, 2] <= _RATES[0] * 1.001) & slow
    for place in (0, 1):
        upper[place] = np.inf if (tail & rise).any() else upper[place]
        lower[place] = -np.inf if (tail & ~rise).any() else lower[place]
    return [lower, upper]


def _middle(x: np.ndarray) -> float:
    return float(np.exp(np.log(x).mean()))


def _line(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> tuple[tuple, np.ndarray, np.ndarray]:
    """Fit lines in log10 x to sets of scores (sets, runs)."""
    off, wide = np.log10(x / _middle(x)), np.log10(at / _middle(x))
    slope = y @ off / (off @ off)
    level = y.mean(1)
    return ("slope", "level"), np.stack([slope, level], 1), level[:, None] + slope[:, None] * wide


def _saturating(
    x: np.ndarray, y: np.ndarray, at: np.ndarray
) -> tuple[tuple, np.ndarray, np.ndarray]:
    """Fit power laws that saturate: linear in top and range for each of many rates."""
    best = np.full(len(y), np.inf)
    found, line = np.zeros((len(y), 3)), np.zeros((len(y), len(at)))
    for rate in _RATES:
        design = np.stack([np.ones(len(x)), -((x / x.min()) ** -rate)], 1)
        weights = y @ np.linalg.pinv(design).T
        error = ((weights @ design.T - y) ** 2).sum(1)
        better = error < best - 1e-15
        best = np.where(better, error, best)
        found[better] = np.column_stack([weights[better], np.full(better.sum(), rate)])
        shape = np.stack([np.ones(len(at)), -((at / x.min()) ** -rate)], 1)
        line[better] = weights[better] @ shape.T
    return ("top", "range", "rate"), found, line


_FITS = {"log-linear": _line, "saturating": _saturating}


def _over_runs(x: np.ndarray, y: np.ndarray, confidence: float) -> dict[str, tuple]:
    """Return limits of a line over runs, from its residuals, and p of no trend."""
    fit = stats.linregress(np.log10(x / _middle(x)), y)
    freedom = len(x) - 2
    quantile = stats.t.ppf((1 + confidence) / 2, freedom) if freedom > 0 else np.nan
    error = np.array([fit.stderr, fit.intercept_stderr]) if freedom > 0 else np.full(2, np.nan)
    middle = np.array([fit.slope, y.mean()])
    p = [fit.pvalue if freedom > 0 else np.nan, np.nan]
    return {
        "runs_lower": ("parameter", middle - quantile * error),
        "runs_upper": ("parameter", middle + quantile * error),
        "p": ("parameter", np.array(p, float)),
    }


def _fit_surface(n: np.ndarray, d: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fit top, A, a, B, b to scores (runs,) by least squares, from the best of a grid of rates."""

    def off(p: np.ndarray) -> np.ndarray:
        return p[0] - p[1] * n ** -p[2] - p[3] * d ** -p[4] - y

    low, high = np.full(5, -np.inf), np.full(5, np.inf)
    low[[2, 4]], high[[2, 4]] = _SLOWEST, _FASTEST
    start = np.clip(_best_of_grid(n, d, y), low + 1e-6, high - 1e-6)
    return optimize.least_squares(off, start, bounds=(low, high), xtol=1e-12).x


def _best_of_grid(n: np.ndarray, d: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the best of many pairs of rates, in which the rest is linear: (5,)."""
    rates = np.geomspace(_SLOWEST, _FASTEST, 12)
    a, b = (each.ravel()[:, None] for each in np.meshgrid(rates, rates))
    shape = np.stack([np.ones((len(a), len(n))), -(n**-a), -(d**-b)], -1)
    weights = np.linalg.pinv(shape) @ y
    error = ((np.einsum("gij,gj->gi", shape, weights) - y) ** 2).sum(1)
    best = int(error.argmin())
    return np.array([weights[best, 0], weights[best, 1], a[best, 0], weights[best, 2], b[best, 0]])
