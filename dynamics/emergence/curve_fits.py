"""Fitted curves to draw and read beside the raw ones, never instead of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from scipy.interpolate import make_smoothing_spline
from scipy.optimize import least_squares
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from dynamics.emergence import statistics

_PARTS = 10
_FEWEST = 7

# A fit takes x, y and the places to evaluate at, and returns the values there.
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def fit(
    curve: xr.DataArray, *, kind: str = "isotonic", steps: np.ndarray | None = None
) -> xr.DataArray:
    """Fit every curve on x = log(1 + step).

    Parameters
    ----------
    curve : xarray.DataArray
        Scores with a dimension `step` in ascending order; missing scores are left out.
    kind : str
        ``"isotonic"``: nearest curve that never falls. ``"spline"``: cubic smoothing spline, its
        smoothness by generalised cross-validation. ``"saturating"``:
        a + b / (1 + exp(-(x - c) / w)). ``"constant"``. ``"auto"``: among the
        last three, the one with the smallest error at left-out steps.
    steps : array, optional
        Where to evaluate; by default the curve's own steps.

    Returns
    -------
    xarray.DataArray
        Fitted scores, NaN for curves with fewer than 7 finite scores, and the coordinate `form`:
        which kind was used.

    Raises
    ------
    ValueError
        If the kind is unknown, or the curve has no ascending `step`.
    """
    own = statistics.check(curve)
    if kind != "auto" and kind not in FITS:
        raise ValueError(f"there is no fit {kind!r}: use one of auto, {', '.join(FITS)}")
    places = own if steps is None else np.asarray(steps)
    x, at = np.log1p(own.astype(float)), np.log1p(places.astype(float))

    def one(scores: np.ndarray) -> tuple[np.ndarray, str]:
        finite = np.isfinite(scores)
        if finite.sum() < _FEWEST:
            return np.full(len(at), np.nan), "none"
        chosen = _choose(x[finite], scores[finite]) if kind == "auto" else kind
        return FITS[chosen](x[finite], scores[finite], at), chosen

    values, form = xr.apply_ufunc(
        one,
        curve,
        input_core_dims=[["step"]],
        output_core_dims=[["at"], []],
        vectorize=True,
        output_dtypes=[float, object],
    )
    values = values.rename(at="step").assign_coords(step=places, form=form.astype(str))
    return values.transpose(*curve.dims).assign_attrs(description=f"{kind} fit", units="1")


def _choose(x: np.ndarray, y: np.ndarray) -> str:
    errors = {name: _error(FITS[name], x, y) for name in ("constant", "saturating", "spline")}
    return min(errors, key=lambda name: errors[name])


def _error(function: Fit, x: np.ndarray, y: np.ndarray) -> float:
    # The ends are not left out: what a fit does beyond its data is not the question. A spline
    # needs five points.
    inner = np.arange(1, len(x) - 1)
    parts = len(inner) if len(x) < 2 * _PARTS else _PARTS
    missed = []
    for first in range(parts):
        out = inner[first::parts]
        missed.append(function(np.delete(x, out), np.delete(y, out), x[out]) - y[out])
    return float(np.sqrt(np.mean(np.concatenate(missed) ** 2)))


def _isotonic(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    return IsotonicRegression(out_of_bounds="clip").fit(x, y).predict(at)


def _constant(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.full(len(at), y.mean())


def _spline(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    # The axis is as long as there are points: its unit would otherwise matter to the search.
    scale = len(x) / (x[-1] - x[0])
    place = np.clip((at - x[0]) * scale, 0, len(x))
    return make_smoothing_spline((x - x[0]) * scale, y)(place)


def _saturating(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    width = x[-1] - x[0]

    def model(p: np.ndarray, where: np.ndarray) -> np.ndarray:
        return p[0] + p[1] * expit((where - p[2]) / p[3])

    rise = y[-1] - y[0]
    low = [y.min() - np.ptp(y) - 1e-9, -3 * np.ptp(y) - 1e-9, x[0] - width / 4, width / 100]
    high = [y.max() + np.ptp(y) + 1e-9, 3 * np.ptp(y) + 1e-9, x[-1] + width / 4, width]
    fits = [
        least_squares(
            lambda p: model(p, x) - y,
            np.clip([y[0], rise, x[0] + part * width, width / 10], low, high),
            bounds=(low, high),
        )
        for part in (0.25, 0.5, 0.75)
    ]
    return model(min(fits, key=lambda found: found.cost).x, at)


FITS: dict[str, Fit] = {
    "isotonic": _isotonic,
    "spline": _spline,
    "saturating": _saturating,
    "constant": _constant,
}
