"""Encoding of responses to sounds of unequal length, sample by sample: ECoG, MEG, EEG and fMRI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from dynamics.metrics.blocks import Split, make_split, time_apart
from dynamics.metrics.correlation import clipped_square, pearson_there, varying
from dynamics.metrics.delays import delayed, samples
from dynamics.metrics.factorisation import faint_below
from dynamics.metrics.kernels import Array, activations, as_tensor, like, responses
from dynamics.metrics.missing import by_pattern, check_handling
from dynamics.metrics.ridge import RELATIVE_ALPHAS, check_alphas
from dynamics.metrics.sufficient_statistics import (
    Layout,
    Moments,
    Nested,
    correlation,
    nested_moments,
)
from dynamics.metrics.validation import takes

WINDOWS = ((0.0, 0.0), (0.0, 0.1), (0.0, 0.2), (0.0, 0.4))

LEAST_GUARD = 2.0
"""Seconds that are kept between training and test at least, beyond the longest delay."""

# Numbers of delayed features that are held at a time, where rows need not be summed at once.
_ENTRIES = 2**26


@takes(layers="layers of courses", Y="courses")
def encode_continuous(
    layers: Mapping[str, Sequence[Array]],
    Y: Sequence[Array],
    *,
    rate: float,
    lead: int = 0,
    windows: Sequence[tuple[float, float]] = WINDOWS,
    components: int | None = 32,
    folds: int | Array | None = None,
    block: float | None = None,
    guard: float | None = None,
    trim: tuple[float, float] = (0.0, 0.0),
    centre: str = "stimulus",
    alphas: Array | None = None,
    seed: int = 0,
    categories: Sequence | None = None,
    groups: Sequence | None = None,
    rows: Array | Sequence[Array] | None = None,
    missing: str = "error",
) -> dict[str, Any]:
    """Predict responses over time from activations over time through causal delays.

    A finite impulse response: the response at time t is predicted from the activations at t - d
    for all delays d of a window, which never reach into another stimulus. Outer folds are made of
    stimuli, or, where there are fewer stimuli than folds, of blocks of time with a guard between
    training and test, never of single samples, whose neighbours share their noise. For each
    neuroid and outer fold the layer, the window of delays and alpha are chosen together on the same
    kind of split inside the training folds, by the correlation of pooled out-of-fold predictions
    (Li et al. 2023, Nat Neurosci 26:2213, 10.1038/s41593-023-01468-4). The work is done on sums of
    products of (components x delays) features over each fold, so it grows with the cube of these
    and hardly with stimuli, times and neuroids.

    Parameters
    ----------
    layers : mapping of str to sequence of array of shape (lead + t_s, p)
        For each layer the activations to each stimulus at the times of its responses, and at `lead`
        times before these; see `resample_time`. NaN in all features of a time means that there is
        no sound: the layer's mean activation stands in.
    Y : sequence of array of shape (t_s, v)
        Responses to each stimulus.
    rate : float
        Samples a second of both.
    lead : int
        By how many samples the activations begin before the responses.
    windows : sequence of (shortest, longest)
        Causal delays in seconds, 0 <= shortest <= longest; a delay at every sample between.
    components : int, optional
        Principal components kept of each layer, found without looking at responses; None for all.
    folds : int or array of shape (stimuli,), optional
        Number of folds (5), or the fold of each stimulus.
    block : float, optional
        Seconds of a block, to split by blocks; by default stimuli are whole where there are enough
        of them, and blocks have 30 s where there are not.
    guard : float, optional
        Seconds beyond the longest delay that training keeps away from a test block; by default
        until the responses' autocorrelation is below .1, and at least 2 s.
    trim : (float, float)
        Seconds at the beginning and the end of each stimulus's responses that are left out.
    centre : str
        ``"stimulus"``: responses are centred within each stimulus, so that a difference between
        stimuli in their mean is neither fitted nor scored; ``"all"``: over all samples.
    alphas, seed, categories, groups
        As for `encode`, by stimulus. The default penalties go down as far beside the smallest
        features as beside all where they would hide these.
    rows : array of shape (resamples, kept) or sequence of arrays, optional
        Numbers of the stimuli (of the blocks, where these are split) of each resample; -1 is
        skipped. On each, window and alpha are chosen and the model is fitted anew; components and
        penalties are those of all.
    missing : str
        What to do with responses that are not finite: ``"error"`` names the first neuroid that
        has one; ``"mask"`` fits and scores every neuroid on the samples that it has. One with
        fewer than 2 in a fold gets NaN (-1 where the result is an index).

    Returns
    -------
    dict
        ``r``, ``r2`` (v,): over all samples. ``r_stimulus`` (stimuli, v): within each stimulus.
        ``best_window_r`` (layers, v): each layer with the window chosen in the training folds;
        ``layer_r`` (layers, windows, v); ``latency_r`` (layers, latencies, v): from the activations
        at one delay alone; ``layer``, ``window``, ``alpha`` (folds, v): choices; ``alpha_edge``;
        ``prediction``: arrays (t_s, v); ``split``: a `Split`; ``guard`` in seconds, NaN where
        stimuli are whole; ``layer_names``; ``windows`` (windows, 2) and ``latencies`` (latencies,)
        in seconds. A constant neuroid has NaN, a constant feature adds nothing. With `rows` also
        ``resample_r`` (layers, resamples, v), ``best_window_r`` on each resample.

    Raises
    ------
    TypeError
        If activations are integers or booleans.
    ValueError
        If shapes do not fit, the rate is not positive, there are no windows or components, a
        response is not finite, an activation is not although others of its time are, an alpha is
        not positive, a window is not causal or no shorter than the longest responses, folds cannot
        be made (or fewer than 3), or a resample lacks a fold.
    """
    _check(rate, windows, components, centre, missing)
    lengths = [len(y) for y in Y]
    spans = [samples(window, rate, max(lengths)) for window in windows]
    kept = _trimmed(lengths, trim, rate)
    target = torch.cat([as_tensor(y) for y in Y])
    if missing != "mask":
        responses(target[kept])
    if guard is None:
        courses = [np.asarray(as_tensor(y).cpu()) for y in Y]
        guard = max(LEAST_GUARD, time_apart(courses, rate))
    split = make_split(
        lengths,
        rate=rate,
        longest=max(span[-1] for span in spans) / rate,
        folds=folds,
        block=block,
        guard=guard,
        seed=seed,
        categories=categories,
        groups=groups,
    )
    plan = _Plan.of(split, kept, target.device)
    if plan.layout.folds < 3:
        raise ValueError("nested cross-validation needs at least 3 folds: give more folds")
    again = plan.resampled([] if rows is None else [np.asarray(each) for each in rows])
    reduced = {
        name: principal(_checked(parts, lengths, lead, name), components, name)
        for name, parts in layers.items()
    }
    delays = sorted({d for span in spans for d in span})
    out = search(reduced, target, plan, again, (spans, delays, alphas), lead, centre)
    out["windows"] = torch.as_tensor(np.array(windows, float))
    out["latencies"] = torch.as_tensor(np.array(delays) / rate)
    apart = any(near.any() for near in split.near)
    return _told(out, target, lengths, next(iter(layers.values()))[0], Y[0]) | {
        "split": split,
        "guard": float(guard) if apart else np.nan,
        "layer_names": np.array(list(layers)),
    }


def _told(
    out: dict[str, torch.Tensor], target: torch.Tensor, lengths: list[int], *given: Array
) -> dict[str, Any]:
    """Return results as arrays of the kind given, predictions and r for each stimulus."""
    predictions = out.pop("prediction").split(lengths)
    out["r_stimulus"] = torch.stack(
        [pearson_there(a, b) for a, b in zip(predictions, target.split(lengths))]
    )
    arrays: dict[str, Any] = {name: like(value, *given) for name, value in out.items()}
    return arrays | {"prediction": [like(part, *given) for part in predictions]}


def _check(
    rate: float, windows: Sequence, components: int | None, centre: str, missing: str
) -> None:
    if rate <= 0 or (components is not None and components < 1) or len(windows) == 0:
        raise ValueError(
            f"rate is {rate}, components {components}, and there are {len(windows)} windows: give "
            "a positive rate, at least 1 component and at least 1 window"
        )
    if centre not in ("stimulus", "all"):
        raise ValueError(f"responses cannot be centred over {centre!r}: use 'stimulus' or 'all'")
    check_handling(missing)


def _trimmed(lengths: Sequence[int], trim: tuple[float, float], rate: float) -> torch.Tensor:
    """Which samples (all stimuli after another) are kept."""
    first, last = (round(seconds * rate) for seconds in trim)
    if first < 0 or last < 0 or first + last >= min(lengths):
        raise ValueError(
            f"trim {tuple(trim)} leaves nothing of a response of {min(lengths) / rate:g} s: leave "
            "out less at each end"
        )
    at = [torch.arange(t) for t in lengths]
    return torch.cat([(a >= first) & (a < len(a) - last) for a in at])


def _checked(
    parts: Sequence[Array], lengths: Sequence[int], lead: int, name: str
) -> list[torch.Tensor]:
    if len(parts) != len(lengths):
        raise ValueError(
            f"layer {name!r} has {len(parts)} stimuli but Y has {len(lengths)}: give the same"
        )
    for number, (part, t) in enumerate(zip(parts, lengths)):
        if part.ndim != 2 or len(part) != lead + t:
            raise ValueError(
                f"layer {name!r} has shape {tuple(part.shape)} at stimulus {number} but Y has {t} "
                f"times there, after {lead} of lead: resample it to (times, features)"
            )
    return [as_tensor(part) for part in parts]


class _Plan(NamedTuple):
    """Parts of the samples that are alike in fold and nearness, and in which fold each sample is.

    Attributes
    ----------
    layout : Layout
        Of the parts.
    part : tensor of shape (n,), int64
        Part of each sample, all stimuli after another; -1 where it is left out.
    fold, unit : tensor of shape (n,), int64
        Its fold, and the number of its stimulus or block.
    lengths : list of int
        Samples of each stimulus.
    """

    layout: Layout
    part: torch.Tensor
    fold: torch.Tensor
    unit: torch.Tensor
    lengths: list[int]

    @classmethod
    def of(cls, split: Split, kept: torch.Tensor, device: torch.device) -> _Plan:
        """Find the parts of a split."""
        fold = np.concatenate(split.folds)
        kinds, part = np.unique(
            np.column_stack([fold, np.concatenate(split.near)]), axis=0, return_inverse=True
        )
        layout = Layout(
            tuple(int(kind[0]) for kind in kinds),
            tuple(frozenset(np.flatnonzero(kind[1:]).tolist()) for kind in kinds),
        )
        numbers = torch.where(kept, torch.as_tensor(part.ravel()), -1)
        unit = torch.as_tensor(np.concatenate(split.units))
        lengths = [len(each) for each in split.folds]
        return cls(layout, numbers.to(device), torch.as_tensor(fold).to(device), unit, lengths)

    def resampled(self, again: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Which samples belong to each resample of the units, (n,) bool each."""
        count, out = int(self.unit.max()) + 1, []
        for number, each in enumerate(again):
            drawn = each[each >= 0]
            if len(drawn) and drawn.max() >= count:
                raise ValueError(
                    f"a resample names row {drawn.max()} of {count}: make resamples for these "
                    "stimuli"
                )
            inside = torch.zeros(count, dtype=torch.bool)
            inside[torch.as_tensor(drawn)] = True
            some = inside[self.unit].to(self.part.device) & (self.part >= 0)
            if len(self.fold[some].unique()) < self.layout.folds:
                raise ValueError(
                    f"resample {number} has no stimulus of a fold: draw resamples fold by fold"
                )
            out.append(some)
        return out

    def pieces(
        self, X: list[torch.Tensor], y: torch.Tensor, span: Sequence[int], lead: int,
        some: torch.Tensor,
    ) -> list[Iterator[tuple[torch.Tensor, torch.Tensor]]]:  # fmt: skip
        """For each part, its delayed features and responses, no more at a time than fit."""
        return [
            self._pieces(X, y, span, lead, some & (self.part == number))
            for number in range(len(self.layout.fold))
        ]

    def _pieces(self, X, y, span, lead, some):
        held, size, width = [], 0, len(span) * X[0].shape[1]
        for x, own, response in zip(X, some.split(self.lengths), y.split(self.lengths)):
            if own.any():
                whole = bool(own.all())
                features = delayed(x, span, lead)
                held.append((features, response) if whole else (features[own], response[own]))
                size += len(held[-1][0]) * width
                if size > _ENTRIES:
                    yield _joined(held)
                    held, size = [], 0
        if held or not some.any():
            yield _joined(held) if held else (y.new_zeros(0, width), y[:0])


def _joined(held: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    features, response = zip(*held)
    return torch.cat(features), torch.cat(response)


def search(
    layers: Mapping[str, list[torch.Tensor]],
    target: torch.Tensor,
    plan: _Plan,
    again: list[torch.Tensor],
    grid: tuple[list[range], list[int], Array | None],
    lead: int = 0,
    centre: str = "stimulus",
) -> dict[str, torch.Tensor]:
    """Fit neuroids (n, v), those that have the same samples together."""

    def fit(rows: np.ndarray, who: np.ndarray) -> dict[str, torch.Tensor]:
        there = torch.zeros(len(target), dtype=torch.bool, device=target.device)
        there[torch.as_tensor(rows, device=target.device)] = True
        part = target if len(who) == target.shape[1] else target[:, who]
        return _fit(layers, part, there, plan, again, grid, lead, centre)

    known = plan.part >= 0
    finite = torch.isfinite(target) | ~known[:, None]
    if finite.all():
        return fit(known.nonzero().ravel().cpu().numpy(), np.arange(target.shape[1]))
    left_out = torch.where(known[:, None], target, torch.nan)
    return by_pattern(fit, left_out, plan.fold.cpu().numpy())


def _fit(
    layers: Mapping[str, list[torch.Tensor]],
    Y: torch.Tensor,
    there: torch.Tensor,
    plan: _Plan,
    again: list[torch.Tensor],
    grid: tuple[list[range], list[int], Array | None],
    lead: int,
    centre: str,
) -> dict[str, torch.Tensor]:
    """Fit neuroids Y (n, v) that have the same samples, marked in `there` (n,)."""
    spans, delays, alphas = grid
    known = Y if bool(there.all()) else Y[there]
    mean = known.mean(0)
    varies = varying(known)
    mean = mean.expand_as(Y) if centre == "all" else _means_within(Y, there, plan.lengths)
    centred = torch.where(varies, Y - mean, 0.0)
    if not there.all():
        centred = torch.where(there[:, None], centred, 0.0)
    found = _Search(plan, centred, [each & there for each in again], there, lead)
    for X in layers.values():
        found.add_layer(X, spans, delays, alphas)
    out = found.result(mean, len(spans))
    if not there.all():
        out["prediction"] = torch.where(there[:, None], out["prediction"], torch.nan)
    return out


def _means_within(Y: torch.Tensor, there: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Mean (n, v) of each neuroid over the samples of the stimulus that a sample belongs to."""
    return torch.cat(
        [
            (torch.where(some[:, None], y, 0.0).sum(0) / some.sum().clamp(min=1)).expand_as(y)
            for y, some in zip(Y.split(lengths), there.split(lengths))
        ]
    )


class _Search:
    """The search over layers, windows and penalties, layer by layer."""

    def __init__(
        self,
        plan: _Plan,
        y: torch.Tensor,
        again: list[torch.Tensor],
        there: torch.Tensor,
        lead: int,
    ):
        self.plan, self.y, self.again, self.there, self.lead = plan, y, again, there, lead
        self.layout = plan.layout
        self.everything = range(len(plan.layout.fold))
        self.resample_r: list[torch.Tensor] = []
        self.windows: list[Nested] = []
        self.latency_r: list[torch.Tensor] = []
        self.prediction = torch.zeros_like(y)
        self.best = y.new_full((self.layout.folds, y.shape[1]), -torch.inf)

    def add_layer(
        self,
        X: list[torch.Tensor],
        spans: list[range],
        delays: list[int],
        alphas: Array | None,
    ) -> None:
        """Fit one layer's components, (lead + t_s, p) each, with every window and delay alone."""
        p, device = X[0].shape[1], self.y.device
        self.moments = self._moments(X, delays, self.there)
        blocks = {d: torch.arange(i * p, (i + 1) * p) for i, d in enumerate(delays)}
        for span in spans:
            part = self.moments.columns(torch.cat([blocks[d] for d in span]).to(device))
            fitted = nested_moments(part, _grid(part, alphas), self.layout)
            self._predict(X, span, fitted)
            self.windows.append(fitted._replace(weights=fitted.weights[:0]))
        alone = []
        for d in delays:
            part = self.moments.columns(blocks[d].to(device))
            alone.append(self._score(nested_moments(part, _grid(part, alphas), self.layout).sums))
        self.latency_r.append(torch.stack(alone))
        if self.again:
            indices = [torch.cat([blocks[d] for d in span]).to(device) for span in spans]
            self.resample_r.append(self._refit(X, delays, indices, alphas))

    def _predict(self, X: list[torch.Tensor], span: range, fitted: Nested) -> None:
        """Keep the predictions of the neuroids and folds that this window does best so far."""
        # Delayed features once more, so that they need not be kept.
        for f in range(self.layout.folds):
            better = fitted.inner[f] > self.best[f]
            if not better.any():
                continue
            columns, start = better.nonzero().ravel(), 0
            some = (self.plan.fold == f) & (self.plan.part >= 0)
            for x, own in zip(X, some.split(self.plan.lengths)):
                if own.any():
                    features = delayed(x, span, self.lead)[own]
                    predicted = features @ fitted.weights[f][:, better]
                    at = (start + own.nonzero().ravel())[:, None]
                    self.prediction[at, columns] = predicted + fitted.intercept[f][better]
                start += len(own)
            self.best[f][better] = fitted.inner[f][better]

    def _moments(self, X: list[torch.Tensor], delays: list[int], some: torch.Tensor) -> Moments:
        return Moments.of(self.plan.pieces(X, self.y, delays, self.lead, some))

    def _refit(
        self,
        X: list[torch.Tensor],
        delays: list[int],
        indices: list[torch.Tensor],
        alphas: Array | None,
    ) -> torch.Tensor:
        """Scores (resamples, v) of one layer, its windows chosen, on each resample."""
        grids = [_grid(self.moments.columns(index), alphas) for index in indices]
        scores, last = [], self.moments
        every = self.there & (self.plan.part >= 0)
        for number, some in enumerate(self.again):
            if number % 2 and bool(((self.again[number - 1] ^ some) == every).all()):
                # Sums of the one half are those of all stimuli less those of the other.
                m = Moments(*(a - b for a, b in zip(self.moments, last)))
            else:
                m = self._moments(X, delays, some)
            last = m
            fitted = [
                nested_moments(m.columns(i), grid, self.layout) for i, grid in zip(indices, grids)
            ]
            choice = torch.stack([each.inner for each in fitted]).argmax(0)
            sums = _picked(torch.stack([each.sums for each in fitted]), choice)
            scores.append(correlation(m, sums.sum(1), self.everything))
        return torch.stack(scores)

    def result(self, mean: torch.Tensor, windows: int) -> dict[str, torch.Tensor]:
        """Choose layer and window for each fold and neuroid."""
        inner = torch.stack([each.inner for each in self.windows])
        sums = torch.stack([each.sums for each in self.windows])
        alpha = torch.stack([each.alpha for each in self.windows])
        layers = len(inner) // windows
        by_layer = inner.unflatten(0, (layers, windows)).argmax(1)
        choice = inner.argmax(0)
        best = [
            self._score(_picked(sums[layer * windows : (layer + 1) * windows], by_layer[layer]))
            for layer in range(layers)
        ]
        r = self._score(_picked(sums, choice))
        again = {"resample_r": torch.stack(self.resample_r)} if self.again else {}
        return again | {
            "r": r,
            "r2": clipped_square(r),
            "best_window_r": torch.stack(best),
            "layer_r": torch.stack([self._score(each) for each in sums]).unflatten(
                0, (layers, windows)
            ),
            "latency_r": torch.stack(self.latency_r),
            "layer": choice // windows,
            "window": choice % windows,
            "alpha": alpha.gather(0, choice[None])[0],
            "alpha_edge": torch.stack([each.at_edge for each in self.windows]).mean(),
            "prediction": self.prediction + mean,
        }

    def _score(self, sums: torch.Tensor) -> torch.Tensor:
        """Pooled correlation (v,) from sums (3, folds, v)."""
        return correlation(self.moments, sums.sum(1), self.everything)


def _picked(sums: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
    """From sums (sources, 3, folds, v) those of the source chosen (folds, v)."""
    index = choice[None, None].expand(1, 3, -1, -1)
    return sums.gather(0, index)[0]


def _grid(m: Moments, alphas: Array | None) -> torch.Tensor:
    variance = m.variance
    if alphas is not None:
        return check_alphas(alphas, variance.reshape(1, 1, 1))[0]
    scale = torch.where(variance > 0, variance, torch.ones_like(variance))
    grid = scale * torch.as_tensor(RELATIVE_ALPHAS, device=variance.device)
    return torch.cat([faint_below(m.variances, float(m.n.sum()), grid), grid])


def principal(parts: list[torch.Tensor], components: int | None, name: str) -> list[torch.Tensor]:
    """Leading principal components over stimuli and times, centred; 0 where there is no sound.

    Parameters
    ----------
    parts : list of tensor of shape (t_s, p)
        Activations to each stimulus, NaN in all features where there is no sound.
    components : int, optional
        How many to keep.
    name : str
        What to call the layer in an error.

    Returns
    -------
    list of tensor of shape (t_s, kept)
        Double.
    """
    flat = torch.cat(parts)
    there = ~torch.isnan(flat).all(1)
    broken = there & ~torch.isfinite(flat).all(1)
    if broken.any() or not there.any():
        row = int((broken if broken.any() else ~there).nonzero()[0])
        ends = np.cumsum([len(part) for part in parts])
        stimulus = int(np.searchsorted(ends, row, side="right"))
        time = row - int(ends[stimulus] - len(parts[stimulus]))
        raise ValueError(
            f"{name} has values that are not finite, the first at stimulus {stimulus}, time "
            f"{time}: leave out the stimulus, or give NaN in all features where there is no sound"
        )
    heard = activations(flat[there], name=name)
    heard = heard - heard.mean(0)
    if components is not None and components < heard.shape[1]:
        _, V = torch.linalg.eigh(heard.T @ heard)
        heard = heard @ V[:, -components:].flip(1)
    elif heard.shape[1] > len(heard):
        # Ridge regression sees no more directions than there are rows.
        U, s, _ = torch.linalg.svd(heard, full_matrices=False)
        heard = U * s
    out = heard.new_zeros(len(flat), heard.shape[1])
    out[there] = heard
    return list(out.split([len(part) for part in parts]))
