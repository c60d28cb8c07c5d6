"""Scores of single neuroids on resamples of the stimuli, kept one by one or as means of groups.

Intervals of a region, a subject or everybody need no resample of a single neuroid: the mean over
the neuroids of one subject and region, and how many they are, give every such average exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr

from dynamics import emergence, metrics
from dynamics.analysis.variables import Variables
from dynamics.brains.targets import Target
from dynamics.metrics import refit
from dynamics.metrics.ceilings import divisor
from dynamics.metrics.factorisation import MANY as MANY_STIMULI
from dynamics.metrics.pepino import pepino_layers
from dynamics.metrics.tuckute import tuckute_ridge

MANY = 500
"""Neuroids beyond which resamples are kept as means of groups, unless a sweep asks for more, and
fewer of them are made by default."""

Refit = Callable[[int], Mapping[str, np.ndarray]]
"""From the number of a layer to values by name, (resamples, neuroids)."""

_AXES = {True: ("layer", "resample", "group"), False: ("layer", "resample", "neuroid")}


def named(value: str, what: str) -> str:
    """Name what is resampled of a value: ``resample_score``, ``r2_resample_mean`` and so on."""
    return f"resample_{what}" if value == "score" else f"{value}_resample_{what}"


def of_layers(refits: Refit, layers: int, groups: np.ndarray | None) -> Variables:
    """Refit layer by layer, and keep every neuroid or the means of groups.

    Parameters
    ----------
    refits : callable
        Gives the values of one layer on all resamples, so that no more is held at a time.
    layers : int
        How many layers.
    groups : array of shape (neuroids,) or None
        Group of every neuroid; None to keep each.

    Returns
    -------
    Variables
        `resample_score` (layer, resample, neuroid), or `resample_mean` and `resample_count`
        (layer, resample, group): the mean over the neuroids of a group that have a score, and
        how many have one; the same of other values, see `named`.
    """
    kept: dict[str, list[np.ndarray]] = {}
    for layer in range(layers):
        for value, again in refits(layer).items():
            if groups is None:
                kept.setdefault(named(value, "score"), []).append(again)
                continue
            mean, count = means(again, groups)
            kept.setdefault(named(value, "mean"), []).append(mean)
            kept.setdefault(named(value, "count"), []).append(count)
    return {name: (_AXES[groups is not None], np.stack(each)) for name, each in kept.items()}


def of_rows(
    refits: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, groups: np.ndarray | None
) -> Variables:
    """Refit resample by resample, all layers together, and keep neuroids or means of groups.

    Parameters
    ----------
    refits : callable
        From rows (resamples, kept) to scores (layers, resamples, neuroids).
    rows : array of shape (resamples, kept)
        Stimuli of every resample.
    groups : array of shape (neuroids,) or None
        As in `of_layers`.

    Returns
    -------
    Variables
        As `of_layers`.
    """
    if groups is None:
        return {"resample_score": (_AXES[False], np.asarray(refits(rows)))}
    each = [means(np.asarray(refits(one[None]))[:, 0], groups) for one in rows]
    mean, count = (np.stack(part, 1) for part in zip(*each))
    return {"resample_mean": (_AXES[True], mean), "resample_count": (_AXES[True], count)}


def means(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average over the neuroids of every group, those without a value left out.

    Parameters
    ----------
    values : array of shape (..., neuroids)
        NaN where there is none.
    groups : array of shape (neuroids,)
        Group of every neuroid, 0 and on.

    Returns
    -------
    mean : array of shape (..., groups)
        NaN where no neuroid of a group has a value.
    count : array of shape (..., groups), int32
        How many have one.
    """
    known, order = np.isfinite(values), np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    total, count = (
        np.add.reduceat(part[..., order], starts, axis=-1)
        for part in (np.where(known, values, 0.0), known.astype(np.int32))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan), count.astype(np.int32)


def averaged(values: Variables, groups: np.ndarray | None) -> Variables:
    """Average resamples over groups of neuroids where a metric has kept those of each.

    Parameters
    ----------
    values : Variables
        What a metric has returned.
    groups : array of shape (neuroids,) or None
        As in `of_layers`.

    Returns
    -------
    Variables
        With `resample_mean` and `resample_count` in the place of `resample_score`.
    """
    if groups is None or "resample_score" not in values:
        return values
    rest = {name: each for name, each in values.items() if name != "resample_score"}
    mean, count = means(np.asarray(values["resample_score"][1]), groups)
    return rest | {"resample_mean": (_AXES[True], mean), "resample_count": (_AXES[True], count)}


class Pool:
    """Means of groups whose neuroids are fitted a part at a time, put together.

    Parameters
    ----------
    groups : array of shape (neuroids,) or None
        Group of every neuroid; None where each is kept, and there is nothing to do.
    """

    def __init__(self, groups: np.ndarray | None):
        self._groups = groups
        self._sums: dict[str, np.ndarray] = {}
        self._counts: dict[str, np.ndarray] = {}

    def among(self, members: np.ndarray) -> np.ndarray | None:
        """Return the groups of some neuroids, numbered anew."""
        return None if self._groups is None else np.unique(self._groups[members],
                                                           return_inverse=True)[1]  # fmt: skip

    def take(self, found: Variables, members: np.ndarray) -> Variables:
        """Take what was fitted to some neuroids; returns the variables that are no means."""
        if self._groups is None:
            return found
        rest = dict(found)
        own, number = np.unique(self._groups[members]), int(self._groups.max()) + 1
        for name in [name for name in found if name.endswith("resample_mean")]:
            count_name = name.removesuffix("mean") + "count"
            mean, count = rest.pop(name)[1], rest.pop(count_name)[1]
            for kept, part in ((self._sums, np.where(count > 0, mean * count, 0.0)),
                               (self._counts, count)):  # fmt: skip
                key = name if kept is self._sums else count_name
                kept.setdefault(key, np.zeros((*part.shape[:-1], number), part.dtype))
                kept[key][..., own] += part
        return rest

    def given(self) -> Variables:
        """Return the means and counts of all neuroids that were fitted."""
        out: Variables = {}
        for name, total in self._sums.items():
            count_name = name.removesuffix("mean") + "count"
            count = self._counts[count_name]
            with np.errstate(invalid="ignore", divide="ignore"):
                out[name] = (_AXES[True], np.where(count > 0, total / count, np.nan))
            out[count_name] = (_AXES[True], count)
        return out


def ridge_refits(
    protocol: str,
    target: Target,
    rows: np.ndarray,
    alphas: np.ndarray | None,
    seed: int,
    features: Sequence[np.ndarray],
) -> Refit:
    """Return what fits a layer again on every resample, by the rules of its protocol.

    K, responses and folds are indexed by the stimuli of a resample, and the protocol is run on
    those as it is run on all. The folds are those of all stimuli, less what is left out, which
    is half of each; *tuckute* draws its splits anew among the stimuli that are left.

    Parameters
    ----------
    protocol : str
        A name in `dynamics.metrics.encoding.PROTOCOLS`.
    target : Target
        The brain target.
    rows : array of shape (resamples, kept)
        Stimuli of every resample; -1 fills up.
    alphas : array or None
        Penalties.
    seed : int
        Of the protocol's own splits.
    features : sequence of arrays of shape (n, p)
        Activations of the layers.

    Returns
    -------
    callable
        As `of_layers` takes it: `score`, and `r2` where that does not follow from it.
    """
    some = [each[each >= 0] for each in rows]

    def penalties(layer: int) -> np.ndarray | None:
        return alphas[layer][None] if alphas is not None and np.ndim(alphas) == 2 else alphas

    @lru_cache(1)
    def gram(layer: int) -> np.ndarray:
        return np.asarray(metrics.gram(features[layer]))

    def part(layer: int, each: np.ndarray) -> np.ndarray:
        return gram(layer)[each][:, each][None]

    def default(layer: int) -> dict[str, np.ndarray]:
        Y, X, grid = target.mean_response, features[layer], penalties(layer)
        if len(X) > MANY_STIMULI:
            grid = np.asarray(refit.refit_alphas(None, X)) if grid is None else grid
            found = [metrics.nested_ridge_features([X[each]], Y[each], target.folds[each], grid)
                     for each in some]  # fmt: skip
            return {"score": np.stack([each["layer_r"][0] for each in found])}
        if Y.shape[1] <= MANY:
            again = refit.refit_ridge(gram(layer), Y, target.folds, rows, grid, features=[X])
            return {"score": np.asarray(again)[0]}
        # The search over alphas of `nested_ridge` is several times quicker for many neuroids.
        grid = np.asarray(refit.refit_alphas(gram(layer), X)) if grid is None else grid
        found = [metrics.nested_ridge(part(layer, each), Y[each], target.folds[each], grid,
                                      features=[X[each]]) for each in some]  # fmt: skip
        return {"score": np.stack([each["layer_r"][0] for each in found])}

    def pepino(layer: int) -> dict[str, np.ndarray]:
        Y, grid = target.mean_response, penalties(layer)
        found = [pepino_layers(part(layer, each), Y[each], target.folds[each], grid,
                               features=[features[layer][each]]) for each in some]  # fmt: skip
        return {"score": np.stack([each[0] for each in found])}

    def tuckute(layer: int) -> dict[str, np.ndarray]:
        found = [tuckute_ridge(part(layer, each), target.response[each], penalties(layer),
                               seed=seed, features=[features[layer][each]])
                 for each in some]  # fmt: skip
        names = {"score": "layer_r", "r2": "layer_r2"}
        return {key: np.stack([each[name][0] for each in found]) for key, name in names.items()}

    return {"default": default, "pepino": pepino, "tuckute": tuckute}[protocol]


def with_squares(
    refits: Refit, score: np.ndarray, scheme: Mapping[str, Any], reliability: np.ndarray | None
) -> Refit:
    """Add r2, and r2 over the reliability, to correlations that are not kept one by one.

    Parameters
    ----------
    refits : callable
        As `of_layers` takes it.
    score : array of shape (layers, neuroids)
        Correlations on all stimuli.
    scheme : mapping
        Attributes of a `dynamics.emergence.Scheme`.
    reliability : array of shape (neuroids,) or None
        Of the responses, taken as exact.

    Returns
    -------
    callable
        As `refits`, with `r2` and, where there is a reliability, `r2_corrected`.
    """

    def inner(layer: int) -> dict[str, np.ndarray]:
        found = dict(refits(layer))
        if "r2" not in found:
            again = xr.DataArray(found["score"], dims=("resample", "neuroid"), attrs=scheme)
            squares = emergence.squared(xr.DataArray(score[layer], dims="neuroid"), again)
            found["r2"] = squares.to_numpy()
            if reliability is not None:
                found["r2_corrected"] = found["r2"] / divisor(reliability)
        return found

    return inner
