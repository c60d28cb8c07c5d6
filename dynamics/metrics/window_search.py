"""The search over layers, windows of delays and penalties, on parts of the samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from dynamics.metrics import time_courses
from dynamics.metrics.correlation import clipped_square, varying
from dynamics.metrics.delays import delayed
from dynamics.metrics.factorisation import faint_below
from dynamics.metrics.kernels import Array
from dynamics.metrics.missing import by_pattern
from dynamics.metrics.plans import Plan
from dynamics.metrics.ridge import RELATIVE_ALPHAS, check_alphas
from dynamics.metrics.sufficient_statistics import (
    Moments,
    Nested,
    correlation,
    nested_moments,
    picked,
)
from dynamics.metrics.window_refits import moments_again, scores_again


def search(
    layers: Mapping[str, list[torch.Tensor]],
    target: torch.Tensor,
    plan: Plan,
    again: list[torch.Tensor],
    grid: tuple[list[range], list[int], Array | None],
    lead: int = 0,
    centre: str = "stimulus",
    courses: bool = False,
    refits: str = "anew",
) -> dict[str, torch.Tensor]:
    """Fit neuroids (n, v), those that have the same samples together."""

    def fit(rows: np.ndarray, who: np.ndarray) -> dict[str, torch.Tensor]:
        there = torch.zeros(len(target), dtype=torch.bool, device=target.device)
        there[torch.as_tensor(rows, device=target.device)] = True
        part = target if len(who) == target.shape[1] else target[:, who]
        return _fit(layers, part, there, plan, again, grid, lead, centre, courses, refits)

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
    plan: Plan,
    again: list[torch.Tensor],
    grid: tuple[list[range], list[int], Array | None],
    lead: int,
    centre: str,
    courses: bool,
    refits: str,
) -> dict[str, torch.Tensor]:
    """Fit neuroids Y (n, v) that have the same samples, marked in `there` (n,)."""
    spans, delays, alphas = grid
    known = Y if bool(there.all()) else Y[there]
    mean = known.mean(0)
    varies = varying(known)
    mean = mean.expand_as(Y) if centre == "all" else means_within(Y, there, plan.lengths)
    centred = torch.where(varies, Y - mean, 0.0)
    if not there.all():
        centred = torch.where(there[:, None], centred, 0.0)
    found = _Search(plan, centred, [each & there for each in again], there, lead, courses, refits)
    for X in layers.values():
        found.add_layer(X, spans, delays, alphas)
    out = found.result(mean, len(spans))
    if not there.all():
        out["prediction"] = torch.where(there[:, None], out["prediction"], torch.nan)
    return out


def means_within(Y: torch.Tensor, there: torch.Tensor, lengths: list[int]) -> torch.Tensor:
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
        plan: Plan,
        y: torch.Tensor,
        again: list[torch.Tensor],
        there: torch.Tensor,
        lead: int,
        courses: bool,
        refits: str,
    ):
        self.plan, self.y, self.again, self.there, self.lead = plan, y, again, there, lead
        self.layout, self.courses, self.refits = plan.layout, courses, refits
        self.everything = range(len(plan.layout.fold))
        self.resample_r: list[torch.Tensor] = []
        self.windows: list[Nested] = []
        self.latency_r: list[torch.Tensor] = []
        self.by_stimulus: list[torch.Tensor] = []
        self.beyond_shared: list[torch.Tensor] = []
        self.prediction, self.best = self._nothing()

    def _nothing(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return predictions of no model yet, and how good the best is in each fold."""
        return torch.zeros_like(self.y), self.y.new_full(
            (self.layout.folds, self.y.shape[1]), -torch.inf
        )

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
        own = self._nothing() if self.courses else (self.prediction, self.best)
        for span in spans:
            part = self.moments.columns(torch.cat([blocks[d] for d in span]).to(device))
            fitted = nested_moments(part, grid_of(part, alphas), self.layout)
            self._predict(X, span, fitted, *own)
            self.windows.append(fitted._replace(weights=fitted.weights[:0]))
        if self.courses:
            self._keep(*own)
        alone = []
        for d in delays:
            part = self.moments.columns(blocks[d].to(device))
            alone.append(self._score(nested_moments(part, grid_of(part, alphas), self.layout).sums))
        self.latency_r.append(torch.stack(alone))
        if self.again:
            indices = [torch.cat([blocks[d] for d in span]).to(device) for span in spans]
            grids = [grid_of(self.moments.columns(index), alphas) for index in indices]
            given = X, self.y, delays, self.lead, self.again, self.moments, self.there, self.refits
            again, fits = moments_again(self.plan, *given), self.windows[-len(spans) :]
            self.resample_r.append(
                scores_again(again, indices, fits, grids, self.layout, self.refits)
            )

    def _keep(self, prediction: torch.Tensor, inner: torch.Tensor) -> None:
        """Score the predictions of one layer over time, and keep them where it does best so far."""
        there = self.there & (self.plan.part >= 0)
        given = (prediction, self.y, there, self.plan.lengths)
        self.by_stimulus.append(time_courses.by_stimulus(*given))
        self.beyond_shared.append(time_courses.beyond_shared(*given))
        for f in range(self.layout.folds):
            better, rows = inner[f] > self.best[f], (self.plan.fold == f).nonzero()
            columns = better.nonzero().ravel()
            self.prediction[rows, columns] = prediction[rows, columns]
            self.best[f][better] = inner[f][better]

    def _predict(
        self,
        X: list[torch.Tensor],
        span: range,
        fitted: Nested,
        prediction: torch.Tensor,
        best: torch.Tensor,
    ) -> None:
        """Keep the predictions of the neuroids and folds that this window does best so far."""
        # Delayed features once more, so that they need not be kept.
        for f in range(self.layout.folds):
            better = fitted.inner[f] > best[f]
            if not better.any():
                continue
            columns, start = better.nonzero().ravel(), 0
            some = (self.plan.fold == f) & (self.plan.part >= 0)
            for x, own in zip(X, some.split(self.plan.lengths)):
                if own.any():
                    features = delayed(x, span, self.lead)[own]
                    predicted = features @ fitted.weights[f][:, better]
                    at = (start + own.nonzero().ravel())[:, None]
                    prediction[at, columns] = predicted + fitted.intercept[f][better]
                start += len(own)
            best[f][better] = fitted.inner[f][better]

    def _moments(self, X: list[torch.Tensor], delays: list[int], some: torch.Tensor) -> Moments:
        return Moments.of(self.plan.pieces(X, self.y, delays, self.lead, some))

    def result(self, mean: torch.Tensor, windows: int) -> dict[str, torch.Tensor]:
        """Choose layer and window for each fold and neuroid."""
        inner = torch.stack([each.inner for each in self.windows])
        sums = torch.stack([each.sums for each in self.windows])
        alpha = torch.stack([each.alpha for each in self.windows])
        layers = len(inner) // windows
        by_layer = inner.unflatten(0, (layers, windows)).argmax(1)
        choice = inner.argmax(0)
        best = [
            self._score(picked(sums[layer * windows : (layer + 1) * windows], by_layer[layer]))
            for layer in range(layers)
        ]
        r = self._score(picked(sums, choice))
        again = {"resample_r": torch.stack(self.resample_r)} if self.again else {}
        if self.courses:
            again["layer_r_stimulus"] = torch.stack(self.by_stimulus)
            again["layer_r_shared"] = torch.stack(self.beyond_shared)
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


def grid_of(m: Moments, alphas: Array | None) -> torch.Tensor:
    """Return ascending penalties: those given, or ones relative to the features' variance."""
    variance = m.variance
    if alphas is not None:
        return check_alphas(alphas, variance.reshape(1, 1, 1))[0]
    scale = torch.where(variance > 0, variance, torch.ones_like(variance))
    grid = scale * torch.as_tensor(RELATIVE_ALPHAS, device=variance.device)
    return torch.cat([faint_below(m.variances, float(m.n.sum()), grid), grid])
