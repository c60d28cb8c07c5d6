"""Trends of many runs: over their sizes and data, and over the steps of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from dynamics.collection.opening import Compared, Opened, some
from dynamics.config.collection import STEP
from dynamics.emergence.crossed import crossed, is_crossed
from dynamics.emergence.curves import pair
from dynamics.emergence.intake import with_layers
from dynamics.emergence.last_step import is_single
from dynamics.emergence.resampling import Scheme, stabilised
from dynamics.emergence.testing import benjamini_hochberg
from dynamics.emergence.trends import KINDS, Trend, surface, trend

_FEWEST_RUNS = 3  # whose slopes make limits over runs


class Fitted(NamedTuple):
    """Trends of one target and metric along one coordinate, to be drawn.

    Attributes
    ----------
    target, metric, coordinate : str
        What was fitted; `coordinate` is "step" along training.
    run : str
        Whose steps, of a trend along training; else empty.
    x : array of shape (n,)
        The coordinate.
    score : xarray.DataArray
        The scores.
    fits : tuple of Trend
        Of every kind that could be fitted.
    """

    target: str
    metric: str
    coordinate: str
    run: str
    x: np.ndarray
    score: xr.DataArray
    fits: tuple[Trend, ...]


class Course(NamedTuple):
    """Scores (step) after step 0, and on resamples (resample, step), where there are any."""

    score: xr.DataArray
    resampled: xr.DataArray | None


def trends_of(
    every: Sequence[Compared], opened: Sequence[Opened], coordinates: Sequence[str]
) -> tuple[list[Fitted], pd.DataFrame, list[str]]:
    """Fit trends of last scores along numbers that tell runs apart, and of scores along training.

    Parameters
    ----------
    every : sequence of Compared
        The results.
    opened : sequence of Opened
        All runs.
    coordinates : sequence of str
        Coordinates of numbers above 0; "step" is training itself, of every run.

    Returns
    -------
    fitted : list of Fitted
        For each target, metric and coordinate; along training for each run.
    table : pandas.DataFrame
        A row a parameter, with limits over stimuli and, of lines along a coordinate of runs, over
        runs; `p_adjusted` over all lines (false discovery rate). Along training a row a `run`, and
        one of the mean slope, whose limits over runs are of the slopes of `runs` runs.
    said : list of str
        What could not be fitted, and why.

    Raises
    ------
    ValueError
        If no run has such a coordinate, or it is no number.
    """
    fitted: list[Fitted] = []
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    for key in coordinates:
        x = None if key == STEP else _numbers(opened, key, "trends")
        for each in every:
            found = _along_training(each, said) if x is None else _along(each, key, x, said)
            for one in found:
                fitted.append(one)
                rows += [row for fit in one.fits for row in _rows(one, fit)]
            if x is None and found:
                rows += _of_slopes(each, found)
    table = pd.DataFrame(rows)
    if len(table):
        p = table["p"].to_numpy(float)
        table["p_adjusted"] = np.nan
        table.loc[np.isfinite(p), "p_adjusted"] = benjamini_hochberg(p[np.isfinite(p)])
    return fitted, table, list(dict.fromkeys(said))


def surfaces_of(
    every: Sequence[Compared], opened: Sequence[Opened], coordinates: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Fit score = top - A n^-a - B d^-b over two numbers at once.

    Parameters
    ----------
    every : sequence of Compared
        The results.
    opened : sequence of Opened
        All runs.
    coordinates : sequence of str
        None, or two, of which one may be "step": then of every run at every step after 0.

    Returns
    -------
    table : pandas.DataFrame
        A row a parameter, and `rise` of either: from its smallest to its largest value; estimates
        without limits.
    said : list of str
        What could not be fitted, and why.

    Raises
    ------
    ValueError
        As `trends_of`.
    """
    if not coordinates:
        return pd.DataFrame(), []
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    known = {key: _numbers(opened, key, "surface") for key in coordinates if key != STEP}
    for each in every:
        try:
            score, steps = _points(each, by_step=STEP in coordinates)
            n, d = (steps if key == STEP else _of_runs(known[key], score) for key in coordinates)
            found = surface(score, n, d)
        except ValueError as error:
            said.append(
                f"no surface of {each.target} by {each.metric} over "
                f"{' and '.join(coordinates)}: {error}"
            )
            continue
        for end, key in zip("ab", coordinates):
            if end in found.attrs["at_end"]:
                said.append(
                    f"of the surface of {each.target} by {each.metric} over "
                    f"{' and '.join(coordinates)}, the rate {end} along {key} ends where none is "
                    f"tried any more: top and its coefficient are not told apart, the rise is"
                )
        names = dict(zip(("rise_n", "rise_d"), (f"rise over {key}" for key in coordinates)))
        for place, name in enumerate(found["parameter"].to_numpy().tolist()):
            rows.append({"target": each.target, "metric": each.metric,
                         "n": coordinates[0], "d": coordinates[1],
                         "parameter": names.get(name, name),
                         "estimate": float(found["estimate"][place]),
                         "scores": found.attrs["runs"]})  # fmt: skip
    return pd.DataFrame(rows), said


def course(results: xr.Dataset) -> Course:
    """Return a run's scores after step 0, in the layer that ends best on other stimuli.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    Course
        Without halves of the stimuli, of the layer that ends best on all of them.
    """
    curve, again = pair(with_layers(results), None, "stimuli")
    curve = curve.transpose("layer", "step")
    keep = (curve["step"] > 0).to_numpy()
    last = curve[:, -1].to_numpy()
    ends = np.where(np.isfinite(last), last, -np.inf)
    if again is None:
        return Course(curve[int(ends.argmax())].isel(step=keep), None)
    scheme = Scheme.of(again)._replace(correlation=False, squares=False)
    cloud = stabilised(curve, again).transpose("resample", "layer", "step").to_numpy()
    score, found = curve.to_numpy()[ends.argmax()], cloud[:, ends.argmax()]
    if is_crossed(Scheme.of(again), len(cloud), len(ends)) and np.isfinite(ends).any():
        score, found, _ = crossed(curve.to_numpy(), cloud)
    steps = {"step": curve["step"]}
    return Course(
        xr.DataArray(score, dims="step", coords=steps).isel(step=keep),
        xr.DataArray(found, dims=("resample", "step"), coords=steps, attrs=scheme.attrs).isel(
            step=keep
        ),
    )


def _numbers(opened: Sequence[Opened], key: str, asked: str) -> Mapping[str, float]:
    """Return a coordinate of runs by name; a ValueError where it is none of numbers."""
    given = {one.name: one.coordinates[key] for one in opened if key in one.coordinates}
    if not given:
        known = ", ".join(dict.fromkeys(k for one in opened for k in one.coordinates)) or "none"
        raise ValueError(f"`{asked}` names {key!r}, which no run has: there are {known}")
    if wrong := [x for x in given.values() if isinstance(x, (str, bool))]:
        raise ValueError(f"`{asked}` names {key!r}, which is no number: {wrong[0]!r}")
    return {name: float(x) for name, x in given.items()}


def _of_runs(x: Mapping[str, float], score: xr.DataArray) -> np.ndarray:
    return np.array([x.get(name, np.nan) for name in score["run"].to_numpy()])


def _along(each: Compared, key: str, x: Mapping[str, float], said: list[str]) -> list[Fitted]:
    score, resampled = each.finals
    own = _of_runs(x, score)
    fits = _fits(score, own, resampled, f"{each.target} by {each.metric} over {key}", said)
    return [Fitted(each.target, each.metric, key, "", own, score, fits)] if fits else []


def _along_training(each: Compared, said: list[str]) -> list[Fitted]:
    found = []
    lacking: dict[str, list[str]] = {}
    for name, results in each.results.items():
        if is_single(results):
            continue
        score, resampled = course(results)
        steps = score["step"].to_numpy().astype(float)
        own: list[str] = []
        told = f"{each.target} by {each.metric} over the steps of"
        if fits := _fits(score, steps, resampled, told, own, dim=STEP):
            found.append(Fitted(each.target, each.metric, STEP, name, steps, score, fits))
        for sentence in own:
            lacking.setdefault(sentence, []).append(name)
    for sentence, names in lacking.items():
        start, why = sentence.split(" of: ", 1)
        said.append(f"{start} of {some(names)}: {why}")
    return found


def _fits(
    score: xr.DataArray,
    x: np.ndarray,
    resampled: xr.DataArray | None,
    told: str,
    said: list[str],
    dim: str = "run",
) -> tuple[Trend, ...]:
    fits = []
    for kind in KINDS:
        try:
            fits.append(trend(score, x, resampled, kind=kind, dim=dim))
        except ValueError as error:
            said.append(f"no {kind} trend of {told}: {error}")
    return tuple(fits)


def _rows(one: Fitted, fit: Trend) -> list[dict[str, Any]]:
    rows = []
    for place, name in enumerate(fit.table["parameter"].to_numpy()):
        at = fit.table.isel(parameter=place)
        rows.append(
            {
                "target": one.target,
                "metric": one.metric,
                "coordinate": one.coordinate,
                "run": one.run,
                "kind": fit.kind,
                "parameter": str(name),
                **{n: float(at[n]) for n in ("estimate", "lower", "upper")},
                **{
                    n: float(at[n]) if n in at else np.nan
                    for n in ("runs_lower", "runs_upper", "p")
                },
                "left_out_error": fit.table.attrs["left_out_error"],
                "runs": 1 if one.run else fit.table.attrs["runs"],
            }
        )
    return rows


def _of_slopes(each: Compared, found: Sequence[Fitted]) -> list[dict[str, Any]]:
    """Return the mean slope along training, with limits over runs: other initialisations."""
    slopes = np.array([float(one.fits[0].table["estimate"][0]) for one in found])
    if len(slopes) < _FEWEST_RUNS:
        return []
    error = slopes.std(ddof=1) / len(slopes) ** 0.5
    half = stats.t.ppf(0.975, len(slopes) - 1) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(abs(slopes.mean() / error), len(slopes) - 1)
    return [
        {
            "target": each.target, "metric": each.metric, "coordinate": STEP,
            "run": "mean of the runs", "kind": "log-linear", "parameter": "slope",
            "estimate": slopes.mean(), "lower": np.nan, "upper": np.nan,
            "runs_lower": slopes.mean() - half, "runs_upper": slopes.mean() + half, "p": p,
            "left_out_error": np.nan, "runs": len(slopes),
        }
    ]  # fmt: skip


def _points(each: Compared, *, by_step: bool) -> tuple[xr.DataArray, np.ndarray]:
    """Return scores along `run` and their steps: of the last step, or of all after 0."""
    if not by_step:
        score, _ = each.finals
        return score, np.full(score.sizes["run"], np.nan)
    courses = {
        name: course(results).score
        for name, results in each.results.items()
        if not is_single(results)
    }
    if not courses:
        raise ValueError("no run has a course of training")
    names = [name for name, one in courses.items() for _ in range(one.sizes["step"])]
    values = np.concatenate(list(courses.values()))
    steps = np.concatenate([one["step"] for one in courses.values()]).astype(float)
    return xr.DataArray(values, dims="run", coords={"run": names}), steps
