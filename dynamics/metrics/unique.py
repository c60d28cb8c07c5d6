"""What a layer explains of responses over time beyond named control features, and what both do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from dynamics.metrics.blocks import Split
from dynamics.metrics.continuous import principal
from dynamics.metrics.correlation import clipped_square, varying
from dynamics.metrics.delays import delayed, samples
from dynamics.metrics.kernels import Array, as_tensor, like
from dynamics.metrics.missing import by_pattern
from dynamics.metrics.plans import Plan
from dynamics.metrics.sufficient_statistics import (
    Moments,
    Nested,
    correlation,
    nested_moments,
    picked,
)
from dynamics.metrics.validation import takes
from dynamics.metrics.window_search import grid_of, means_within


@takes(X="courses", controls="layers of courses", Y="courses")
def unique_continuous(
    X: Sequence[Array],
    controls: Mapping[str, Sequence[Array]],
    Y: Sequence[Array],
    *,
    rate: float,
    split: Split,
    lead: int = 0,
    window: tuple[float, float] = (0.0, 0.4),
    components: int | None = 32,
    candidates: int = 20,
    alphas: Array | None = None,
    kept: Array | None = None,
    centre: str = "stimulus",
    seed: int = 0,
    rows: Array | Sequence[Array] | None = None,
) -> dict[str, Any]:
    """Divide what delayed activations and delayed controls explain into unique and shared parts.

    Ridge regression in bands, of the layer and of each control: a band of weight g has the penalty
    alpha / g on features scaled to a summed variance of 1. The weights, alpha, and nothing else are
    chosen inside the training folds, for each neuroid and outer fold, by the correlation of pooled
    out-of-fold predictions. With r^2 of the layer alone, of all controls and of both: unique to the
    layer = both - controls, unique to the controls = both - layer, shared = layer + controls - both
    (de Heer et al. 2017, J Neurosci 37:6539). Cross-validated parts may be slightly negative.

    Parameters
    ----------
    X : sequence of array of shape (lead + t_s, p)
        Activations to each stimulus, as for `encode_continuous`.
    controls : mapping of str to sequence of array of shape (lead + t_s, q)
        Control features, a band each.
    Y : sequence of array of shape (t_s, v)
        Responses, NaN where a neuroid has none.
    rate : float
        Samples a second.
    split : Split
        From `dynamics.metrics.blocks`.
    lead, components, centre
        As for `encode_continuous`; components are those of each band.
    window : (shortest, longest)
        Delays of all bands, seconds.
    candidates : int
        Weightings of the bands that are tried, beside each band alone and all of them alike.
    alphas : array, optional
        Penalties.
    kept : array of shape (n,), bool, optional
        Which samples of all stimuli, one after another, count.
    seed : int
        Of the weightings.
    rows : sequence of arrays, optional
        Units of each resample. Weightings are those chosen on all samples.

    Returns
    -------
    dict
        (v,): ``both``, ``first`` (layer), ``second`` (controls), ``unique_first``,
        ``unique_second``, ``shared`` in r^2; ``prediction``: arrays (t_s, v) by the controls
        alone. With `rows` also ``resample_unique`` (resamples, v).

    Raises
    ------
    ValueError
        If there is no control, the window is not causal or too long, or as `encode_continuous`.
    """
    if not controls:
        raise ValueError("there is no control: give at least one")
    lengths = [len(y) for y in Y]
    span = samples(window, rate, max(lengths))
    target = torch.cat([as_tensor(y) for y in Y])
    some = torch.ones(len(target), dtype=torch.bool) if kept is None else torch.as_tensor(kept)
    plan = Plan.of(split, some, target.device)
    plan.check_training()
    parts = {"layer": X, **controls}
    reduced = [
        principal([as_tensor(x) for x in each], components, name) for name, each in parts.items()
    ]
    widths = [each[0].shape[1] for each in reduced]
    joint = [torch.cat(each, 1) for each in zip(*reduced)]
    again = plan.resampled([] if rows is None else [np.asarray(each) for each in rows])
    grid = _candidates(len(widths) - 1, candidates, seed)
    both_grid = _candidates(len(widths), candidates, seed)

    def fit(which: np.ndarray, who: np.ndarray) -> dict[str, torch.Tensor]:
        there = torch.zeros(len(target), dtype=torch.bool)
        there[torch.as_tensor(which)] = True
        y = target[:, torch.as_tensor(who)]
        mean = means_within(y, there, lengths)
        mean = mean if centre != "all" else y[there].mean(0).expand_as(y)
        y = torch.where(there[:, None] & varying(y[there]), y - mean, 0.0)
        data = _Bands(plan, joint, widths, y, there, span, lead, alphas)
        first = data.search(data.moments(there), [0], torch.ones(1, 1, dtype=y.dtype))
        second = data.search(data.moments(there), list(range(1, len(widths))), grid)
        both = data.search(data.moments(there), list(range(len(widths))), both_grid)
        r2 = {name: clipped_square(each.r) for name, each in
              (("first", first), ("second", second), ("both", both))}  # fmt: skip
        out = r2 | {
            "unique_first": r2["both"] - r2["second"],
            "unique_second": r2["both"] - r2["first"],
            "shared": r2["first"] + r2["second"] - r2["both"],
            "prediction": data.predict(second) + mean,
        }
        if again:
            out["resample_unique"] = torch.stack(
                [data.unique_again(each & there, second, both) for each in again]
            )
        return out

    there = torch.where((plan.part >= 0)[:, None], target, torch.nan)
    found = by_pattern(fit, there, plan.fold.cpu().numpy())
    prediction = found.pop("prediction").split(lengths)
    out: dict[str, Any] = {name: like(value, X[0], Y[0]) for name, value in found.items()}
    return out | {"prediction": [like(part, X[0], Y[0]) for part in prediction]}


class _Found(NamedTuple):
    """The best weighting of some bands for each fold and neuroid.

    Attributes
    ----------
    bands : list of int
        Which bands.
    grid : tensor of shape (candidates, bands)
        Weightings.
    choice : tensor of shape (folds, v)
        Which of them.
    r : tensor of shape (v,)
        Correlation of the out-of-fold predictions.
    fitted : list of Nested
        Of each weighting, its weights on the features themselves.
    """

    bands: list[int]
    grid: torch.Tensor
    choice: torch.Tensor
    r: torch.Tensor
    fitted: list[Nested]


class _Bands:
    """Nested ridge regression of responses y (n, v) on weighted bands of delayed features."""

    def __init__(self, plan, joint, widths, y, there, span, lead, alphas):
        self.plan, self.joint, self.y, self.there = plan, joint, y, there
        self.span, self.lead, self.alphas = span, lead, alphas
        ends, total = np.cumsum([0, *widths]), sum(widths)
        self.columns = [
            torch.cat([torch.arange(a, b) + d * total for d in range(len(span))])
            for a, b in pairwise(ends)
        ]
        self.all = self.moments(there)
        self.scale = [
            1 / float(self.all.columns(index).variance.clamp(min=1e-300)) ** 0.5
            for index in self.columns
        ]

    def moments(self, some: torch.Tensor) -> Moments:
        """Sum over some samples."""
        if hasattr(self, "all") and some is self.there:
            return self.all
        return Moments.of(self.plan.pieces(self.joint, self.y, self.span, self.lead, some))

    def weighted(self, m: Moments, bands: list[int], weights: torch.Tensor) -> tuple:
        """Moments of the bands that have a weight, features scaled, with their columns."""
        index = torch.cat([self.columns[band] for band, g in zip(bands, weights) if g > 0])
        scale = torch.cat(
            [
                torch.full((len(self.columns[band]),), self.scale[band] * float(g) ** 0.5)
                for band, g in zip(bands, weights)
                if g > 0
            ]
        ).to(self.y)
        part = m.columns(index)
        part = part._replace(
            x=part.x * scale, xx=part.xx * scale[:, None] * scale, xy=part.xy * scale[:, None]
        )
        return part, index, scale

    def search(self, m: Moments, bands: list[int], grid: torch.Tensor) -> _Found:
        """Choose among weightings."""
        fitted = []
        for weights in grid:
            part, index, scale = self.weighted(m, bands, weights)
            found = nested_moments(part, grid_of(part, self.alphas), self.plan.layout)
            whole = found.weights.new_zeros(len(found.weights), m.x.shape[1], self.y.shape[1])
            whole[:, index] = found.weights * scale[:, None]
            fitted.append(found._replace(weights=whole))
        choice = torch.stack([each.inner for each in fitted]).argmax(0)
        sums = picked(torch.stack([each.sums for each in fitted]), choice)
        return _Found(bands, grid, choice, self._r(m, sums), fitted)

    def _r(self, m: Moments, sums: torch.Tensor) -> torch.Tensor:
        return correlation(m, sums.sum(1), range(len(self.plan.layout.fold)))

    def predict(self, found: _Found) -> torch.Tensor:
        """Out-of-fold predictions (n, v), 0 where a sample does not count."""
        out = torch.zeros_like(self.y)
        folds, columns = range(self.plan.layout.folds), torch.arange(self.y.shape[1])
        chosen = []
        for f in folds:
            weights = torch.stack([each.weights[f] for each in found.fitted])
            constants = torch.stack([each.intercept[f] for each in found.fitted])
            best = found.choice[f]
            chosen.append((weights[best, :, columns], constants[best, columns]))
        start = 0
        for x, own in zip(self.joint, (self.plan.part >= 0).split(self.plan.lengths)):
            features = delayed(x, self.span, self.lead)
            rows = slice(start, start + len(own))
            for f, (weights, constant) in zip(folds, chosen):
                here = own & (self.plan.fold[rows] == f)
                out[rows][here] = features[here] @ weights.T + constant
            start += len(own)
        return out

    def unique_again(self, some: torch.Tensor, second: _Found, both: _Found) -> torch.Tensor:
        """Return what the layer adds on some of the samples, bands weighted as on all."""
        m, r = self.moments(some), []
        for found in (both, second):
            used = found.choice.unique()
            sums = found.fitted[0].sums.new_zeros(found.fitted[0].sums.shape)
            for number in used.tolist():
                part, _, _ = self.weighted(m, found.bands, found.grid[number])
                new = nested_moments(part, grid_of(part, self.alphas), self.plan.layout)
                sums = torch.where((found.choice == number)[None], new.sums, sums)
            r.append(clipped_square(self._r(m, sums)))
        return r[0] - r[1]


def _candidates(bands: int, count: int, seed: int) -> torch.Tensor:
    """Weightings (candidates, bands) that sum to 1: each band alone, all alike, and random ones."""
    even = np.full((1, bands), 1 / bands)
    if bands == 1:
        return torch.as_tensor(even)
    rng = np.random.default_rng(seed)
    drawn = rng.dirichlet(np.full(bands, 0.5), size=max(count, 0))
    drawn = np.where(drawn < 1e-6, 0.0, drawn)
    return torch.as_tensor(np.concatenate([np.eye(bands), even, drawn]))
