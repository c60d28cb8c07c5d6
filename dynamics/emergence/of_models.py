"""What one number stands for a model in a table of many: of its last step, a region, a layer.

Two ways of averaging over a target are published, and both are given: the mean over neuroids of
each subject and then over subjects, as everywhere in this package, and the median over neuroids
within each subject, then the mean over subjects with its standard error over them (*tuckute*,
*pepino*).

Tables of many models are made of one step each. What the labelled functions of this package do for
whole curves (`dynamics.emergence.curve_and_band`) is done here on arrays of that step, a hundred
times as quick; a test holds that both give the same numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from dynamics.emergence.aggregate import freedom_of_sum
from dynamics.emergence.crossed import Crossed, crossed, is_crossed
from dynamics.emergence.last_step import ALL, BESIDE, Last, Units
from dynamics.emergence.resampling import Scheme, once
from dynamics.emergence.testing import benjamini_hochberg

_LEVEL, _CONFIDENCE = 0.05, 0.95


def summaries(last: Last) -> dict[str, dict[str, float | str]]:
    """Summarize one step, whole and region by region, by both ways of averaging.

    Parameters
    ----------
    last : Last
        The step.

    Returns
    -------
    dict of str to dict
        Under `ALL` and, of several, each region: `layer`, the one with the highest mean score, its
        `depth` (0 to 1) and `step`; `score` with limits of 95 % `low` and `high`, and `over`: of
        the layer that is the best on the other half of the stimuli (`chosen_on` says "other half"),
        or, where there are no halves, of `layer` itself, which flatters ("same stimuli"; "" of a
        single layer); `support`, the part of halves on which `layer` is the best; `highest`, the
        score of `layer` on all stimuli; of `layer` as well `median` within subjects, averaged over
        `subjects`, and its standard `error` over them; `chosen_elsewhere` (the score with the layer
        of every neuroid chosen on other stimuli, where the metric has it); `r2`, `r2_corrected`,
        averaged as the score; `untrained`, `baseline`, `ceiling`; `neuroids`; `significant` (the
        part of neuroids above chance in the null, at a false discovery rate of 5 %). NaN where
        there is none.
    """
    names = list(dict.fromkeys(last.score.region.tolist()))
    return {region: _summary(last, region) for region in [ALL, *(names if len(names) > 1 else ())]}


def _summary(last: Last, region: str) -> dict[str, float | str]:
    score = last.score.of(region)
    again = None if last.again is None else last.again.of(region)
    spread = _spread(score, again, last.scheme)
    mean, low, high, over = _limits(spread, last.scheme)
    number = len(mean)
    place = int(np.argmax(np.where(np.isfinite(mean), mean, -np.inf)))
    beside = {name: units.of(region) for name, units in last.beside.items()}
    alike = {name: _mean(beside[name], place) for name in (*BESIDE, "untrained") if name in beside}
    ceiling = beside.get("ceiling", beside.get("ceiling_lower"))
    shown = float(mean[place]), float(low[place]), float(high[place])
    chosen_on, support = "same stimuli" if number > 1 else "", np.nan
    if chosen := _limits_of_chosen(spread, last.scheme):
        shown, chosen_on = chosen[:3], "other half"
        support = float(chosen[3].support[place])
    return {
        "layer": last.layers[place],
        "depth": place / (number - 1) if number > 1 else 1.0,
        "step": last.step,
        **dict(zip(("score", "low", "high"), shown)),
        "over": over,
        "chosen_on": chosen_on,
        "support": support,
        "highest": float(mean[place]),
        **median_of_subjects(score.values[place], score.subject),
        "chosen_elsewhere": _mean(beside.get("best_score"), 0),
        **{name: alike.get(name, np.nan) for name in (*BESIDE, "untrained")},
        "baseline": _mean(beside.get("baseline"), 0),
        "ceiling": _ceiling(ceiling, score.values[place]),
        "neuroids": float(np.isfinite(score.values[place]).sum()),
        "significant": _significant(beside.get("p_value"), place),
    }


def limits(
    score: Units, again: Units | None, scheme: Scheme
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Return mean scores of one step with limits of 95 %.

    Parameters
    ----------
    score : Units
        Scores (layer, unit).
    again : Units or None
        On resamples (layer, resample, unit).
    scheme : Scheme
        Of the resamples.

    Returns
    -------
    mean, low, high : array of shape (n_layers,)
        As `dynamics.emergence.curve_and_band` has them of results with this step alone.
    over : str
        What the limits are over; empty, and they are NaN, where there are none.
    """
    return _limits(_spread(score, again, scheme), scheme)


class _Spread(NamedTuple):
    """Mean scores of a step, and what they vary by.

    Attributes
    ----------
    mean : array of shape (n_layers,)
        Over subjects.
    people : array of shape (n_layers,)
        Variance of the mean over other subjects, beyond what stimuli do to each of these.
    number : int
        Subjects that have a score.
    cloud : array of shape (n_resamples, n_layers) or None
        The mean on resamples of the stimuli.
    """

    mean: np.ndarray
    people: np.ndarray
    number: int
    cloud: np.ndarray | None


def _spread(score: Units, again: Units | None, scheme: Scheme) -> _Spread:
    each = score.by_subject()
    there = np.isfinite(each).any(0)
    each, number = each[:, there], int(there.sum())
    if not number:
        nothing = np.full(len(each), np.nan)
        return _Spread(nothing, nothing, 0, None)
    mean = each.mean(1)
    people = each.var(1, ddof=1) / number if number > 1 else np.zeros(len(each))
    if again is None:
        return _Spread(mean, people, number, None)
    within = np.moveaxis(again.by_subject()[..., there], 1, 0)  # (resample, layer, subject)
    if number < 3:
        cloud = _stabilised(mean, within.mean(-1), scheme)
        return _Spread(mean, np.zeros_like(mean), number, cloud)
    within = _stabilised(each, within, scheme)
    cloud, divisor = within.mean(-1), scheme.divisor(len(within))
    variance = (scheme.deviations(cloud) ** 2).sum(0) / divisor
    single = ((scheme.deviations(within) ** 2).sum(0) / divisor).mean(-1)
    # What subjects differ by less what their own noise before these stimuli adds to it.
    people = np.clip(people - (single - variance) / (number - 1), 0, people)
    return _Spread(mean, people, number, cloud)


def _limits(spread: _Spread, scheme: Scheme) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    mean, people, number, cloud = spread
    if cloud is not None:
        half, over = _half(cloud, people, number, scheme)
        return mean, mean - half, mean + half, over
    if number < 3:
        return mean, mean * np.nan, mean * np.nan, ""
    half = stats.t.ppf((1 + _CONFIDENCE) / 2, number - 1) * np.sqrt(people)
    return mean, mean - half, mean + half, "subjects"


def _limits_of_chosen(
    spread: _Spread, scheme: Scheme
) -> tuple[float, float, float, Crossed] | None:
    """Return the mean score, with limits of 95 %, of the layer that other stimuli choose.

    None where there are no several layers or no halves.
    """
    mean, people, number, cloud = spread
    if cloud is None or not is_crossed(scheme, len(cloud), len(mean)):
        return None
    if not np.isfinite(mean).any():
        return None
    found = crossed(mean[:, None], cloud[..., None])
    known = np.where(found.support > 0, people, 0.0)
    half, _ = _half(found.again, np.array([found.support @ known]), number, scheme)
    value = float(found.score[0])
    return value, value - float(half[0]), value + float(half[0]), found


def _half(
    cloud: np.ndarray, people: np.ndarray, number: int, scheme: Scheme
) -> tuple[np.ndarray, str]:
    """Return half the width of limits, and what they are over."""
    resamples = len(cloud)
    variance = (scheme.deviations(cloud) ** 2).sum(0) / scheme.divisor(resamples)
    freedom, over = scheme.freedom(resamples), "stimuli"
    if number >= 3:
        rows = 2 * (resamples // 2 if scheme.paired else resamples) + number - 1
        parts = float(variance.sum()), float(people.sum())
        freedom = min(rows, freedom_of_sum(parts, (freedom, number - 1)))
        variance, over = variance + people, "stimuli and subjects"
    return stats.t.ppf((1 + _CONFIDENCE) / 2, freedom) * np.sqrt(variance), over


def median_of_subjects(score: np.ndarray, subject: np.ndarray) -> dict[str, float]:
    """Summarize scores by the median within each subject and the mean over subjects.

    Parameters
    ----------
    score : array of shape (n_units,)
        Scores; NaN ones are left out.
    subject : array of str, shape (n_units,)
        Whose each is.

    Returns
    -------
    dict
        `median`, `error` (standard error over subjects; NaN of fewer than two) and `subjects`.
    """
    known = np.isfinite(score)
    values, labels = score[known], subject[known]
    each = np.array([np.median(values[labels == name]) for name in np.unique(labels)])
    number = len(each)
    return {
        "median": float(each.mean()) if number else np.nan,
        "error": float(each.std(ddof=1) / np.sqrt(number)) if number > 1 else np.nan,
        "subjects": float(number),
    }


def _stabilised(level: np.ndarray, cloud: np.ndarray, scheme: Scheme) -> np.ndarray:
    """As `dynamics.emergence.stabilised`, of arrays with the resamples first."""
    mean, factor = cloud.mean(0), np.ones(cloud.shape[1:])
    if scheme.correlation:
        known = (np.abs(level) < 1) & (np.abs(mean) < 1)
        factor = np.where(known, (1 - level**2) / np.where(known, 1 - mean**2, 1.0), 1.0)
    if scheme.squares and scheme.paired:
        factor = factor * once(cloud)
    return mean + (cloud - mean) * factor


def _mean(units: Units | None, place: int) -> float:
    """Average over neuroids within subjects, then over subjects; of a layer where there are any."""
    if units is None or not units.values.size:
        return np.nan
    values = units.values[place] if units.values.ndim > 1 else units.values
    return (
        float(np.nanmean(units._replace(values=values[None]).by_subject()))
        if (np.isfinite(values).any())
        else np.nan
    )


def _ceiling(units: Units | None, score: np.ndarray) -> float:
    """Average a noise ceiling over the neuroids that have one above 0 and a score."""
    if units is None:
        return np.nan
    has = units.values > 0
    if has.shape == score.shape:
        has &= np.isfinite(score)
    return _mean(units._replace(values=np.where(has, units.values, np.nan)), 0)


def _significant(units: Units | None, place: int) -> float:
    if units is None or units.values.ndim < 2:
        return np.nan
    p = units.values[place]
    p = p[np.isfinite(p)]
    return float((benjamini_hochberg(p) <= _LEVEL).mean()) if len(p) else np.nan
