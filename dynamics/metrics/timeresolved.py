"""Encoding of responses with a time axis: ECoG, MEG and EEG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from dynamics.metrics.correlation import clipped_square, pearson_there, varying
from dynamics.metrics.delays import delay, samples
from dynamics.metrics.factorisation import faint_below
from dynamics.metrics.folds import make_folds
from dynamics.metrics.kernels import (
    Array,
    activations,
    as_tensor,
    check_layers,
    like,
    responses,
    same_rows,
)
from dynamics.metrics.missing import by_pattern, check_handling
from dynamics.metrics.ridge import RELATIVE_ALPHAS, check_alphas
from dynamics.metrics.sufficient_statistics import Moments, Nested, correlation, nested_moments
from dynamics.metrics.validation import takes

WINDOWS = ((0.0, 0.0), (0.0, 0.1), (0.0, 0.2), (0.0, 0.4))


@takes(layers="layers", Y="responses")
def encode_timeresolved(
    layers: Array | Mapping[str, Array],
    Y: Array,
    *,
    rate: float,
    windows: Sequence[tuple[float, float]] = WINDOWS,
    components: int | None = 32,
    folds: int | Array | None = None,
    alphas: Array | None = None,
    seed: int = 0,
    categories: Sequence | None = None,
    groups: Sequence | None = None,
    rows: Array | Sequence[Array] | None = None,
    missing: str = "error",
) -> dict[str, Array]:
    """Predict responses over time from activations over time through causal delays.

    A finite impulse response: the response at time t is predicted from the activations at t - d
    for all delays d of a window. Splits are by stimulus. For each electrode and outer fold the
    layer, the delay window and alpha are chosen together inside the training folds, as in
    `nested_ridge` (Li et al. 2023, Nat Neurosci 26:2213). The work is done on sums of products
    of (components x delays) features over each fold, so it grows with the cube of these and
    hardly with stimuli, times and electrodes; memory holds the delayed features of one fold.

    Parameters
    ----------
    layers : array of shape (n, t, p) or mapping of names to such arrays
        Activations at the times of the responses, see `resample_time`. NaN in all features of a
        time means that there is no sound: the layer's mean activation stands in.
    Y : array of shape (n, t, v)
        Responses.
    rate : float
        Samples a second of both.
    windows : sequence of (shortest, longest)
        Causal delays in seconds, 0 <= shortest <= longest; a delay at every sample between.
    components : int, optional
        Principal components kept of each layer, found without looking at responses; None for all.
    folds, alphas, seed, categories, groups
        As for `encode`, by stimulus. The default penalties go down as far beside the smallest
        features as beside all where they would hide these.
    rows : array of shape (resamples, kept) or sequence of arrays, optional
        Numbers of the stimuli of each resample, from a function in `RESAMPLERS`; -1 is skipped.
        On each, window and alpha are chosen and the model is fitted anew from sums of products
        over its stimuli; components and penalties are those of all. Costs what the windows cost.
    missing : str
        What to do with responses that are not finite: ``"error"`` names the first electrode that
        has one; ``"mask"`` fits and scores every electrode on the samples that it has. One with
        fewer than 2 in a fold gets NaN (-1 where the result is an index).

    Returns
    -------
    dict of arrays
        ``r``, ``r2`` (v,): over stimuli and times. ``r_time`` (t, v): over stimuli at each time
        after the onset. ``best_window_r`` (layers, v): each layer with the window chosen in the
        training folds; ``layer_r`` (layers, windows, v); ``latency_r`` (layers, latencies, v):
        from the activations at one delay alone; ``layer``, ``window``, ``alpha`` (folds, v):
        choices; ``alpha_edge``; ``prediction`` (n, t, v); ``folds`` (n,); ``layer_names``;
        ``windows`` (windows, 2) and ``latencies`` (latencies,) in seconds.
        A constant electrode has NaN, a constant feature adds nothing. With `rows` also
        ``resample_r`` (layers, resamples, v), ``best_window_r`` on each resample.

    Raises
    ------
    TypeError
        If activations are integers or booleans.
    ValueError
        If an array has no time axis, shapes do not fit, the rate is not positive, there are no
        windows or components, a response is not finite, an activation is not although others of
        its time are, an alpha is not positive, a window is not causal or no shorter than the
        responses, there are fewer than 3 folds (or fewer stimuli than folds, or fewer of a
        category), or a resample lacks a fold.
    """
    named = check_layers(layers)
    if Y.ndim != 3:
        raise ValueError(
            f"Y has shape {tuple(Y.shape)} and no time axis: give (stimuli, times, neuroids)"
        )
    if rate <= 0 or (components is not None and components < 1) or len(windows) == 0:
        raise ValueError(
            f"rate is {rate}, components {components}, and there are {len(windows)} windows: give "
            "a positive rate, at least 1 component and at least 1 window"
        )
    n, t, v = Y.shape
    given = next(iter(named.values()))
    check_handling(missing)
    target = as_tensor(Y).flatten(0, 1)
    target = target if missing == "mask" else responses(target)
    target = target.reshape(n, t, v).to(as_tensor(given[:0]).device)
    spans = [samples(window, rate, t) for window in windows]
    delays = sorted({d for span in spans for d in span})
    fold = make_folds(n, folds=folds, seed=seed, categories=categories, groups=groups)
    members = [torch.as_tensor(np.flatnonzero(fold == f)) for f in range(int(fold.max()) + 1)]
    if len(members) < 3:
        raise ValueError("nested cross-validation needs at least 3 folds: give more folds")
    again = _resampled([] if rows is None else [np.asarray(each) for each in rows], members)
    reduced = {name: _checked(X, Y, components, name) for name, X in named.items()}

    def fit(samples: np.ndarray, who: np.ndarray) -> dict[str, torch.Tensor]:
        there = None if len(samples) == n * t else np.isin(np.arange(n * t), samples)
        mask = None if there is None else torch.as_tensor(there).reshape(n, t).to(target.device)
        part = target if len(who) == v else target[:, :, who]
        return _fit(reduced, part, mask, members, again, (spans, delays, alphas))

    if torch.isfinite(target).all():
        out = fit(np.arange(n * t), np.arange(v))
    else:
        out = by_pattern(fit, target.flatten(0, 1), np.repeat(fold, t))
    axes = {"windows": np.array(windows, float), "latencies": np.array(delays) / rate}
    for name, values in (axes | {"folds": fold}).items():
        out[name] = torch.as_tensor(values, device=target.device)
    arrays = {name: like(value, given, Y) for name, value in out.items()}
    return arrays | {"layer_names": np.array(list(named))}


def _checked(X: Array, Y: Array, components: int | None, name: str) -> torch.Tensor:
    """Check a layer and return its components (n, t, p)."""
    same_rows(X, Y, names=(f"layer {name!r}", "Y"))
    if X.ndim != 3 or X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"layer {name!r} has shape {tuple(X.shape)} but Y has {Y.shape[1]} times: resample it "
            "to (stimuli, times, features)"
        )
    return _principal(X, components, name)


def _fit(
    layers: Mapping[str, torch.Tensor],
    Y: torch.Tensor,
    there: torch.Tensor | None,
    members: list[torch.Tensor],
    again: list[list[torch.Tensor]],
    grid: tuple[list[range], list[int], Array | None],
) -> dict[str, torch.Tensor]:
    """Fit electrodes Y (n, t, v) that have the same samples, marked in `there` (n, t)."""
    spans, delays, alphas = grid
    known = Y.flatten(0, 1) if there is None else Y[there]
    mean = known.mean(0)
    centred = torch.where(varying(known), Y - mean, 0.0)
    if there is not None:
        centred = torch.where(there[:, :, None], centred, 0.0)
    found = _Search(members, centred, again, there)
    for X in layers.values():
        found.add_layer(X, spans, delays, alphas)
    out = found.result(mean, len(spans))
    if there is not None:
        out["prediction"] = torch.where(there[:, :, None], out["prediction"], torch.nan)
    out["r_time"] = torch.stack(
        [pearson_there(out["prediction"][:, i], Y[:, i]) for i in range(Y.shape[1])]
    )
    return out


class _Search:
    """The search over layers, windows and penalties, layer by layer."""

    def __init__(
        self,
        rows: list[torch.Tensor],
        y: torch.Tensor,
        again: list[list[torch.Tensor]],
        there: torch.Tensor | None = None,
    ):
        self.rows, self.y, self.again, self.there = rows, y, again, there
        self.resample_r: list[torch.Tensor] = []
        self.windows: list[Nested] = []
        self.latency_r: list[torch.Tensor] = []
        self.prediction = torch.zeros_like(y)
        self.best = y.new_full((len(rows), y.shape[2]), -torch.inf)

    def add_layer(
        self,
        X: torch.Tensor,
        spans: list[range],
        delays: list[int],
        alphas: Array | None,
    ) -> None:
        """Fit one layer's components (n, t, p) with every window and every delay alone."""
        p = X.shape[2]
        self.moments = self._moments(X, delays, self.rows)
        blocks = {d: torch.arange(i * p, (i + 1) * p) for i, d in enumerate(delays)}
        for span in spans:
            index = torch.cat([blocks[d] for d in span]).to(X.device)
            part = self.moments.columns(index)
            fitted = nested_moments(part, _grid(part, alphas))
            # Delayed features once more, so that they need not be kept.
            for f, some in enumerate(self.rows):
                better = fitted.inner[f] > self.best[f]
                if better.any():
                    features = delay(X[some], span)
                    predicted = (
                        features @ fitted.weights[f][:, better] + fitted.intercept[f][better]
                    )
                    self.prediction[some[:, None], :, better.nonzero().ravel()] = predicted.permute(
                        0, 2, 1
                    )
                    self.best[f][better] = fitted.inner[f][better]
            self.windows.append(fitted._replace(weights=fitted.weights[:0]))
        alone = []
        for d in delays:
            part = self.moments.columns(blocks[d].to(X.device))
            alone.append(self._score(nested_moments(part, _grid(part, alphas)).sums))
        self.latency_r.append(torch.stack(alone))
        if self.again:
            indices = [torch.cat([blocks[d] for d in span]).to(X.device) for span in spans]
            self.resample_r.append(self._refit(X, delays, indices, alphas))

    def _moments(self, X: torch.Tensor, delays: list[int], rows: list[torch.Tensor]) -> Moments:
        parts = [
            (delay(X[some], delays).flatten(0, 1), self.y[some].flatten(0, 1)) for some in rows
        ]
        if self.there is not None:
            kept = [self.there[some].flatten() for some in rows]
            parts = [(x[keep], y[keep]) for (x, y), keep in zip(parts, kept)]
        return Moments.of(parts)

    def _refit(
        self,
        X: torch.Tensor,
        delays: list[int],
        indices: list[torch.Tensor],
        alphas: Array | None,
    ) -> torch.Tensor:
        """Scores (resamples, v) of one layer, its windows chosen, on each resample."""
        grids = [_grid(self.moments.columns(index), alphas) for index in indices]
        scores, last = [], self.moments
        for number, rows in enumerate(self.again):
            if number % 2 and _complement(self.again[number - 1], rows, self.rows):
                # Sums of the one half are those of all stimuli less those of the other.
                m = Moments(*(a - b for a, b in zip(self.moments, last)))
            else:
                m = self._moments(X, delays, rows)
            last = m
            fitted = [nested_moments(m.columns(i), grid) for i, grid in zip(indices, grids)]
            choice = torch.stack([each.inner for each in fitted]).argmax(0)
            sums = _picked(torch.stack([each.sums for each in fitted]), choice)
            scores.append(correlation(m, sums.sum(1), range(len(rows))))
        return torch.stack(scores)

    def result(self, mean: torch.Tensor, windows: int) -> dict[str, torch.Tensor]:
        """Choose layer and window for each fold and electrode."""
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
        return correlation(self.moments, sums.sum(1), range(len(self.rows)))


def _resampled(again: list[np.ndarray], rows: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Stimuli of each resample in each fold."""
    n, out = sum(map(len, rows)), []
    for number, each in enumerate(again):
        kept = each[each >= 0]
        if len(kept) and kept.max() >= n:
            raise ValueError(
                f"a resample names row {kept.max()} of {n}: make resamples for these stimuli"
            )
        out.append([torch.as_tensor(kept[np.isin(kept, some.numpy())]) for some in rows])
        if min(map(len, out[-1])) == 0:
            raise ValueError(
                f"resample {number} has no stimulus of a fold: draw resamples fold by fold"
            )
    return out


def _complement(
    one: list[torch.Tensor], other: list[torch.Tensor], rows: list[torch.Tensor]
) -> bool:
    return all(
        torch.equal(torch.cat([a, b]).sort().values, some) for a, b, some in zip(one, other, rows)
    )


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


def _principal(X: Array, components: int | None, name: str) -> torch.Tensor:
    """Leading principal components over stimuli and times, (n, t, kept), centred; NaN is 0."""
    there = ~torch.isnan(as_tensor(X)).all(2)
    broken = there & ~torch.isfinite(as_tensor(X)).all(2)
    if broken.any() or not there.any():
        stimulus, time = (broken if broken.any() else ~there).nonzero()[0].tolist()
        raise ValueError(
            f"{name} has values that are not finite, the first at stimulus {stimulus}, time "
            f"{time}: leave out the stimulus, or give NaN in all features where there is no sound"
        )
    flat, there = X.reshape(-1, X.shape[-1]), there.ravel()
    heard = activations(flat[there if isinstance(X, torch.Tensor) else there.numpy()], name=name)
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
    return out.reshape(*X.shape[:2], -1)
